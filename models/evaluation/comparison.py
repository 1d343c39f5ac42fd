"""Rank targets by several recommenders of one model at once: what they share is computed once.

Recommenders with one shortlist share its features, and all of a model what its generators propose.  A
generator alone needs neither: its own order is that of the blend that has nothing else.  The ranks are those
of `Recommender.rank`, bit for bit.
"""

from collections.abc import Sequence

import numpy as np

from models.core import Candidates, Features, Query, Rows
from models.evaluation.metrics import ranks
from models.kernels.jit import Array, kernel
from models.model import Model
from models.ranking.pool import Pool
from models.ranking.shortlist import CANDIDATES, Shortlist
from models.recommender import Recommender


class Comparison:
    """Queries of which the latest item is not listed, and their targets, for one state of a model.

    >>> from models.core import Example
    >>> model = Model(["next"], capacity=100)
    >>> model.learn([Example("u", 0, 5, "click", "a"), Example("u", 1, 6, "click", "b", history=("a",))])
    >>> Comparison(model, [Query(("a",), 1, 9)], ["b"], k=10).alone("next").tolist()
    [1]
    """

    def __init__(self, model: Model, queries: Sequence[Query], items: Sequence[str], k: int) -> None:
        self._model, self._k = model, k
        self._batch = model.queries(queries)
        self._latest = np.array(model.items.rows(query.history[-1] for query in queries), np.int32)
        self.targets: Rows = np.array(model.items.rows(items), np.int32)
        """Rows of the targets, int32[n]; -1: no row."""
        self._proposed: dict[tuple[str, int], Candidates] = {}
        self._features: dict[int, tuple[Pool, Features]] = {}

    def rank(self, recommender: Recommender) -> tuple[Rows, Rows]:
        """Lists of k items, int32[n, k], and the ranks of the targets in them, int32[n]; 0: not listed."""
        pool, features = self._featurized(recommender.shortlist)
        best = recommender.choose(self._batch, pool, features, self._k + 1, self._latest[:, None])
        return best.rows[:, : self._k], ranks(best.rows, best.scores, self.targets, self._k)

    def alone(self, generator: str) -> Rows:
        """The ranks of the targets among what one generator proposes, int32[n]; 0: not among the k best."""
        proposed = self._candidates(generator, max(CANDIDATES, self._k + 2))
        out = np.zeros(len(self.targets), np.int32)
        _ranks_alone(proposed.rows, proposed.scores, self._latest, self.targets, self._k, out)
        return out

    def _featurized(self, shortlist: Shortlist) -> tuple[Pool, Features]:
        known = self._features.get(id(shortlist))
        if known is None:
            known = shortlist.featurize(self._batch, self._latest[:, None], self._k + 1, self._candidates)
            self._features[id(shortlist)] = known
        return known

    def _candidates(self, generator: str, count: int) -> Candidates:
        known = self._proposed.get((generator, count))
        if known is None:
            known = self._model.generators[generator].propose(self._batch, count)
            self._proposed[generator, count] = known
        return known


@kernel
def _ranks_alone(rows: Array, scores: Array, excluded: Array, targets: Array, k: int, out: Array) -> None:
    """The rank by score as a share of the best, which is how the blend scores a single generator."""
    for n in range(len(rows)):
        if targets[n] < 0 or targets[n] == excluded[n]:
            continue
        highest, own = np.float32(0), np.float32(0)
        for c in range(rows.shape[1]):
            if rows[n, c] >= 0 and rows[n, c] != excluded[n]:
                highest = max(highest, scores[n, c])
                if rows[n, c] == targets[n]:
                    own = scores[n, c]
        if own <= 0:
            continue
        scale = np.float32(1) / highest
        share, rank = own * scale, 0
        for c in range(rows.shape[1]):
            if rows[n, c] >= 0 and rows[n, c] != excluded[n] and scores[n, c] * scale >= share:
                rank += 1
        if share > 0 and rank <= k:
            out[n] = rank
