"""Metrics of lists beyond accuracy: coverage, Gini index, novelty, diversity, popularity bias.

    coverage    share of the known items that were in some list
    Gini        how unequally often items are listed, over all known items
    novelty     mean of −log2 p(item), p its share of the events learnt until then: bits of surprise (Zhou et
                al. 2010, "Solving the apparent diversity-accuracy dilemma of recommender systems")
    diversity   mean of 1 − cosine over the pairs of a list, an item being the users who had it (Ziegler et
                al. 2005, "Improving recommendation lists through topic diversification")
    bias        mean popularity of the listed items over that of the targets, − 1 (Abdollahpouri et al. 2020,
                "The connection between popularity bias, calibration, and fairness in recommendation")

The users of an item are kept as a random projection (Kanerva et al. 2000, "Random indexing of text
samples"): 64 numbers an item, to which each event adds its user's ±1; a cosine is off by about 0.1.
No model's own similarity is used, so that models can be compared.
"""

import numpy as np
from numpy.typing import NDArray

from models.core import Rows
from models.evaluation.metrics import gini
from models.kernels.jit import Array, kernel
from models.kernels.splitmix import GOLDEN, mixed

DIM = 64


class ItemProfiles:
    """Popularity and users of each item, by row, independent of any model."""

    def __init__(self, capacity: int) -> None:
        self.events = np.zeros(capacity, np.int64)
        """int64[capacity]: events of each item."""
        self.total = 0
        """Events of all items."""
        self.signatures = np.zeros((capacity, DIM), np.float32)
        """float32[capacity, DIM]: sum of the signs of the users of each item."""

    def add(self, items: Rows, users: NDArray[np.uint64]) -> None:
        """Count the events of these items, int32[n] (-1: no row), by users uint64[n]."""
        _add_events(items, users, self.events, self.signatures)
        self.total += int((items >= 0).sum())


class ListMetrics:
    """Sums over the lists of one recommender, and the metrics they give.

    >>> profiles = ItemProfiles(capacity=4)
    >>> profiles.add(np.array([0, 0, 1, 2], np.int32), np.array([7, 8, 9, 9], np.uint64))
    >>> lists = ListMetrics(capacity=4)
    >>> lists.add(np.array([[0], [0], [1]], np.int32), np.array([1, 2, 2], np.int32), profiles)
    >>> metrics = lists.result(items=3)
    >>> [round(float(metrics[name]), 3) for name in ("coverage", "novelty", "popularity_bias")]
    [0.667, 1.333, 0.667]
    """

    def __init__(self, capacity: int) -> None:
        self.listed = np.zeros(capacity, np.int64)
        """int64[capacity]: how often each row was in a list."""
        self._sums = np.zeros(5)
        """Bits, items listed, 1 − cosine, lists with a pair, events of the items listed."""
        self._targets = np.zeros(2)
        """Events of the targets, number of targets."""

    def add(self, rows: Rows, targets: Rows, profiles: ItemProfiles) -> None:
        """Count lists, int32[n, k], best first, -1 pads, with their targets, int32[n] (-1: no row)."""
        _add_lists(rows, profiles.events, profiles.total, profiles.signatures, self.listed, self._sums)
        known = targets[targets >= 0]
        self._targets += profiles.events[known].sum(), len(known)

    def result(self, items: int) -> dict[str, float]:
        """The metrics by name, where `items` items are known; all 0 without lists."""
        bits, listed, distance, lists, events = self._sums.tolist()
        target_events, targets = self._targets.tolist()
        target_popularity = target_events / targets if targets else 0.0
        return {
            "coverage": np.count_nonzero(self.listed) / items if items else 0.0,
            "gini": gini(self.listed[:items]),
            "novelty": bits / listed if listed else 0.0,
            "diversity": distance / lists if lists else 0.0,
            "popularity_bias": (
                events / listed / target_popularity - 1 if listed and target_popularity else 0.0
            ),
        }


@kernel
def _add_events(items: Array, users: Array, events: Array, signatures: Array) -> None:
    for n in range(len(items)):
        i = items[n]
        if i < 0:
            continue
        events[i] += 1
        z = mixed(users[n] + GOLDEN)  # 64 independent signs of the user
        for d in range(signatures.shape[1]):
            signatures[i, d] += np.float32(1) if (z >> np.uint64(d)) & np.uint64(1) else np.float32(-1)


@kernel
def _add_lists(rows: Array, events: Array, total: int, signatures: Array, listed: Array, sums: Array) -> None:
    dim = signatures.shape[1]
    for n in range(len(rows)):
        size = 0
        while size < rows.shape[1] and rows[n, size] >= 0:
            size += 1
        # The sum over pairs of a·b is (|Σ a|² − Σ |a|²) / 2, of unit vectors.
        mean = np.zeros(dim, np.float32)
        for j in range(size):
            b = rows[n, j]
            listed[b] += 1
            sums[0] -= np.log2(max(events[b], 1) / max(total, 1))
            sums[1] += 1
            sums[4] += events[b]
            norm = np.float32(0)
            for d in range(dim):
                norm += signatures[b, d] ** 2
            if norm > 0:
                norm = np.float32(1) / np.sqrt(norm)
                for d in range(dim):
                    mean[d] += signatures[b, d] * norm
        if size > 1:
            square = 0.0
            for d in range(dim):
                square += mean[d] ** 2
            sums[2] += 1 - (square - size) / (size * (size - 1))
            sums[3] += 1
