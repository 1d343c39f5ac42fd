"""The probability that the next item is among the candidates, which makes a ranker's shares probabilities."""

from collections.abc import Sequence

import numpy as np

from models.core import Features, Floats, Rows
from models.kernels.jit import Array, kernel
from models.ranking.features import feature_names
from models.state import Parameters


class Coverage:
    """Logistic regression over the features of the query; 1/2 before it has learnt.

        P(next = b) = P(next is a candidate | query) · P(b | candidates)
        P(next is a candidate | query) = σ(w · q + b)

    Learnt online by Adagrad (Duchi, Hazan and Singer 2011).  A ranker learns from the examples whose item was
    a candidate; this model from all.  Cost: below 1 µs.  Memory: a few hundred bytes.

    Parameters
    ----------
    generators
        Names of the generators, which the features of a query follow from.
    learning_rate
        Step length of Adagrad.

    Examples
    --------
    >>> coverage = Coverage(["next"])
    >>> rows, queries = np.zeros((1, 8), np.int32), np.ones((1, 13), np.float32)
    >>> features = Features(rows, np.array([8]), np.zeros((1, 16, 8), np.float32), queries, rows)
    >>> coverage.learn(features, np.array([3], np.int32), np.ones(1, np.float32))  # the item was a candidate
    >>> round(float(coverage.score(features)[0]), 2)
    0.67
    """

    def __init__(self, generators: Sequence[str], learning_rate: float = 0.05) -> None:
        self.state = Parameters(len(feature_names(generators)[1]) + 1, first_squares=1e-4)
        self._rate = np.float32(learning_rate)

    def score(self, features: Features) -> Floats:
        """Probability that the next item is a candidate, float32[n]."""
        out = np.empty(len(features.counts), np.float32)
        _score(features.queries, self.state.values, out)
        return out

    def learn(self, features: Features, targets: Rows, weights: Floats) -> None:
        """Take a step for each example; its target is a column of the candidates, or -1 for none of them."""
        _learn(features.queries, targets, weights, self.state.values, self.state.squares, self._rate)
        if len(targets):
            self.state.mark_all()

    def evict(self, rows: Rows) -> None:
        """Do nothing: nothing is kept of single items."""


@kernel
def _covered(query: Array, parameters: Array) -> np.float32:
    z = parameters[-1]
    for f in range(len(query)):
        z += query[f] * parameters[f]
    covered: np.float32 = np.float32(1.0) / (np.float32(1.0) + np.exp(-z))
    return covered


@kernel
def _score(queries: Array, parameters: Array, out: Array) -> None:
    for n in range(len(out)):
        out[n] = _covered(queries[n], parameters)


@kernel
def _learn(
    queries: Array, targets: Array, weights: Array, parameters: Array, squares: Array, rate: np.float32
) -> None:
    last = len(parameters) - 1
    for n in range(len(targets)):
        error = weights[n] * (_covered(queries[n], parameters) - np.float32(targets[n] >= 0))
        if not np.isfinite(error):
            continue
        for f in range(last + 1):
            gradient = error * (queries[n, f] if f < last else np.float32(1.0))
            squares[f] += gradient * gradient
            parameters[f] -= rate * gradient / np.sqrt(squares[f])
