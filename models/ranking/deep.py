"""Rankers that look at item vectors: what they make of these goes into the network of `mlp`, too.

    logit_j = w · [x_j, y_j] + v · relu(W [x_j, y_j] + U q + b)            y_j = look(history, candidate_j)

Two ways to look.  Both read the vectors of the model's embedding generator, which learns them, h of the items
of the history and c of the candidates, and have parameters of their own:

`neumf`, after He et al. 2017, "Neural Collaborative Filtering": a generalised product and a layer over both,

    y_j = [G (u ∘ c_j), relu(A u + B c_j + b')]             u = Σ_t 0.8^t h_t / Σ_t 0.8^t

`din`, after Zhou et al. 2018, "Deep Interest Network for Click-Through Rate Prediction": the history as this
candidate sees it, by attention that may look away from all of it,

    y_j = [G (z_j ∘ c_j), Σ_t a_jt]        z_j = Σ_t a_jt h_t       a_jt = e^s_jt / (1 + Σ_i e^s_ji)
    s_jt = 5 tanh((D ∘ c_j · h_t + p_t) / 5)                for the newest 16 items

Learnt in torch, one Adagrad step for every `batch` examples; served in numpy.  Cold they list what the blend
lists.  A step that is not finite is dropped and counted.  Cost, dim 64, 160 candidates: score 40 (`neumf`) or
65 µs (`din`) a query, learn 170 or 250 µs an example.  Memory: 8 bytes a parameter, below 3,000 of them.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.core import Embedded, Features, Floats, Rows
from models.ranking.features import names, padded
from models.ranking.mlp import SHARPNESS, scores

AGE_DECAY = 0.8
PRODUCTS, UNITS = 6, 8
ATTENDED = 16
LIMIT = 5.0

Array = Any
"""An array of numpy or of torch: `ops` is the module."""


class Interaction(NamedTuple):
    """A way to look at vectors."""

    shapes: Callable[[int], dict[str, tuple[int, ...]]]
    """Its parameters, of vectors of so many dimensions."""
    size: int
    """Of y."""
    interact: Callable[[Any, Mapping[str, Array], Array, Array, Array], Array]
    """y (n, size, m) of ops, parameters, history (n, HISTORY, dim) and whether it is there (n, HISTORY),
    candidates (n, m, dim)."""


def _neumf(ops: Any, w: Mapping[str, Array], h: Array, there: Array, c: Array) -> Array:
    age = there * ops.asarray(AGE_DECAY ** np.arange(h.shape[1], dtype=np.float32))
    u = (h * age[:, :, None]).sum(1) / (age.sum(1)[:, None] + 1e-6)  # (n, dim)
    product = (u[:, None] * c) @ w["products"]  # (n, m, PRODUCTS)
    z = (u @ w["of_user"])[:, None] + c @ w["of_item"] + w["bias"]
    return ops.concatenate([product, z * (z > 0)], 2).swapaxes(1, 2)


def _din(ops: Any, w: Mapping[str, Array], h: Array, there: Array, c: Array) -> Array:
    h, there = h[:, :ATTENDED], there[:, :ATTENDED]
    s = (c * w["diagonal"]) @ h.swapaxes(1, 2) + w["position"]  # (n, m, ATTENDED)
    e = ops.exp(LIMIT * ops.tanh(s / LIMIT)) * there[:, None]
    a = e / (1 + e.sum(2)[:, :, None])
    product = ((a @ h) * c) @ w["products"]
    return ops.concatenate([product, a.sum(2)[:, :, None]], 2).swapaxes(1, 2)


INTERACTIONS = {
    "neumf": Interaction(
        lambda dim: {
            "products": (dim, PRODUCTS),
            "of_user": (dim, UNITS),
            "of_item": (dim, UNITS),
            "bias": (UNITS,),
        },
        PRODUCTS + UNITS,
        _neumf,
    ),
    "din": Interaction(
        lambda dim: {"products": (dim, PRODUCTS), "diagonal": (dim,), "position": (ATTENDED,)},
        PRODUCTS + 1,
        _din,
    ),
}


class Deep:
    """A network over features and what `interact` makes of vectors."""

    rows = 1

    def __init__(
        self,
        interaction: Literal["neumf", "din"],
        weights: Mapping[str, float],
        vectors: Embedded | None,
        hidden: int = 16,
        batch: int = 16,
        learning_rate: float = 0.05,
        seed: int = 0,
    ) -> None:
        if vectors is None:
            raise ValueError(f"ranker {interaction}: no generator has vectors to look at; add embedding")
        self._interaction, self._vectors = INTERACTIONS[interaction], vectors
        self.batch, self.learning_rate = batch, np.float32(learning_rate)
        self.dropped = 0
        """Examples whose steps were dropped because they were not finite."""
        of_candidate, of_query = names(list(weights))
        self._plain = padded(len(of_candidate))
        self._shape = hidden, padded(self._plain + self._interaction.size), len(of_query)
        network = self._shape[1] + hidden * (self._shape[1] + self._shape[2] + 2)
        shapes = self._interaction.shapes(vectors.vectors.shape[1])
        size = network + sum(int(np.prod(shape)) for shape in shapes.values())
        self.dtype = np.dtype([("row", "<i4"), ("parameters", "<f4", size), ("squares", "<f4", size)])
        self._shapes, self._network = shapes, network
        self._parameters = np.zeros(size, np.float32)
        self._squares = np.full(size, 1e-4, np.float32)
        self._dirty = False
        self._parameters[0 : 2 * len(weights) : 2] = [SHARPNESS * weight for weight in weights.values()]
        rng = np.random.default_rng(seed)
        inner = self._parameters[self._shape[1] :][: hidden * self._shape[1]]
        inner[:] = rng.uniform(-1, 1, len(inner)) / np.sqrt(self._shape[1])
        for part in self._split(self._parameters).values():
            part[...] = rng.normal(0, 0.3, part.shape)

    def _split(self, parameters: Array) -> dict[str, Array]:
        """The parameters of `interact`; views."""
        found, at = {}, self._network
        for name, shape in self._shapes.items():
            size = int(np.prod(shape))
            found[name] = parameters[at : at + size].reshape(shape)
            at += size
        return found

    def _seen(self, seen: Features) -> tuple[Floats, NDArray[np.bool_], Floats]:
        """Vectors of the history, whether they are there, and vectors of the candidates."""
        vectors = self._vectors.vectors
        return vectors[np.maximum(seen.history, 0)], seen.history >= 0, vectors[np.maximum(seen.rows, 0)]

    def score(self, seen: Features) -> Floats:
        """Probabilities that it is the next, were it one of the candidates: float32[n, m]."""
        x = np.zeros((len(seen.rows), self._shape[1], seen.rows.shape[1]), np.float32)
        x[:, : self._plain] = seen.candidates
        h, there, c = self._seen(seen)
        x[:, self._plain : self._plain + self._interaction.size] = self._interaction.interact(
            np, self._split(self._parameters), h, there, c
        )
        return scores(x, seen.queries, seen.counts, self._shape, self._parameters[: self._network])

    def learn(self, seen: Features, targets: Rows, weights: Floats) -> None:
        """One step for every `batch` examples whose target is a column, not -1."""
        useful = np.flatnonzero(targets >= 0)
        for at in range(0, len(useful), self.batch):
            part = useful[at : at + self.batch]
            self._step(seen.take(part), targets[part], weights[part])
            self._dirty = True

    def _step(self, seen: Features, targets: Rows, weights: Floats) -> None:
        import torch

        torch.set_num_threads(1)  # the batches are small, and serving needs the other cores
        hidden, features, of_query = self._shape
        parameters = torch.from_numpy(self._parameters.copy()).requires_grad_()
        valid = np.arange(seen.rows.shape[1]) < seen.counts[:, None]
        h, there, c = map(torch.from_numpy, self._seen(seen))
        y = self._interaction.interact(torch, self._split(parameters), h, there, c)
        x = torch.cat([torch.from_numpy(np.where(valid[:, None], seen.candidates, np.float32(0))), y], 1)
        x = torch.nn.functional.pad(x, (0, 0, 0, features - x.shape[1]))  # (batch, features, m)
        sizes = [features, hidden * features, hidden * of_query, hidden, hidden]
        w, inner, query, bias, v = parameters[: self._network].split(sizes)  # type: ignore[no-untyped-call]
        of_queries = torch.from_numpy(seen.queries) @ query.view(hidden, of_query).T + bias
        z = inner.view(hidden, features) @ x + of_queries[:, :, None]  # (batch, hidden, m)
        logits = (w @ x + v @ torch.relu(z)).masked_fill(~torch.from_numpy(valid), -torch.inf)
        loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(targets).long(), reduction="none")
        (loss * torch.from_numpy(weights)).sum().backward()  # type: ignore[no-untyped-call]
        assert parameters.grad is not None
        gradient = parameters.grad.numpy()
        if not np.isfinite(gradient).all():
            self.dropped += len(targets)
            return
        self._squares += gradient**2
        self._parameters -= self.learning_rate * gradient / np.sqrt(self._squares)

    def touched(self) -> Rows:
        """See `Component`."""
        dirty, self._dirty = self._dirty, False
        return np.arange(int(dirty), dtype=np.int32)

    def dump(self, rows: Rows) -> NDArray[np.void]:
        """See `Component`."""
        out = np.zeros(len(rows), self.dtype)
        out["row"], out["parameters"], out["squares"] = rows, self._parameters, self._squares
        return out

    def apply(self, rows: NDArray[np.void]) -> None:
        """See `Component`."""
        if len(rows):
            self._parameters[:], self._squares[:] = rows[-1]["parameters"], rows[-1]["squares"]

    def evict(self, rows: Rows) -> None:
        """Nothing is known of single items."""
