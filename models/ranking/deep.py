"""The rankers `neumf` and `din`: the network of `mlp`, over an interaction of item vectors too."""

from collections.abc import Callable, Mapping
from math import prod
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.components import Embedded
from models.core import Features, Floats, Rows
from models.ranking import network
from models.ranking.features import feature_names, padded_size
from models.ranking.mlp import SHARPNESS
from models.state import Parameters

AGE_DECAY = 0.8
"""Weight of a history item against the one after it in the user's mean vector (`neumf`)."""
PRODUCTS, UNITS = 6, 8
"""Outputs of the generalised product, and units of the layer beside it."""
ATTENDED = 16
"""Newest items of the history that `din` attends to."""
LIMIT = 5.0
"""Bound of the attention's logits."""

Tensor = Any
"""An array of numpy or of torch; `ops` is the module."""


class Interaction(NamedTuple):
    """A way to compare a candidate's vector with those of the history."""

    shapes: Callable[[int], dict[str, tuple[int, ...]]]
    """Shapes of its parameters by name, for vectors of a dimension."""
    size: int
    """Number of features that it yields, the size of y."""
    interact: Callable[[Any, Mapping[str, Tensor], Tensor, Tensor, Tensor], Tensor]
    """y (n, size, m) from ops, parameters, the history's vectors (n, HISTORY, dim), which of them exist
    (n, HISTORY), and the candidates' vectors (n, m, dim)."""


def _neumf(ops: Any, w: Mapping[str, Tensor], h: Tensor, exists: Tensor, c: Tensor) -> Tensor:
    age = exists * ops.asarray(AGE_DECAY ** np.arange(h.shape[1], dtype=np.float32))
    u = (h * age[:, :, None]).sum(1) / (age.sum(1)[:, None] + 1e-6)  # (n, dim)
    product = (u[:, None] * c) @ w["products"]  # (n, m, PRODUCTS)
    z = (u @ w["of_user"])[:, None] + c @ w["of_item"] + w["bias"]
    return ops.concatenate([product, z * (z > 0)], 2).swapaxes(1, 2)


def _din(ops: Any, w: Mapping[str, Tensor], h: Tensor, exists: Tensor, c: Tensor) -> Tensor:
    h, exists = h[:, :ATTENDED], exists[:, :ATTENDED]
    s = (c * w["diagonal"]) @ h.swapaxes(1, 2) + w["position"]  # (n, m, ATTENDED)
    e = ops.exp(LIMIT * ops.tanh(s / LIMIT)) * exists[:, None]
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
    """A network over the features of a candidate and an interaction y of item vectors.

        logit_j = w · [x_j, y_j] + v · relu(W [x_j, y_j] + U q + b)

    The vectors are those of the model's embedding generator, which learns them: h of the items of the
    history, c of the candidates.  There are two interactions, with parameters of their own:

    `neumf`, after He et al. 2017, "Neural Collaborative Filtering": a generalised product beside a layer,

        y_j = [G (u ∘ c_j), relu(A u + B c_j + b')]             u = Σ_t 0.8^t h_t / Σ_t 0.8^t

    `din`, after Zhou et al. 2018, "Deep Interest Network for Click-Through Rate Prediction": the history as
    this candidate sees it, by attention whose weights may sum to less than 1,

        y_j = [G (z_j ∘ c_j), Σ_t a_jt]        z_j = Σ_t a_jt h_t       a_jt = e^s_jt / (1 + Σ_i e^s_ji)
        s_jt = 5 tanh((D ∘ c_j · h_t + p_t) / 5)                for the newest 16 items

    Learnt in torch, served in numpy.  A cold ranker lists what the blend lists.  A step that is not finite is
    dropped and counted.  Cost, dim 64, 160 candidates: score 40 (`neumf`) or 65 µs (`din`) a query, learn 170
    or 250 µs an example.  Memory: 8 bytes a parameter, below 3,000 of them.

    Parameters
    ----------
    weights
        Weight of each generator in the blend, by name.
    vectors
        A generator with item vectors.  Raises `ValueError` if it is None.
    interaction
        `neumf` or `din`.
    hidden
        Hidden units.
    batch
        Examples of an Adagrad step: torch costs too much for steps of one.
    learning_rate
        Step length of Adagrad.
    seed
        Seed of the first parameters.

    Examples
    --------
    >>> class Vectors:
    ...     vectors, events = np.eye(8, dtype=np.float32), np.ones(8, np.int32)
    >>> rows, history = np.arange(8, dtype=np.int32)[None], np.full((1, 32), 3, np.int32)
    >>> x, q = np.zeros((1, 20, 8), np.float32), np.zeros((1, 17), np.float32)
    >>> features = Features(rows, np.array([8], np.int32), x, q, history)
    >>> ranker = Deep({"next": 1.0}, Vectors())
    >>> for _ in range(20):
    ...     ranker.learn(features, np.array([3], np.int32), np.ones(1, np.float32))
    >>> int(ranker.score(features).argmax())
    3
    """

    def __init__(
        self,
        weights: Mapping[str, float],
        vectors: Embedded | None,
        interaction: Literal["neumf", "din"] = "neumf",
        hidden: int = 16,
        batch: int = 16,
        learning_rate: float = 0.05,
        seed: int = 0,
    ) -> None:
        if vectors is None:
            raise ValueError(f"ranker {interaction}: no generator has item vectors; add embedding")
        self._interaction, self._vectors = INTERACTIONS[interaction], vectors
        self.batch, self.learning_rate = batch, np.float32(learning_rate)
        self.dropped = 0
        """Examples whose steps were dropped because they were not finite."""
        of_candidate, of_query = (len(part) for part in feature_names(list(weights)))
        self._plain = padded_size(of_candidate)
        self._shape = hidden, padded_size(self._plain + self._interaction.size), of_query
        self._network = network.size(self._shape)
        """Parameters of the network; those of the interaction follow."""
        self._shapes = self._interaction.shapes(vectors.vectors.shape[1])
        self.state = Parameters(self._network + sum(map(prod, self._shapes.values())), first_squares=1e-4)
        values = self.state.values
        values[0 : 2 * len(weights) : 2] = [SHARPNESS * weight for weight in weights.values()]
        rng = np.random.default_rng(seed)
        inner = values[self._shape[1] :][: hidden * self._shape[1]]
        inner[:] = rng.uniform(-1, 1, len(inner)) / np.sqrt(self._shape[1])
        for part in self._split(values).values():
            part[...] = rng.normal(0, 0.3, part.shape)

    def _split(self, parameters: Tensor) -> dict[str, Tensor]:
        """The parameters of the interaction by name; views."""
        parts, at = {}, self._network
        for name, shape in self._shapes.items():
            parts[name] = parameters[at : at + prod(shape)].reshape(shape)
            at += prod(shape)
        return parts

    def _look_up(self, features: Features) -> tuple[Floats, NDArray[np.bool_], Floats]:
        """Vectors of the history, which of them exist, and vectors of the candidates."""
        vectors, history = self._vectors.vectors, features.history
        return vectors[np.maximum(history, 0)], history >= 0, vectors[np.maximum(features.rows, 0)]

    def score(self, features: Features) -> Floats:
        """Probability of each candidate that it comes next, were it one of them; float32[n, m]."""
        x = np.zeros((len(features.rows), self._shape[1], features.rows.shape[1]), np.float32)
        x[:, : self._plain] = features.candidates
        x[:, self._plain : self._plain + self._interaction.size] = self._interaction.interact(
            np, self._split(self.state.values), *self._look_up(features)
        )
        parameters = self.state.values[: self._network]
        return network.scores(x, features.queries, features.counts, self._shape, parameters)

    def learn(self, features: Features, targets: Rows, weights: Floats) -> None:
        """Take a step for every `batch` examples whose target is a column, not -1."""
        useful = np.flatnonzero(targets >= 0)
        for at in range(0, len(useful), self.batch):
            part = useful[at : at + self.batch]
            self._step(features.take(part), targets[part], weights[part])
            self.state.mark_all()

    def _step(self, features: Features, targets: Rows, weights: Floats) -> None:
        import torch

        torch.set_num_threads(1)  # the batches are small, and serving needs the other cores
        hidden, size, of_query = self._shape
        parameters = torch.from_numpy(self.state.values.copy()).requires_grad_()
        valid = np.arange(features.rows.shape[1]) < features.counts[:, None]
        h, exists, c = map(torch.from_numpy, self._look_up(features))
        y = self._interaction.interact(torch, self._split(parameters), h, exists, c)
        plain = np.where(valid[:, None], features.candidates, np.float32(0))
        x = torch.cat([torch.from_numpy(plain), y], 1)
        x = torch.nn.functional.pad(x, (0, 0, 0, size - x.shape[1]))  # (batch, size, m)
        w, inner, query, bias, v = torch.split(
            parameters[: self._network], [size, hidden * size, hidden * of_query, hidden, hidden]
        )
        of_queries = torch.from_numpy(features.queries) @ query.view(hidden, of_query).T + bias
        z = inner.view(hidden, size) @ x + of_queries[:, :, None]  # (batch, hidden, m)
        logits = (w @ x + v @ torch.relu(z)).masked_fill(~torch.from_numpy(valid), -torch.inf)
        losses = torch.nn.functional.cross_entropy(logits, torch.from_numpy(targets).long(), reduction="none")
        loss = (losses * torch.from_numpy(weights)).sum()
        gradient = torch.autograd.grad(loss, parameters)[0].numpy()
        if not np.isfinite(gradient).all():
            self.dropped += len(targets)
            return
        self.state.squares += gradient**2
        self.state.values -= self.learning_rate * gradient / np.sqrt(self.state.squares)

    def evict(self, rows: Rows) -> None:
        """Do nothing: nothing is kept of single items."""
