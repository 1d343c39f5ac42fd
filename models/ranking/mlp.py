"""A small network over the features, learnt one example at a time; without hidden units, a linear softmax.

    logit_j = w · x_j + v · relu(W x_j + U q + b)
    P(j) = exp(logit_j) / Σ_i exp(logit_i)                  over the candidates of one query
    loss = −log P(what came next)

x_j are the features of a candidate, q those of the query (`models.ranking.features`).  Softmax over the
list is ListNet's with one relevant document (Cao et al. 2007, "Learning to Rank: From Pairwise Approach to
Listwise Approach"); the linear way around the hidden layer is Wide & Deep's (Cheng et al. 2016).
Steps are Adagrad's (Duchi et al. 2011), one an example.

At the start w is the fixed blend's and v is 0: a cold ranker lists what the blend lists.  A step whose
gradient is not finite is dropped and counted.  Cost, for 160 candidates, 28 features and 16 hidden units:
score 5 µs a query, learn 11 µs an example; linear 1 µs each.  Memory: 8 bytes a parameter, of which there are
about 850.
"""

from collections.abc import Mapping

import numpy as np
from numba import njit
from numpy.typing import NDArray

from models.core import Features, Floats, Rows
from models.kernels.fastmath import exp
from models.ranking.features import names, padded

SHARPNESS = 4.0
"""Of the first softmax: the fixed blend says an order and no probabilities."""
FIRST_SQUARES = 0.1
"""In Adagrad's accumulators at the start.  With next to none a first step is as long as the rate whatever the
gradient, and could turn so many features of the query at once that hidden units never answered again."""


class Mlp:
    """Linear where `hidden` is 0."""

    rows = 1

    def __init__(
        self,
        weights: Mapping[str, float],
        hidden: int = 16,
        learning_rate: float = 0.1,
        learning_rate_linear: float = 0.1,
        seed: int = 0,
    ) -> None:
        of_candidate, of_query = names(list(weights))
        self._shape = hidden, padded(len(of_candidate)), len(of_query)
        self._rates = np.float32(learning_rate_linear), np.float32(learning_rate)
        self.dropped = 0
        """Steps dropped because they were not finite."""
        size = self._shape[1] + hidden * (self._shape[1] + self._shape[2] + 2)
        self.dtype = np.dtype([("row", "<i4"), ("parameters", "<f4", size), ("squares", "<f4", size)])
        self._parameters = np.zeros(size, np.float32)
        self._squares = np.full(size, FIRST_SQUARES, np.float32)
        self._dirty = False
        linear, inner, _, _, _ = _split(self._parameters, *self._shape)
        linear[0 : 2 * len(weights) : 2] = [SHARPNESS * weight for weight in weights.values()]
        rng = np.random.default_rng(seed)
        inner[:, : len(of_candidate)] = rng.uniform(-1, 1, (hidden, len(of_candidate))) / np.sqrt(
            len(of_candidate)
        )

    def score(self, seen: Features) -> Floats:
        """Probabilities that it is the next, were it one of the candidates: float32[n, m]."""
        return scores(seen.candidates, seen.queries, seen.counts, self._shape, self._parameters)

    def learn(self, seen: Features, targets: Rows, weights: Floats) -> None:
        """One step for each example whose target is a column, not -1."""
        self.dropped += _learn(
            seen.candidates, seen.queries, seen.counts, targets, weights, self._shape, self._rates,
            self._parameters, self._squares,
        )  # fmt: skip
        self._dirty = self._dirty or bool((targets >= 0).any())

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


def scores(
    candidates: Floats, queries: Floats, counts: Rows, shape: tuple[int, int, int], parameters: Floats
) -> Floats:
    """Probabilities, float32[n, m]; `shape`: hidden units, features of a candidate, of a query."""
    out = np.empty((len(counts), candidates.shape[2]), np.float32)
    _score(candidates, queries, counts, shape, parameters, out)
    return out


@njit(cache=True, nogil=True)
def _split(values, hidden, features, of_query):  # type: ignore[no-untyped-def]
    """The parameters by name: w, W, U, b, v; views."""
    at = features
    inner = values[at : at + hidden * features].reshape(hidden, features)
    at += hidden * features
    query = values[at : at + hidden * of_query].reshape(hidden, of_query)
    at += hidden * of_query
    return values[:features], inner, query, values[at : at + hidden], values[at + hidden :]


_FAST = {"reassoc", "contract", "nsz"}
"""Sums in any order, but NaN and infinity stay what they are: they are looked for."""


@njit(cache=True, nogil=True, fastmath=_FAST, error_model="numpy")
def _logits(x, q, count, w, inner, query, bias, v, activation, logit):  # type: ignore[no-untyped-def]
    for j in range(count):
        logit[j] = 0
    _add_weighted(x, w, count, logit)
    for h in range(len(v)):
        start = bias[h]
        for f in range(len(q)):
            start += query[h, f] * q[f]
        a = activation[h]
        for j in range(count):
            a[j] = start
        _add_weighted(x, inner[h], count, a)
        for j in range(count):
            a[j] = max(a[j], np.float32(0.0))
            logit[j] += v[h] * a[j]


@njit(cache=True, nogil=True, fastmath=_FAST, error_model="numpy")
def _add_weighted(x, w, count, out):  # type: ignore[no-untyped-def]
    """Out += w · x, four features at once: one pass over `out` for four over `x`."""
    for f in range(0, len(w), 4):
        a, b, c, d = x[f], x[f + 1], x[f + 2], x[f + 3]
        wa, wb, wc, wd = w[f], w[f + 1], w[f + 2], w[f + 3]
        for j in range(count):
            out[j] += wa * a[j] + wb * b[j] + wc * c[j] + wd * d[j]


@njit(cache=True, nogil=True, fastmath=_FAST, error_model="numpy")
def _dots(x, d, count, out):  # type: ignore[no-untyped-def]
    """Out = x · d, four features at once."""
    for f in range(0, len(out), 4):
        a, b, c, e = x[f], x[f + 1], x[f + 2], x[f + 3]
        ta, tb, tc, te = np.float32(0.0), np.float32(0.0), np.float32(0.0), np.float32(0.0)
        for j in range(count):
            ta += d[j] * a[j]
            tb += d[j] * b[j]
            tc += d[j] * c[j]
            te += d[j] * e[j]
        out[f], out[f + 1], out[f + 2], out[f + 3] = ta, tb, tc, te


@njit(cache=True, nogil=True)
def _score(candidates, queries, counts, shape, parameters, out):  # type: ignore[no-untyped-def]
    w, inner, query, bias, v = _split(parameters, *shape)
    activation = np.empty((len(v), candidates.shape[2]), np.float32)
    for n in range(len(counts)):
        _logits(candidates[n], queries[n], counts[n], w, inner, query, bias, v, activation, out[n])
        _softmax(out[n], counts[n])
        out[n, counts[n] :] = 0


@njit(cache=True, nogil=True, fastmath=_FAST, error_model="numpy")
def _softmax(logit, count):  # type: ignore[no-untyped-def]
    """In place."""
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


@njit(cache=True, nogil=True, fastmath=_FAST, error_model="numpy")
def _gradient(  # type: ignore[no-untyped-def]
    x, q, count, target, weight, w, inner, query, bias, v, activation, d, gw, ginner, gquery, gbias, gv
):
    """Gradient of the loss into the g's."""
    _logits(x, q, count, w, inner, query, bias, v, activation, d)
    _softmax(d, count)
    for j in range(count):
        d[j] *= weight
    d[target] -= weight
    _dots(x, d, count, gw)
    for h in range(len(v)):
        a, slope, total_v = activation[h], v[h], np.float32(0.0)
        total_b = np.float32(0.0)
        for j in range(count):
            total_v += d[j] * a[j]
            a[j] = slope * d[j] if a[j] > 0 else np.float32(0.0)
            total_b += a[j]
        gv[h], gbias[h] = total_v, total_b
        _dots(x, a, count, ginner[h])
        for f in range(len(q)):
            gquery[h, f] = total_b * q[f]


@njit(cache=True, nogil=True, fastmath=_FAST, error_model="numpy")
def _adagrad(parameters, squares, gradient, rate):  # type: ignore[no-untyped-def]
    for p in range(len(parameters)):
        squares[p] += gradient[p] * gradient[p]
        parameters[p] -= rate * gradient[p] / np.sqrt(squares[p])


@njit(cache=True, nogil=True)
def _learn(  # type: ignore[no-untyped-def]
    candidates, queries, counts, targets, weights, shape, rates, parameters, squares
):
    """One step an example; how many were dropped."""
    hidden, features, _ = shape
    activation = np.empty((hidden, candidates.shape[2]), np.float32)
    d = np.empty(candidates.shape[2], np.float32)
    gradient = np.empty_like(parameters)
    w, inner, query, bias, v = _split(parameters, *shape)
    gw, ginner, gquery, gbias, gv = _split(gradient, *shape)
    dropped = 0
    for n in range(len(counts)):
        if targets[n] < 0:
            continue
        _gradient(
            candidates[n], queries[n], counts[n], targets[n], weights[n], w, inner, query, bias, v,
            activation, d, gw, ginner, gquery, gbias, gv,
        )  # fmt: skip
        total = np.float32(0.0)
        for p in range(len(gradient)):
            total += gradient[p] * gradient[p]
        if not np.isfinite(total):
            dropped += 1
            continue
        _adagrad(parameters[:features], squares[:features], gradient[:features], rates[0])
        _adagrad(parameters[features:], squares[features:], gradient[features:], rates[1])
    return dropped
