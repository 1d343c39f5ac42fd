"""Towers over a sequence: what a session says of its next item, as a vector, at every step of it.

Each has two sides.  The learner's is `walk`: all steps of many sequences at once, and the way back from a
gradient of the outcome to those of inputs and weights.  A replica's is `last`: the newest step alone, without
torch.  Tokens come step by step, as `Sequences` has them: the first `sizes[0]` belong to step 0, and the
sequences that have a step t + 1 are the first of those at step t.

* `mean`: u_t = Σ_j γ^(t−j) x_j / Σ_j γ^(t−j), γ learnt.  Both sides and the gradient are kernels.  What is
  further back than `SESSION` has a weight of γ^9, 1/150: new clicks are learnt without it.  Cost: O(dim) a
  token.
* `gru`: a gated recurrent unit (Cho et al. 2014; for sessions Hidasi et al. 2016, "Session-based
  Recommendations with Recurrent Neural Networks") beside a linear path from the latest item.
  Cost: 7 dim² multiplications a token.
* `transformer`: one causal block, normalised before each part (Vaswani et al. 2017; Kang and McAuley
  2018, "Self-Attentive Sequential Recommendation").  Positions are counted from the oldest of at most
  `length`.  Cost: 8 dim² + 2 · length · dim multiplications a token.

`gru` and `transformer` are one function each, written once for both sides: `ops` is torch in the learner,
whose autograd knows the way back, and in a replica the few functions of torch that are used here, in numpy.
"""

from collections.abc import Callable, Mapping
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from models.core import HISTORY, SESSION, Floats, Rows
from models.retrieval.recent import pack

HEADS = 2
Array = Any
"""numpy's or torch's."""
Weights = Mapping[str, Array]
Shapes = Mapping[str, tuple[int, ...]]
Back = Callable[[Floats], tuple[Floats, Floats]]
"""From the gradient of u to those of x and of the flat weights."""


class Tower(NamedTuple):
    """A tower by its weights' shapes and its two sides."""

    shapes: Callable[[int, int], dict[str, tuple[int, ...]]]
    """(dim, length) ▶ name ▶ shape."""
    walk: Callable[[Floats, Shapes, Floats, Rows], tuple[Floats, Back]]
    """(flat weights, shapes, x float32[tokens, dim], sizes) ▶ u float32[tokens, dim], and the way back."""
    last: Callable[[Weights, Floats, Rows], Floats]
    """(weights, all vectors, int32[n, length] newest first) ▶ u float32[n, dim]; 0 where there is no item."""
    before: int
    """Items before a new click that are enough to learn it from.  Each that has a part in it is a row of the
    next checkpoint."""


class arrays:
    """Torch's functions, in numpy: stands where the module does."""

    cat = staticmethod(np.concatenate)
    tanh = staticmethod(np.tanh)
    sqrt = staticmethod(np.sqrt)

    @staticmethod
    def split(x: Floats, sizes: list[int]) -> list[Floats]:
        """Views of so many rows each."""
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
        """e^x over its sum."""
        e = np.exp(x - x.max(dim, keepdims=True))
        return np.asarray(e / e.sum(dim, keepdims=True))

    @staticmethod
    def from_numpy(x: NDArray[Any]) -> NDArray[Any]:
        """The array itself."""
        return x


def _walk_mean(flat: Floats, shapes: Shapes, x: Floats, sizes: Rows) -> tuple[Floats, Back]:
    keep = arrays.sigmoid(split(flat, shapes)["decay"])[0]
    u = np.empty_like(x)
    _means(x, sizes, keep, u)

    def back(of_u: Floats) -> tuple[Floats, Floats]:
        of_x, of_weights = np.empty_like(x), np.zeros_like(flat)
        of_keep = _means_back(of_u, u, sizes, keep, of_x)
        split(of_weights, shapes)["decay"][0] = of_keep * keep * (1 - keep)
        return of_x, of_weights

    return u, back


@njit(cache=True, nogil=True)
def _means(x, sizes, keep, u):  # type: ignore[no-untyped-def]
    """u_t = (γ W_{t−1} u_{t−1} + x_t) / W_t with W_t = γ W_{t−1} + 1, the same in every sequence."""
    one = u.dtype.type(1)
    total, start = one * 0, 0
    for step in range(len(sizes)):
        before, total = total, total * keep + one
        a, b = keep * before / total, one / total
        for token in range(start, start + sizes[step]):
            if step == 0:
                u[token] = x[token]
            else:
                earlier = token - sizes[step - 1]
                for d in range(x.shape[1]):
                    u[token, d] = a * u[earlier, d] + b * x[token, d]
        start += sizes[step]


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "nsz"})
def _means_back(of_u, u, sizes, keep, of_x):  # type: ignore[no-untyped-def]
    """Gradient of x into `of_x`, and that of γ: the outcome is γ's through W and through every u before."""
    steps = len(sizes)
    totals, slopes = np.ones(steps, of_u.dtype), np.zeros(steps, of_u.dtype)
    for step in range(1, steps):  # W, and what it gains by γ
        totals[step] += keep * totals[step - 1]
        slopes[step] = totals[step - 1] + keep * slopes[step - 1]
    of_keep, stop = 0.0, len(of_u)
    for step in range(steps - 1, -1, -1):
        start = stop - sizes[step]
        following = sizes[step + 1] if step + 1 < steps else 0
        scale = of_u.dtype.type(1) / totals[step]
        for token in range(start, stop):
            later = token + sizes[step]
            slope = of_u.dtype.type(0)
            for d in range(of_u.shape[1]):  # x_t has the gradient of W_t u_t
                g = of_u[token, d] * scale
                slope -= g * u[token, d]
                if token - start < following:
                    g += keep * of_x[later, d]
                of_x[token, d] = g
            of_keep += slope * slopes[step]
            if step:
                earlier = token - sizes[step - 1]
                through = of_u.dtype.type(0)
                for d in range(of_u.shape[1]):
                    through += of_x[token, d] * u[earlier, d]
                of_keep += through * totals[step - 1]
        stop = start
    return of_keep


def _last_mean(w: Weights, vectors: Floats, history: Rows) -> Floats:
    out = np.zeros((len(history), vectors.shape[1]), np.float32)
    _decayed_means(history, vectors, arrays.sigmoid(w["decay"])[0], out)
    return out


@njit(cache=True, nogil=True)
def _decayed_means(history, vectors, keep, out):  # type: ignore[no-untyped-def]
    for n in range(len(history)):
        total = np.float32(0)
        for column in range(history.shape[1] - 1, -1, -1):
            a = history[n, column]
            if a >= 0:
                total = total * keep + np.float32(1)
                for d in range(out.shape[1]):
                    out[n, d] = out[n, d] * keep + vectors[a, d]
        if total > 0:
            for d in range(out.shape[1]):
                out[n, d] /= total


def _of_both_sides(
    shapes: Callable[[int, int], dict[str, tuple[int, ...]]],
    forward: Callable[[Any, Weights, Array, Rows], Array],
) -> Tower:
    """The tower of a function (ops, weights, x, sizes) ▶ u."""

    def walk(flat: Floats, shapes: Shapes, x: Floats, sizes: Rows) -> tuple[Floats, Back]:
        import torch

        weights = torch.from_numpy(flat).clone().requires_grad_()
        inputs = torch.from_numpy(x).clone().requires_grad_()
        u = forward(torch, split(weights, shapes), inputs, sizes)

        def back(of_u: Floats) -> tuple[Floats, Floats]:
            u.backward(torch.from_numpy(of_u))
            assert inputs.grad is not None
            assert weights.grad is not None
            return inputs.grad.numpy(), weights.grad.numpy()

        return u.detach().numpy(), back

    def last(w: Weights, vectors: Floats, history: Rows) -> Floats:
        sequences = pack(history)
        out = np.zeros((len(history), vectors.shape[1]), np.float32)
        if len(sequences.items):
            u = forward(arrays, w, vectors[sequences.items], sequences.sizes)
            some = sequences.last >= 0
            out[some] = u[sequences.last[some]]
        return out

    return Tower(shapes, walk, last, before=HISTORY)


def _gru(ops: Any, w: Weights, x: Array, sizes: Rows) -> Array:
    dim = x.shape[1]
    inputs = x @ w["input"] + w["input_bias"]  # (tokens, 3 dim)
    states: list[Array] = []
    for i in ops.split(inputs, sizes.tolist()):
        n = len(i)
        before = states[-1][:n] if states else x[:n] * 0
        h = before @ w["hidden"] + w["hidden_bias"]
        gates = ops.sigmoid(i[:, : 2 * dim] + h[:, : 2 * dim])
        new = ops.tanh(i[:, 2 * dim :] + gates[:, :dim] * h[:, 2 * dim :])
        states.append(new + gates[:, dim:] * (before - new))
    return ops.cat(states) + x @ w["skip"]


def _transformer(ops: Any, w: Weights, x: Array, sizes: Rows) -> Array:
    n, steps, dim = int(sizes[0]), len(sizes), x.shape[1]
    starts = np.cumsum(sizes) - sizes
    has = np.arange(n)[:, None] < sizes[None, :]  # (n, steps)
    at = np.where(has, starts[None, :] + np.arange(n)[:, None], 0)
    token = at[has]
    back = np.empty(len(token), np.int64)  # where each token is among those of `token`
    back[token] = np.arange(len(token))
    later = ops.from_numpy(np.triu(np.full((steps, steps), -1e9, np.float32), 1))

    x = x[at] + w["position"][:steps]  # (n, steps, dim)
    query, key, value = (
        part.reshape(n, steps, HEADS, dim // HEADS).swapaxes(1, 2)
        for part in _thirds(_normal(ops, x, w["scale"][0]) @ w["attend"], dim)
    )
    weight = ops.softmax(query @ key.swapaxes(2, 3) * (dim / HEADS) ** -0.5 + later, -1)
    x = x + (weight @ value).swapaxes(1, 2).reshape(n, steps, dim) @ w["join"]
    hidden = ops.relu(_normal(ops, x, w["scale"][1]) @ w["widen"] + w["widen_bias"])
    x = _normal(ops, x + hidden @ w["narrow"], w["scale"][2])
    return x[has][back]


def _thirds(x: Array, dim: int) -> tuple[Array, Array, Array]:
    return x[..., :dim], x[..., dim : 2 * dim], x[..., 2 * dim :]


def _normal(ops: Any, x: Array, scale: Array) -> Array:
    """Of root mean square 1 (Zhang and Sennrich 2019), times a learnt scale."""
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
    "gru": _of_both_sides(_gru_shapes, _gru),
    "transformer": _of_both_sides(_transformer_shapes, _transformer),
}


def start(rng: np.random.Generator, name: str, shape: tuple[int, ...]) -> Floats:
    """Weights before anything is learnt: what the name says, else uniform in ±1/√(rows)."""
    if name == "decay":
        return np.full(shape, np.log(0.6 / 0.4), np.float32)
    if name.endswith("bias"):
        return np.zeros(shape, np.float32)
    if name == "scale":
        return np.ones(shape, np.float32)
    if name == "skip":
        return np.eye(shape[0], dtype=np.float32)
    return rng.uniform(-1, 1, shape).astype(np.float32) / np.float32(np.sqrt(shape[0]))


def split(flat: Array, shapes: Shapes) -> dict[str, Array]:
    """Named weights as views of a flat array, numpy's or torch's."""
    out, at = {}, 0
    for name, shape in shapes.items():
        out[name] = flat[at : at + prod(shape)].reshape(shape)
        at += prod(shape)
    return out
