"""Kernels of the rankers' network: a linear softmax over the candidates beside one hidden layer.

    logit_j = w · x_j + v · relu(W x_j + U q + b)

Arrays are laid out with the candidates last, so that the innermost loops run along them.
"""

from typing import NamedTuple

import numpy as np

from models.core import Floats, Rows
from models.kernels.fastmath import exp
from models.kernels.jit import ANY_ORDER, Array, kernel

Shape = tuple[int, int, int]
"""Hidden units, features of a candidate, features of a query."""


class Network(NamedTuple):
    """The parameters by name, or a gradient by the parameters; views of one flat array."""

    linear: Array
    """w, float32[features]."""
    inner: Array
    """W, float32[hidden, features]."""
    query: Array
    """U, float32[hidden, features of a query]."""
    bias: Array
    """b, float32[hidden]."""
    outer: Array
    """v, float32[hidden]."""


def size(shape: Shape) -> int:
    """Number of parameters of a network.

    >>> size((16, 28, 20))
    828
    """
    hidden, features, of_query = shape
    return features + hidden * (features + of_query + 2)


def scores(candidates: Floats, queries: Floats, counts: Rows, shape: Shape, parameters: Floats) -> Floats:
    """Probability of each candidate that it comes next, were it one of them; float32[n, m]."""
    out = np.empty((len(counts), candidates.shape[2]), np.float32)
    _score(candidates, queries, counts, shape, parameters, out)
    return out


@kernel
def split(values: Array, hidden: int, features: int, of_query: int) -> Network:
    """The flat parameters by name."""
    at = features
    inner = values[at : at + hidden * features].reshape(hidden, features)
    at += hidden * features
    query = values[at : at + hidden * of_query].reshape(hidden, of_query)
    at += hidden * of_query
    return Network(values[:features], inner, query, values[at : at + hidden], values[at + hidden :])


@kernel
def learn(
    candidates: Array,
    queries: Array,
    counts: Array,
    targets: Array,
    weights: Array,
    shape: Shape,
    rates: tuple[np.float32, np.float32],
    parameters: Array,
    squares: Array,
) -> int:
    """Take an Adagrad step for each example whose target is a column, not -1.

    `rates` are those of the linear weights and of all others.  A step whose gradient is not finite is
    dropped; returns how many were.
    """
    hidden, features, _ = shape
    activation = np.empty((hidden, candidates.shape[2]), np.float32)
    slopes = np.empty(candidates.shape[2], np.float32)
    gradient = np.empty_like(parameters)
    network, by_name = split(parameters, *shape), split(gradient, *shape)
    dropped = 0
    for n in range(len(counts)):
        if targets[n] < 0:
            continue
        _gradient(
            candidates[n], queries[n], counts[n], targets[n], weights[n], network, activation, slopes, by_name
        )
        total = np.float32(0.0)
        for p in range(len(gradient)):
            total += gradient[p] * gradient[p]
        if not np.isfinite(total):
            dropped += 1
            continue
        _adagrad(parameters[:features], squares[:features], gradient[:features], rates[0])
        _adagrad(parameters[features:], squares[features:], gradient[features:], rates[1])
    return dropped


@kernel
def _score(
    candidates: Array, queries: Array, counts: Array, shape: Shape, parameters: Array, out: Array
) -> None:
    network = split(parameters, *shape)
    activation = np.empty((len(network.outer), candidates.shape[2]), np.float32)
    for n in range(len(counts)):
        _logits(candidates[n], queries[n], counts[n], network, activation, out[n])
        _softmax(out[n], counts[n])
        out[n, counts[n] :] = 0


@kernel(fastmath=ANY_ORDER, error_model="numpy")
def _logits(x: Array, q: Array, count: int, network: Network, activation: Array, logit: Array) -> None:
    for j in range(count):
        logit[j] = 0
    _add_weighted(x, network.linear, count, logit)
    for h in range(len(network.outer)):
        start = network.bias[h]
        for f in range(len(q)):
            start += network.query[h, f] * q[f]
        a = activation[h]
        for j in range(count):
            a[j] = start
        _add_weighted(x, network.inner[h], count, a)
        for j in range(count):
            a[j] = max(a[j], np.float32(0.0))
            logit[j] += network.outer[h] * a[j]


@kernel(fastmath=ANY_ORDER, error_model="numpy")
def _add_weighted(x: Array, w: Array, count: int, out: Array) -> None:
    """Add w · x to `out`, four features at once: one pass over `out` for four over `x`."""
    for f in range(0, len(w), 4):
        a, b, c, d = x[f], x[f + 1], x[f + 2], x[f + 3]
        wa, wb, wc, wd = w[f], w[f + 1], w[f + 2], w[f + 3]
        for j in range(count):
            out[j] += wa * a[j] + wb * b[j] + wc * c[j] + wd * d[j]


@kernel(fastmath=ANY_ORDER, error_model="numpy")
def _dots(x: Array, d: Array, count: int, out: Array) -> None:
    """Write x · d into `out`, four features at once."""
    for f in range(0, len(out), 4):
        a, b, c, e = x[f], x[f + 1], x[f + 2], x[f + 3]
        ta, tb, tc, te = np.float32(0.0), np.float32(0.0), np.float32(0.0), np.float32(0.0)
        for j in range(count):
            ta += d[j] * a[j]
            tb += d[j] * b[j]
            tc += d[j] * c[j]
            te += d[j] * e[j]
        out[f], out[f + 1], out[f + 2], out[f + 3] = ta, tb, tc, te


@kernel(fastmath=ANY_ORDER, error_model="numpy")
def _softmax(logit: Array, count: int) -> None:
    """Softmax of the first `count` logits, in place."""
    highest = np.float32(-np.inf)
    for j in range(count):
        highest = max(highest, logit[j])
    total = np.float32(0.0)
    for j in range(count):
        logit[j] = exp(logit[j] - highest)
        total += logit[j]
    scale = np.float32(1.0) / total
    for j in range(count):
        logit[j] *= scale


@kernel(fastmath=ANY_ORDER, error_model="numpy")
def _gradient(
    x: Array,
    q: Array,
    count: int,
    target: int,
    weight: np.float32,
    network: Network,
    activation: Array,
    d: Array,
    out: Network,
) -> None:
    """Write the gradient of the loss into `out`; `activation` and `d` are scratch."""
    _logits(x, q, count, network, activation, d)
    _softmax(d, count)
    for j in range(count):
        d[j] *= weight
    d[target] -= weight
    _dots(x, d, count, out.linear)
    for h in range(len(network.outer)):
        a, slope, outer_sum = activation[h], network.outer[h], np.float32(0.0)
        bias_sum = np.float32(0.0)
        for j in range(count):
            outer_sum += d[j] * a[j]
            a[j] = slope * d[j] if a[j] > 0 else np.float32(0.0)
            bias_sum += a[j]
        out.outer[h], out.bias[h] = outer_sum, bias_sum
        _dots(x, a, count, out.inner[h])
        for f in range(len(q)):
            out.query[h, f] = bias_sum * q[f]


@kernel(fastmath=ANY_ORDER, error_model="numpy")
def _adagrad(parameters: Array, squares: Array, gradient: Array, rate: np.float32) -> None:
    for p in range(len(parameters)):
        squares[p] += gradient[p] * gradient[p]
        parameters[p] -= rate * gradient[p] / np.sqrt(squares[p])
