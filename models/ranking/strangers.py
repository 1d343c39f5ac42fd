"""Lists for strangers: users without an item that the model knows."""

import numpy as np
from numpy.typing import NDArray

from models.components import Contextual, Popular
from models.core import Floats, QueryBatch, Rows
from models.ranking.best import IN_CONTEXT
from models.ranking.pool import Merger, Pool
from models.ranking.shortlist import CANDIDATES, WIDTH

PRIOR = 200.0
"""Events in a context as which the popularity among all counts there."""


class Strangers:
    """Best sellers of the context, for users whom a learnt ranker has not been trained for.

        P(j) = (n_cj + 200 p_j / Σ_i p_i) / Σ_i (n_ci + 200 p_i / Σ p)        over the candidates

    n_cj is the decayed count of j in the query's context c (device, country, hour ...: `Model`'s
    `context_key`), p_j that of `popularity`: a Dirichlet prior (Zhai and Lafferty 2004, "A Study of Smoothing
    Methods for Language Models"), so that a context of which little is known has the best sellers of all.
    Without a context n is 0.

    A learnt ranker trains on what comes after a history.  Asked for a user without one it extrapolates: it
    puts items of one event above best sellers where they were seen a moment ago.  Measured on the first
    events of users: docs/models/rankers.md.  Cost: 4 µs a query.

    Parameters
    ----------
    capacity
        Number of item rows.
    popularity
        The generator `popularity`.
    in_context
        Counts in contexts.
    """

    def __init__(self, capacity: int, popularity: Popular, in_context: Contextual) -> None:
        self._popularity, self._in_context = popularity, in_context
        self._merger = Merger(capacity, [1.0, 1.0], 2, WIDTH)

    def candidates(
        self, queries: QueryBatch, excluded: Rows, k: int, offered: NDArray[np.bool_]
    ) -> tuple[Pool, Floats]:
        """Candidates for lists of k items and their probabilities to come next, were it one of them.

        `excluded` and `offered` as `Shortlist.featurize` takes them.
        """
        count = max(CANDIDATES, k + excluded.shape[1])
        proposals = [part.propose(queries, count) for part in (self._popularity, self._in_context)]
        proposals[1].rows[queries.contexts < 0] = -1
        proposals[1].scores[queries.contexts < 0] = 0
        pool = self._merger.merge(queries, proposals, excluded, offered)
        valid = np.arange(pool.rows.shape[1]) < pool.counts[:, None]
        popularity = np.where(valid, self._popularity.values(np.maximum(pool.rows, 0)), 0.0)
        share = popularity / np.maximum(popularity.sum(1, keepdims=True), 1e-12)
        counts = pool.scores[:, 1] * self._in_context.freshness(queries)[:, None]
        pool.codes[counts > 0] = IN_CONTEXT
        scores = counts + PRIOR * share
        scores /= np.maximum(scores.sum(1, keepdims=True), 1e-12)
        return pool, scores.astype(np.float32)
