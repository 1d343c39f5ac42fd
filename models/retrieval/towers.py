"""Towers: a vector for each step of a sequence of items, from which the next item is predicted.

Each tower has two sides.  The learner's is `walk`: all steps of many sequences at once, and the way back from
a gradient of the outcome to those of inputs and weights.  A replica's is `last`: the newest step alone,
without torch.  Tokens are laid out step by step, as in `models.retrieval.sequences.Sequences`: the first
`sizes[0]` belong to step 0, and the sequences that have a step t + 1 are the first of those at step t.

* `mean`: u_t = Σ_j γ^(t−j) x_j / Σ_j γ^(t−j), γ learnt (`models.retrieval.mean_tower`).  An item more than
  `SESSION` steps back has a weight of γ^9, 1/150: new clicks are learnt without it.  Cost: O(dim) a token.
* `gru`: a gated recurrent unit (Cho et al. 2014; for sessions Hidasi et al. 2016, "Session-based
  Recommendations with Recurrent Neural Networks") beside a linear path from the latest item.
  Cost: 7 dim² multiplications a token.
* `transformer`: one causal block, normalised before each part (Vaswani et al. 2017; Kang and McAuley
  2018, "Self-Attentive Sequential Recommendation").  Positions are counted from the oldest of at most
  `length`.  Cost: 8 dim² + 2 · length · dim multiplications a token.

`gru` and `transformer` are one function each for both sides: `ops` is torch in the learner, whose autograd
provides the way back, and `NumpyOps` in a replica.
"""

from collections.abc import Callable, Mapping
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.core import HISTORY, SESSION, Floats, Rows
from models.retrieval.mean_tower import last_means, means, means_backward
from models.retrieval.sequences import pack

HEADS = 2
"""Attention heads of `transformer`."""
Tensor = Any
"""An array of numpy or of torch."""
Weights = Mapping[str, Tensor]
Shapes = Mapping[str, tuple[int, ...]]
Backward = Callable[[Floats], tuple[Floats, Floats]]
"""Maps the gradient of u to the gradients of x and of the flat weights."""


class Tower(NamedTuple):
    """A tower by its weights' shapes and its two sides."""

    shapes: Callable[[int, int], dict[str, tuple[int, ...]]]
    """Shapes of the weights by name, from (dim, length)."""
    walk: Callable[[Floats, Shapes, Floats, Rows], tuple[Floats, Backward]]
    """From (flat weights, shapes, x float32[tokens, dim], sizes) to u float32[tokens, dim], and the way
    back."""
    last: Callable[[Weights, Floats, Rows], Floats]
    """From (weights, all vectors, int32[n, length] newest first) to u float32[n, dim]; 0 if there is no
    item."""
    before: int
    """Items before a new click that suffice to learn it.  Each that takes part is a row of the next
    checkpoint."""


class NumpyOps:
    """The functions of torch that towers call, in numpy."""

    cat = staticmethod(np.concatenate)
    tanh = staticmethod(np.tanh)
    sqrt = staticmethod(np.sqrt)

    @staticmethod
    def split(x: Floats, sizes: list[int]) -> list[Floats]:
        """Views of `sizes` rows each."""
        return np.split(x, np.cumsum(sizes)[:-1])

    @staticmethod
    def sigmoid(x: Floats) -> Floats:
        """1 / (1 + e^−x)."""
        return np.asarray(1 / (1 + np.exp(-x)))

    @staticmethod
    def relu(x: Floats) -> Floats:
        """max(x, 0)."""
        return np.maximum(x, 0)

    @staticmethod
    def softmax(x: Floats, dim: int) -> Floats:
        """e^x over its sum along `dim`."""
        e = np.exp(x - x.max(dim, keepdims=True))
        return np.asarray(e / e.sum(dim, keepdims=True))

    @staticmethod
    def from_numpy(x: NDArray[Any]) -> NDArray[Any]:
        """The array itself."""
        return x


def first_weights(rng: np.random.Generator, name: str, shape: tuple[int, ...]) -> Floats:
    """Weights before anything is learnt; by default uniform in ±1/√(rows)."""
    if name == "decay":
        return np.full(shape, np.log(0.6 / 0.4), np.float32)
    if name.endswith("bias"):
        return np.zeros(shape, np.float32)
    if name == "scale":
        return np.ones(shape, np.float32)
    if name == "skip":
        return np.eye(shape[0], dtype=np.float32)
    return rng.uniform(-1, 1, shape).astype(np.float32) / np.float32(np.sqrt(shape[0]))


def split(flat: Tensor, shapes: Shapes) -> dict[str, Tensor]:
    """The flat weights by name, as views.

    >>> {name: part.tolist() for name, part in split(np.arange(3), {"a": (1,), "b": (2, 1)}).items()}
    {'a': [0], 'b': [[1], [2]]}
    """
    parts, at = {}, 0
    for name, shape in shapes.items():
        parts[name] = flat[at : at + prod(shape)].reshape(shape)
        at += prod(shape)
    return parts


def _walk_mean(flat: Floats, shapes: Shapes, x: Floats, sizes: Rows) -> tuple[Floats, Backward]:
    keep = NumpyOps.sigmoid(split(flat, shapes)["decay"])[0]
    u = np.empty_like(x)
    means(x, sizes, keep, u)

    def backward(u_gradient: Floats) -> tuple[Floats, Floats]:
        x_gradient, gradient = np.empty_like(x), np.zeros_like(flat)
        keep_gradient = means_backward(u_gradient, u, sizes, keep, x_gradient)
        split(gradient, shapes)["decay"][0] = keep_gradient * keep * (1 - keep)
        return x_gradient, gradient

    return u, backward


def _last_mean(w: Weights, vectors: Floats, history: Rows) -> Floats:
    out = np.zeros((len(history), vectors.shape[1]), np.float32)
    last_means(history, vectors, NumpyOps.sigmoid(w["decay"])[0], out)
    return out


def _tower(
    shapes: Callable[[int, int], dict[str, tuple[int, ...]]],
    forward: Callable[[Any, Weights, Tensor, Rows], Tensor],
) -> Tower:
    """A tower whose two sides are one function from (ops, weights, x, sizes) to u."""

    def walk(flat: Floats, shapes: Shapes, x: Floats, sizes: Rows) -> tuple[Floats, Backward]:
        import torch

        weights = torch.from_numpy(flat).clone().requires_grad_()
        inputs = torch.from_numpy(x).clone().requires_grad_()
        u = forward(torch, split(weights, shapes), inputs, sizes)

        def backward(u_gradient: Floats) -> tuple[Floats, Floats]:
            u.backward(torch.from_numpy(u_gradient))
            assert inputs.grad is not None
            assert weights.grad is not None
            return inputs.grad.numpy(), weights.grad.numpy()

        return u.detach().numpy(), backward

    def last(w: Weights, vectors: Floats, history: Rows) -> Floats:
        sequences = pack(history)
        out = np.zeros((len(history), vectors.shape[1]), np.float32)
        if len(sequences.items):
            u = forward(NumpyOps, w, vectors[sequences.items], sequences.sizes)
            nonempty = sequences.last >= 0
            out[nonempty] = u[sequences.last[nonempty]]
        return out

    return Tower(shapes, walk, last, before=HISTORY)


def _gru(ops: Any, w: Weights, x: Tensor, sizes: Rows) -> Tensor:
    dim = x.shape[1]
    inputs = x @ w["input"] + w["input_bias"]  # (tokens, 3 dim)
    states: list[Tensor] = []
    for i in ops.split(inputs, sizes.tolist()):
        n = len(i)
        before = states[-1][:n] if states else x[:n] * 0
        h = before @ w["hidden"] + w["hidden_bias"]
        gates = ops.sigmoid(i[:, : 2 * dim] + h[:, : 2 * dim])
        new = ops.tanh(i[:, 2 * dim :] + gates[:, :dim] * h[:, 2 * dim :])
        states.append(new + gates[:, dim:] * (before - new))
    return ops.cat(states) + x @ w["skip"]


def _transformer(ops: Any, w: Weights, x: Tensor, sizes: Rows) -> Tensor:
    n, steps, dim = int(sizes[0]), len(sizes), x.shape[1]
    starts = np.cumsum(sizes) - sizes
    exists = np.arange(n)[:, None] < sizes[None, :]  # (n, steps)
    at = np.where(exists, starts[None, :] + np.arange(n)[:, None], 0)
    token = at[exists]
    back = np.empty(len(token), np.int64)  # position of each token in `token`
    back[token] = np.arange(len(token))
    later = ops.from_numpy(np.triu(np.full((steps, steps), -1e9, np.float32), 1))

    x = x[at] + w["position"][:steps]  # (n, steps, dim)
    query, key, value = (
        part.reshape(n, steps, HEADS, dim // HEADS).swapaxes(1, 2)
        for part in _thirds(_normalise(ops, x, w["scale"][0]) @ w["attend"], dim)
    )
    weight = ops.softmax(query @ key.swapaxes(2, 3) * (dim / HEADS) ** -0.5 + later, -1)
    x = x + (weight @ value).swapaxes(1, 2).reshape(n, steps, dim) @ w["join"]
    hidden = ops.relu(_normalise(ops, x, w["scale"][1]) @ w["widen"] + w["widen_bias"])
    x = _normalise(ops, x + hidden @ w["narrow"], w["scale"][2])
    return x[exists][back]


def _thirds(x: Tensor, dim: int) -> tuple[Tensor, Tensor, Tensor]:
    return x[..., :dim], x[..., dim : 2 * dim], x[..., 2 * dim :]


def _normalise(ops: Any, x: Tensor, scale: Tensor) -> Tensor:
    """Rows of x at a root mean square of 1 (Zhang and Sennrich 2019), times a learnt scale."""
    return x / ops.sqrt((x * x).mean(-1)[..., None] + 1e-6) * scale


def _mean_shapes(dim: int, length: int) -> dict[str, tuple[int, ...]]:
    return {"decay": (1,)}


def _gru_shapes(dim: int, length: int) -> dict[str, tuple[int, ...]]:
    return {
        "input": (dim, 3 * dim), "input_bias": (3 * dim,), "hidden": (dim, 3 * dim),
        "hidden_bias": (3 * dim,), "skip": (dim, dim),
    }  # fmt: skip


def _transformer_shapes(dim: int, length: int) -> dict[str, tuple[int, ...]]:
    return {
        "position": (length, dim), "attend": (dim, 3 * dim), "join": (dim, dim), "widen": (dim, 2 * dim),
        "widen_bias": (2 * dim,), "narrow": (2 * dim, dim), "scale": (3, dim),
    }  # fmt: skip


TOWERS = {
    "mean": Tower(_mean_shapes, _walk_mean, _last_mean, before=SESSION),
    "gru": _tower(_gru_shapes, _gru),
    "transformer": _tower(_transformer_shapes, _transformer),
}
