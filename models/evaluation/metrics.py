"""Accuracy metrics of ranked lists, as pure functions of the target's rank: 1 is the top, 0 a miss.

Each prediction has one relevant item, its target: the item of the event.  Then recall@k is the hit rate,
precision@k is recall / k, and the ideal DCG is 1 (Järvelin & Kekäläinen 2002, "Cumulated gain-based
evaluation of IR techniques").  Ties are pessimistic: an item that scores like the target counts as if it
were above it, so that a constant score earns nothing.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.core import Rows
from models.kernels.jit import Array, kernel

Values = NDArray[np.float64]


def ranks(rows: Rows, scores: NDArray[Any], targets: Rows, k: int) -> Rows:
    """The rank of each target in its list, int32[n]; 0: not among the k best.

    rows, scores: lists, int32[n, m] and float[n, m], best first, -1 pads.  Pass m = k + 1 items: the last one
        shows a tie across the end of the list.  Of items that score the same and follow each other, each has
        the rank of the last one.
    targets: int32[n]; -1, an item without a row, is a miss.

    >>> rows, scores = np.array([[4, 5, 6]], np.int32), np.array([[3.0, 2.0, 2.0]])
    >>> [int(ranks(rows, scores, np.array([item], np.int32), 3)[0]) for item in (4, 5, 6, 7)]
    [1, 3, 3, 0]
    """
    out = np.zeros(len(rows), np.int32)
    _ranks(rows, scores, targets, k, out)
    return out


@kernel
def _ranks(rows: Array, scores: Array, targets: Array, k: int, out: Array) -> None:
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
        rank = at + 1
        while rank < rows.shape[1] and rows[n, rank] >= 0 and scores[n, rank] == scores[n, at]:
            rank += 1
        if rank <= k:
            out[n] = rank


def hits(ranks: Rows, k: int) -> Values:
    """1 where the target is among the k best, else 0, float64[n]: the mean is recall@k, also called hit rate.

    >>> hits(np.array([1, 3, 0, 2], np.int32), 2).tolist()
    [1.0, 0.0, 0.0, 1.0]
    """
    return ((ranks > 0) & (ranks <= k)).astype(np.float64)


def reciprocal_ranks(ranks: Rows, k: int) -> Values:
    """1 / rank, 0 beyond k, float64[n]: the mean is MRR@k.

    >>> reciprocal_ranks(np.array([1, 4, 0, 2], np.int32), 3).tolist()
    [1.0, 0.0, 0.0, 0.5]
    """
    return hits(ranks, k) / np.maximum(ranks, 1)


def gains(ranks: Rows, k: int) -> Values:
    """1 / log2(1 + rank), 0 beyond k, float64[n]: the mean is NDCG@k.

    >>> gains(np.array([1, 3, 0], np.int32), 3).tolist()
    [1.0, 0.5, 0.0]
    """
    return hits(ranks, k) / np.log2(1.0 + np.maximum(ranks, 1))


def f1(recall: float, k: int) -> float:
    """F1@k, the harmonic mean of recall@k and precision@k = recall@k / k.

    >>> f1(0.5, 4)
    0.2
    """
    return 2 * recall / (k + 1)


@dataclass(slots=True)
class Quality:
    """Sums over predictions at one cutoff k; they add up over segments, processes and periods.

    All metrics are 0 where nothing was predicted.

    >>> first, second = Quality.of(np.array([1], np.int32), 20), Quality.of(np.array([4, 0], np.int32), 20)
    >>> total = first + second
    >>> total.count, round(total.recall, 3), round(total.mrr, 3), round(total.ndcg, 3)
    (3.0, 0.667, 0.417, 0.477)
    """

    k: int
    count: float = 0.0
    hits: float = 0.0
    reciprocal_ranks: float = 0.0
    gains: float = 0.0

    def add(self, rank: int) -> None:
        """Count one prediction by the rank of its target; 0 is a miss."""
        self.count += 1
        if 0 < rank <= self.k:
            self.hits += 1
            self.reciprocal_ranks += 1 / rank
            self.gains += float(1 / np.log2(1 + rank))

    @classmethod
    def of(cls, ranks: Rows, k: int) -> "Quality":
        """The sums over predictions whose targets have these ranks, int32[n]."""
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

    @property
    def recall(self) -> float:
        """Recall@k: the mean of the hits."""
        return self.hits / self.count if self.count else 0.0

    @property
    def mrr(self) -> float:
        """Mean reciprocal rank@k."""
        return self.reciprocal_ranks / self.count if self.count else 0.0

    @property
    def ndcg(self) -> float:
        """Mean NDCG@k of one relevant item."""
        return self.gains / self.count if self.count else 0.0

    @property
    def f1(self) -> float:
        """F1@k of the mean recall."""
        return f1(self.recall, self.k)


def fading_means(values: Values, window: float) -> Values:
    """Exponentially fading mean at each place, float64[n]: a value loses 1 / window of its weight per step.

    Gama, Sebastião & Rodrigues 2013, "On evaluating stream learning algorithms".

    >>> fading_means(np.array([1.0, 0.0]), 2).round(3).tolist()
    [1.0, 0.333]
    """
    out = np.empty(len(values), np.float64)
    _fading_means(values, 1 - 1 / window, out)
    return out


@kernel
def _fading_means(values: Array, factor: float, out: Array) -> None:
    total, count = 0.0, 0.0
    for n in range(len(values)):
        total = total * factor + values[n]
        count = count * factor + 1.0
        out[n] = total / count


def gini(counts: NDArray[Any]) -> float:
    """Gini index of counts: 0 where all are equal, towards 1 the fewer items have all of them.

    >>> gini(np.array([5, 5, 5, 5])), gini(np.array([0, 0, 0, 8]))
    (0.0, 0.75)
    """
    ordered = np.sort(counts.astype(np.float64))
    total = ordered.sum()
    if not total:
        return 0.0
    n = len(ordered)
    return float((2 * np.arange(1, n + 1) - n - 1) @ ordered / (n * total))
