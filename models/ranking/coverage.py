"""How likely what comes next is among the candidates at all: makes a ranker's shares probabilities.

    P(next = b) = P(next is a candidate | query) · P(b | candidates)
    P(next is a candidate | query) = σ(w · q + b)

learnt online by logistic regression with Adagrad over the features of the query.  A ranker learns from the
examples whose item was a candidate; this from all.  Cost: below 1 µs.  Memory: a few hundred bytes.
"""

from collections.abc import Sequence

import numpy as np
from numba import njit
from numpy.typing import NDArray

from models.core import Features, Floats, Rows
from models.ranking.features import names


class Coverage:
    """A logistic regression; one half before it has learnt."""

    rows = 1

    def __init__(self, generators: Sequence[str], learning_rate: float = 0.05) -> None:
        size = len(names(generators)[1]) + 1
        self._rate = np.float32(learning_rate)
        self.dtype = np.dtype([("row", "<i4"), ("parameters", "<f4", size), ("squares", "<f4", size)])
        self._parameters, self._squares = np.zeros(size, np.float32), np.full(size, 1e-4, np.float32)
        self._dirty = False

    def score(self, seen: Features) -> Floats:
        """float32[n]."""
        out = np.empty(len(seen.counts), np.float32)
        _score(seen.queries, self._parameters, out)
        return out

    def learn(self, seen: Features, targets: Rows, weights: Floats) -> None:
        """One step an example; its target is a column, or -1."""
        _learn(seen.queries, targets, weights, self._parameters, self._squares, self._rate)
        self._dirty = self._dirty or len(targets) > 0

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


@njit(cache=True, nogil=True)
def _covered(query, parameters):  # type: ignore[no-untyped-def]
    z = parameters[-1]
    for f in range(len(query)):
        z += query[f] * parameters[f]
    return np.float32(1.0) / (np.float32(1.0) + np.exp(-z))


@njit(cache=True, nogil=True)
def _score(queries, parameters, out):  # type: ignore[no-untyped-def]
    for n in range(len(out)):
        out[n] = _covered(queries[n], parameters)


@njit(cache=True, nogil=True)
def _learn(queries, targets, weights, parameters, squares, rate):  # type: ignore[no-untyped-def]
    last = len(parameters) - 1
    for n in range(len(targets)):
        error = weights[n] * (_covered(queries[n], parameters) - np.float32(targets[n] >= 0))
        if not np.isfinite(error):
            continue
        for f in range(last + 1):
            gradient = error * (queries[n, f] if f < last else np.float32(1.0))
            squares[f] += gradient * gradient
            parameters[f] -= rate * gradient / np.sqrt(squares[f])
