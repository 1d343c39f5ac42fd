"""The generator `history`: repeat consumption, the user's own items once more."""

import numpy as np

from models.core import HISTORY, Batch, Candidates, QueryBatch, Rows
from models.kernels.jit import Array, kernel
from models.kernels.scratch import Scratch
from models.kernels.topk import select
from models.state import NOTHING

AGE_EXPONENT = 0.7
"""Exponent of an event's age; ACT-R's is 0.5 of time, and events of one session are close in time."""


class History:
    """The user's latest `HISTORY` items as candidates.

        score(b | history) = Σ_{j: item_j = b} (1 + age_j)^−0.7

    age_j: number of events since, 0 for the latest.  The power law of recency and the sum over the times an
    item was taken are those of Anderson, Kumar, Tomkins and Vassilvitskii 2014 ("The Dynamics of Repeat
    Consumption"), which is the base-level activation of ACT-R (Anderson and Schooler 1991) counted in events.
    The latest item comes first: the recommender leaves it out where it may not be listed.

    Nothing is learnt: a ranker learns when a repeat is likely.  Cost: propose about 0.2 µs a query.  Memory:
    5 bytes an item of scratch for each thread.

    Parameters
    ----------
    capacity
        Number of item rows.

    Examples
    --------
    >>> from models.small_batches import query_batch
    >>> queries = query_batch([[4, 2, 2]])  # newest first
    >>> candidates = History(10).propose(queries, 1)
    >>> int(candidates.rows[0, 0]), round(float(candidates.scores[0, 0]), 2)
    (2, 1.08)
    """

    state = NOTHING

    def __init__(self, capacity: int) -> None:
        self._scratch = Scratch((capacity, np.float32), (capacity, np.int8))  # score, and its column

    def learn(self, batch: Batch) -> None:
        """Do nothing: there is nothing to learn."""

    def evict(self, rows: Rows) -> None:
        """Do nothing: nothing is kept of any item."""

    def propose(self, queries: QueryBatch, k: int) -> Candidates:
        """The items of each history, those taken most often and most recently first."""
        out = Candidates.empty(len(queries.history), k)
        weights = (np.arange(1, HISTORY + 1) ** -AGE_EXPONENT).astype(np.float32)
        _propose(queries.history, weights, self._scratch.arrays, out.rows, out.scores, out.sources)
        return out


@kernel
def _propose(
    histories: Array,
    weights: Array,
    scratch: tuple[Array, ...],
    out_rows: Array,
    out_scores: Array,
    out_sources: Array,
) -> None:
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
            score[item] += weights[j]
        selected = select(score, among, count, out_rows[n], out_scores[n])
        for j in range(selected):
            out_sources[n, j] = column[out_rows[n, j]]
        for j in range(count):
            score[among[j]] = 0
