"""From sessions to slates: retrieve ▶ rank ▶ rules, for a whole micro-batch at once."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from models.core import Query, QueryBatch, Ranker, Rows, Slate
from models.model import Model
from models.ranking.best import Best, best
from models.ranking.blend import Blend
from models.ranking.pool import WIDTH
from models.ranking.shortlist import Shortlist
from models.retrieval.popularity import Popularity

REASONS = {
    "next": "often after ",
    "previous": "often before ",
    "session-knn": "in sessions with ",
    "user-knn": "by users with ",
    "history": "seen before: ",
    "embedding": "similar to ",
    "gru": "similar to ",
    "transformer": "similar to ",
    "matrix-factorisation": "similar to ",
    "graph": "a few steps from ",
}
"""What a generator's candidates are called, before the item of the session that speaks for them."""
BECAUSE = "because of "
"""... and those of one that has no words of its own."""
POPULAR = "popular now"
"""... and where no item does."""
OWN = "seen before"
"""... and of an item that nobody proposed: it is among the candidates because the user had it."""
AT_ONCE = 64
"""QueryBatch ranked at a time: their features stay in the processor's cache."""


class Recommender:
    """Recommends from a model."""

    def __init__(
        self,
        model: Model,
        weights: Mapping[str, float],
        ranker: str = "blend",
        list_latest: bool = False,
        threads: int = 1,
    ) -> None:
        """`ranker`: one of the model's, over all its generators, or the blend of those in `weights`.

        The scores of a learnt ranker are probabilities: that the item is the user's next.
        list_latest: whether the user's latest item may be in the list.
        threads: that rank at once, when more than `AT_ONCE` are asked for: kernels do without the GIL.
        """
        self.model, self._list_latest = model, list_latest
        self._ranker: Ranker
        if ranker == "blend":
            self._shortlist = Shortlist(model.generators, weights, model.statistics, model.items.capacity)
            self._ranker = Blend(self._shortlist.weights)
        else:
            self._shortlist, self._ranker = model.shortlist, model.rankers[ranker]
        self._learnt = ranker != "blend"
        self._map = ThreadPoolExecutor(threads, "ranking").map if threads > 1 else map
        self._prefixes = [REASONS.get(name, BECAUSE) for name in self._shortlist.names]

    def recommend(self, asked: Sequence[Query], k: int) -> list[Slate]:
        """Up to k items for each who is asked for; fewer when fewer are known."""
        if not asked:
            return []
        queries = self.model.queries(asked)
        return self._slates(queries.history, self.rank(queries, self._excluded(asked), k))

    def _excluded(self, asked: Sequence[Query]) -> Rows:
        """int32[n, 1 or 0]."""
        if self._list_latest:
            return np.zeros((len(asked), 0), np.int32)
        latest = self.model.items.rows(one.history[-1] if one.history else "" for one in asked)
        return np.array(latest, np.int32)[:, None]

    def rank(self, queries: QueryBatch, excluded: Rows, k: int) -> Best:
        """The k best for each query but its `excluded`, int32[n, any]; -1 pads."""
        if len(excluded) <= AT_ONCE:
            return self._rank(queries, excluded, k)
        parts = [slice(at, at + AT_ONCE) for at in range(0, len(excluded), AT_ONCE)]
        found = self._map(lambda part: self._rank(queries.take(part), excluded[part], k), parts)
        return Best(*map(np.concatenate, zip(*found, strict=True)))

    def _rank(self, queries: QueryBatch, excluded: Rows, k: int) -> Best:
        pool, seen = self._shortlist.featurize(queries, excluded, k)
        scores = self._ranker.score(seen)
        if self._learnt:
            scores *= self.model.coverage.score(seen)[:, None]
        return best(pool, scores, k)

    def _slates(self, histories: Rows, chosen: Best) -> list[Slate]:
        """Rows and codes to ids and words."""
        ids, prefixes = self.model.items.ids, self._prefixes
        slates = []
        for items, values, codes, history in zip(
            chosen.rows.tolist(),
            np.round(chosen.scores, 5).tolist(),
            chosen.codes.tolist(),
            histories.tolist(),
            strict=True,
        ):
            if items and items[-1] < 0:
                found = items.index(-1)
                items, values, codes = items[:found], values[:found], codes[:found]
            words: dict[int, str] = {}  # few of a session's codes differ
            for code in codes:
                if code not in words:
                    generator, column = divmod(code, WIDTH)
                    if column:
                        words[code] = prefixes[generator] + ids[history[column - 1]]
                    else:
                        words[code] = POPULAR if generator < len(prefixes) else OWN
            slates.append(
                Slate(
                    tuple([ids[row] for row in items]), tuple(values), tuple([words[code] for code in codes])
                )
            )
        return slates

    def popular(self, k: int) -> frozenset[str]:
        """What everybody would be shown: the k most popular items."""
        popularity = self.model.generators.get("popularity")
        if not isinstance(popularity, Popularity):
            return frozenset()
        ids = self.model.items.ids
        return frozenset(ids[row] for row in popularity.top(k)[0].tolist())
