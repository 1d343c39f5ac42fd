"""Metrics of ranked lists, as small pure functions; all take ranks: 1 is the top, 0 a miss.

Each prediction has one relevant item, the one that came.  Then recall@k is the hit rate, precision@k is
recall / k, and the ideal DCG is 1 (Järvelin & Kekäläinen 2002, "Cumulated gain-based evaluation of IR
techniques").  Ties are pessimistic: an item that scores like the relevant one counts as if it were
above it, so that a constant score earns nothing.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from models.core import Rows

Values = NDArray[np.float64]


def ranks(rows: Rows, scores: NDArray[Any], targets: Rows, k: int) -> Rows:
    """The rank of each target in its list, int32[n]; 0: not among the k best.

    Give lists (int32[n, m], best first, -1 pads) of m = k + 1: the one more shows a tie across the end.

    >>> rows, scores = np.array([[4, 5, 6]], np.int32), np.array([[3.0, 2.0, 2.0]])
    >>> [int(ranks(rows, scores, np.array([item], np.int32), 3)[0]) for item in (4, 5, 6, 7)]
    [1, 3, 3, 0]
    """
    found = np.zeros(len(rows), np.int32)
    _ranks(rows, scores, targets, k, found)
    return found


@njit(cache=True, nogil=True)
def _ranks(rows, scores, targets, k, found):  # type: ignore[no-untyped-def]
    for n in range(len(rows)):
        if targets[n] < 0:
            continue
        at = -1
        for j in range(rows.shape[1]):
            if rows[n, j] == targets[n]:
                at = j
                break
        if at < 0:
            continue
        rank = 0
        for j in range(rows.shape[1]):
            if rows[n, j] >= 0 and scores[n, j] >= scores[n, at]:
                rank += 1
        if rank <= k:
            found[n] = rank


def hits(ranks: Rows, k: int) -> Values:
    """1 where the target is among the k best: its mean is recall@k, also called hit rate.

    >>> hits(np.array([1, 3, 0, 2], np.int32), 2).tolist()
    [1.0, 0.0, 0.0, 1.0]
    """
    return ((ranks > 0) & (ranks <= k)).astype(np.float64)


def reciprocal_ranks(ranks: Rows, k: int) -> Values:
    """1 / rank, 0 beyond k: its mean is MRR@k.

    >>> reciprocal_ranks(np.array([1, 4, 0, 2], np.int32), 3).tolist()
    [1.0, 0.0, 0.0, 0.5]
    """
    return hits(ranks, k) / np.maximum(ranks, 1)


def gains(ranks: Rows, k: int) -> Values:
    """1 / log2(1 + rank), 0 beyond k: its mean is NDCG@k.

    >>> gains(np.array([1, 3, 0], np.int32), 3).tolist()
    [1.0, 0.5, 0.0]
    """
    return hits(ranks, k) / np.log2(1.0 + np.maximum(ranks, 1))


def f1(recall: float, k: int) -> float:
    """Harmonic mean of precision@k = recall / k and recall@k.

    >>> f1(0.5, 4)
    0.2
    """
    return 2 * recall / (k + 1)


@dataclass(slots=True)
class Quality:
    """Sums over predictions at one k; they add up over segments, processes and stretches of time.

    >>> a, b = Quality(20), Quality(20)
    >>> a.add(1), b.add(4), b.add(0)
    (None, None, None)
    >>> both = a + b
    >>> both.count, round(both.recall, 3), round(both.mrr, 3)
    (3.0, 0.667, 0.417)
    """

    k: int
    count: float = 0.0
    hits: float = 0.0
    reciprocal_ranks: float = 0.0
    gains: float = 0.0

    def add(self, rank: int) -> None:
        """Count one prediction: its target's rank, 0 a miss."""
        self.count += 1
        if 0 < rank <= self.k:
            self.hits += 1
            self.reciprocal_ranks += 1 / rank
            self.gains += float(1 / np.log2(1 + rank))

    @classmethod
    def of(cls, ranks: Rows, k: int) -> "Quality":
        """Many at once."""
        return cls(
            k,
            float(len(ranks)),
            float(hits(ranks, k).sum()),
            float(reciprocal_ranks(ranks, k).sum()),
            float(gains(ranks, k).sum()),
        )

    def __add__(self, other: "Quality") -> "Quality":
        return Quality(
            self.k,
            self.count + other.count,
            self.hits + other.hits,
            self.reciprocal_ranks + other.reciprocal_ranks,
            self.gains + other.gains,
        )

    def faded(self, factor: float) -> "Quality":
        """The same, weighing less: multiply before each addition and old predictions fade.

        Gama, Sebastião & Rodrigues 2013, "On evaluating stream learning algorithms".
        """
        return Quality(
            self.k,
            self.count * factor,
            self.hits * factor,
            self.reciprocal_ranks * factor,
            self.gains * factor,
        )

    @property
    def recall(self) -> float:
        """Recall@k; 0 of nothing."""
        return self.hits / self.count if self.count else 0.0

    @property
    def mrr(self) -> float:
        """MRR@k."""
        return self.reciprocal_ranks / self.count if self.count else 0.0

    @property
    def ndcg(self) -> float:
        """NDCG@k."""
        return self.gains / self.count if self.count else 0.0

    @property
    def f1(self) -> float:
        """F1@k."""
        return f1(self.recall, self.k)


def fading_means(values: Values, window: float) -> Values:
    """The mean of the latest values at each place, old ones fading by (1 − 1 / window) a step.

    >>> fading_means(np.array([1.0, 0.0]), 2).round(3).tolist()
    [1.0, 0.333]
    """
    out = np.empty(len(values), np.float64)
    _fading_means(values, 1 - 1 / window, out)
    return out


@njit(cache=True, nogil=True)
def _fading_means(values, factor, out):  # type: ignore[no-untyped-def]
    total, count = 0.0, 0.0
    for n in range(len(values)):
        total = total * factor + values[n]
        count = count * factor + 1.0
        out[n] = total / count


def gini(counts: NDArray[Any]) -> float:
    """How unequally often items are shown: 0 all alike, towards 1 ever fewer.

    >>> gini(np.array([5, 5, 5, 5])), gini(np.array([0, 0, 0, 8]))
    (0.0, 0.75)
    """
    ordered = np.sort(counts.astype(np.float64))
    total = ordered.sum()
    if not total:
        return 0.0
    n = len(ordered)
    return float((2 * np.arange(1, n + 1) - n - 1) @ ordered / (n * total))
