"""What the lists are like, whoever they are for: coverage, Gini, novelty, diversity, popularity bias.

    coverage    share of the known items that were in some list
    Gini        how unequally often, over all known items
    novelty     mean of −log2 p(item), p its share of the events learnt until then: bits of surprise (Zhou et
                al. 2010, "Solving the apparent diversity-accuracy dilemma of recommender systems")
    diversity   mean of 1 − cosine over the pairs of a list, an item being the users who had it (Ziegler et
                al. 2005, "Improving recommendation lists through topic diversification")
    bias        mean popularity of what is listed over that of what came, − 1 (Abdollahpouri et al. 2020, "The
                connection between popularity bias, calibration, and fairness in recommendation")

The users who had an item are kept as a random projection (Kanerva et al. 2000, "Random indexing of text
samples"): 64 numbers an item, to which each event adds its user's ±1; a cosine is off by about 0.1.
No model's own opinion of likeness is used, so models can be compared.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from models.core import Rows
from models.evaluation.metrics import gini
from models.kernels.splitmix import GOLDEN, mixed

DIM = 64


class Audience:
    """What is known of items whatever the model: events learnt, and who had them; by row."""

    def __init__(self, capacity: int) -> None:
        self.events = np.zeros(capacity, np.int64)
        self.total = 0
        """Of them."""
        self.signatures = np.zeros((capacity, DIM), np.float32)

    def learn(self, items: Rows, users: NDArray[np.uint64]) -> None:
        """Count the events of these items, int32[n] (-1: none), by users uint64[n]."""
        _learn(items, users, self.events, self.signatures)
        self.total += int((items >= 0).sum())


class ListSums:
    """Sums over the lists of one recommender."""

    def __init__(self, capacity: int) -> None:
        self.shown = np.zeros(capacity, np.int64)
        """How often each row was listed."""
        self._sums = np.zeros(5)
        """Bits, their number, 1 − cosine, lists with a pair, events of what was listed."""
        self._targets = np.zeros(2)
        """Events of what came, their number."""

    def add(self, rows: Rows, targets: Rows, audience: Audience) -> None:
        """Lists int32[n, k], best first, -1 pads, and what came, int32[n]."""
        _add(rows, audience.events, audience.total, audience.signatures, self.shown, self._sums)
        known = targets[targets >= 0]
        self._targets += audience.events[known].sum(), len(known)

    def result(self, items: int) -> dict[str, float]:
        """The figures, of `items` known items."""
        bits, listed, distance, lists, events = self._sums.tolist()
        target_events, targets = self._targets.tolist()
        usual = target_events / targets if targets else 0.0
        return {
            "coverage": np.count_nonzero(self.shown) / items if items else 0.0,
            "gini": gini(self.shown[:items]),
            "novelty": bits / listed if listed else 0.0,
            "diversity": distance / lists if lists else 0.0,
            "popularity_bias": events / listed / usual - 1 if listed and usual else 0.0,
        }


@njit(cache=True, nogil=True)
def _learn(items, users, events, signatures):  # type: ignore[no-untyped-def]
    for n in range(len(items)):
        i = items[n]
        if i < 0:
            continue
        events[i] += 1
        z = mixed(users[n] + GOLDEN)  # 64 independent signs of the user
        for d in range(signatures.shape[1]):
            signatures[i, d] += np.float32(1) if (z >> np.uint64(d)) & np.uint64(1) else np.float32(-1)


@njit(cache=True, nogil=True)
def _add(rows, events, total, signatures, shown, sums):  # type: ignore[no-untyped-def]
    dim = signatures.shape[1]
    for n in range(len(rows)):
        size = 0
        while size < rows.shape[1] and rows[n, size] >= 0:
            size += 1
        # The sum over pairs of a·b is (|Σ a|² − Σ |a|²) / 2, of unit vectors.
        mean = np.zeros(dim, np.float32)
        for j in range(size):
            b = rows[n, j]
            shown[b] += 1
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
