"""Repeat consumption: the user's own items once more.

    score(b | history) = Σ_{j: item_j = b} (1 + age_j)^−0.7

age_j: events since, 0 for the latest.  The power law of recency and the sum over the times an item was
taken are of Anderson, Kumar, Tomkins and Vassilvitskii 2014 ("The Dynamics of Repeat Consumption"), which is
the base-level activation of ACT-R (Anderson and Schooler 1991) counted in events.  The latest item comes
first: whoever does not want it shown again leaves it out of the list, as the recommender does.

Nothing is learnt and nothing kept: a ranker learns when a repeat is likely.
Cost: propose about 0.2 µs a history.  Memory: none.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from models.core import HISTORY, Batch, Candidates, QueryBatch, Rows
from models.kernels.scratch import Scratch
from models.kernels.topk import select

FORGETTING = 0.7
"""Exponent of the age; ACT-R's is 0.5 of time, and events of one session are close in time."""


class History:
    """The user's latest `HISTORY` items as candidates."""

    def __init__(self, capacity: int) -> None:
        self.rows = 0
        self.dtype = np.dtype([("row", "<i4")])
        self._scratch = Scratch((capacity, np.float32), (capacity, np.int8))  # score, and its column

    def learn(self, batch: Batch) -> None:
        """Nothing is learnt."""

    def touched(self) -> Rows:
        """See `Generator`."""
        return np.zeros(0, np.int32)

    def dump(self, rows: Rows) -> NDArray[np.void]:
        """See `Generator`."""
        return np.zeros(0, self.dtype)

    def apply(self, rows: NDArray[np.void]) -> None:
        """See `Generator`."""

    def evict(self, rows: Rows) -> None:
        """See `Generator`."""

    def propose(self, queries: QueryBatch, k: int) -> Candidates:
        """The items of each history, the most and most recently taken first."""
        n = len(queries.history)
        out = Candidates(
            np.full((n, k), -1, np.int32), np.zeros((n, k), np.float32), np.full((n, k), -1, np.int8)
        )
        worth = (np.arange(1, HISTORY + 1) ** -FORGETTING).astype(np.float32)
        _propose(queries.history, worth, self._scratch.arrays, out.rows, out.scores, out.sources)
        return out


@njit(cache=True, nogil=True)
def _propose(histories, worth, scratch, out_rows, out_scores, out_sources):  # type: ignore[no-untyped-def]
    score, column = scratch
    among = np.empty(histories.shape[1], np.int32)
    for n in range(len(histories)):
        count = 0
        for j in range(histories.shape[1]):
            item = histories[n, j]
            if item < 0:
                break
            if score[item] == 0:
                among[count], column[item] = item, j
                count += 1
            score[item] += worth[j]
        kept = select(score, among, count, out_rows[n], out_scores[n])
        for j in range(kept):
            out_sources[n, j] = column[out_rows[n, j]]
        for j in range(count):
            score[among[j]] = 0
