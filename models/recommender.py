"""From queries to slates, for a whole micro-batch at once.

queries -> Shortlist (retrieve, merge, featurize) -> Ranker -> Rules -> best k -> Fill -> slates
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from models.catalog_filter import CatalogFilters
from models.components import Ranker
from models.core import Features, Floats, Query, QueryBatch, Rows, Slate
from models.model import Model
from models.ranking.best import PINNED, Best, best
from models.ranking.blend import Blend
from models.ranking.pool import WIDTH, Pool
from models.ranking.shortlist import Shortlist
from models.ranking.strangers import Strangers
from models.registry import GENERATORS, RANKERS
from models.rerank.fill import Fill
from models.rerank.item_data import ItemData
from models.rerank.rules import Rules

POPULAR = "popular now"
"""Reason of a candidate that no item of the user's history explains."""
HERE = "popular in this context"
"""Reason of an item that is popular in the context of the query, on this device for example."""
OWN = "seen before"
"""Reason of an item that no generator proposed: it is a candidate because it is in the user's history."""
ON_TOP = "recommended by the shop"
"""Reason of an item that a rule pins."""
AT_ONCE = 64
"""Queries ranked at a time, so that their features stay in the processor's cache."""

Key = TypeVar("Key", bound=Hashable)


def in_groups(
    queries: Sequence[Query],
    key: Callable[[Query], Key],
    recommend: Callable[[Key, Sequence[Query]], Sequence[Slate]],
) -> list[Slate]:
    """The lists of all queries, in their order; those of the same key are made together.

    >>> queries = [Query((), 0, time) for time in (1, 2, 1)]
    >>> at = lambda time, part: [Slate((f"{time}",), (), ())] * len(part)
    >>> slates = in_groups(queries, lambda query: query.time, at)
    >>> [slate.items for slate in slates]
    [('1',), ('2',), ('1',)]
    """
    groups: dict[Key, list[int]] = {}
    for n, query in enumerate(queries):
        groups.setdefault(key(query), []).append(n)
    slates: dict[int, Slate] = {}
    for name, members in groups.items():
        slates |= zip(members, recommend(name, [queries[n] for n in members]), strict=True)
    return [slates[n] for n in range(len(queries))]


class Recommender:
    """Recommends from a model.

    Parameters
    ----------
    model
        The learner's or a replica's.
    weights
        Weight of each generator in the blend, if that is the ranker; other generators are left out of it.
    ranker
        `blend`, or one of the model's rankers, which order the candidates of all its generators.  The scores
        of a learnt ranker are probabilities: that the item is the user's next.  For users without an item
        that the model knows, best sellers take its place (`models.ranking.strangers`).
    list_latest
        Whether the user's latest item may be in the list.
    rules
        What of the ranked lists is left out.
    threads
        Threads that rank when there are more than `AT_ONCE` queries: kernels release the interpreter lock.

    Examples
    --------
    >>> from models.core import Example
    >>> model = Model(["next"], capacity=100)
    >>> examples = [Example("u", 0, 5, "click", "a"), Example("u", 1, 6, "click", "b", history=("a",))]
    >>> model.learn(examples)
    >>> Recommender(model, {"next": 1.0}).recommend([Query(("a",), 1, 9)], 5)
    [Slate(items=('b',), scores=(1.0,), reasons=('often after a',), short=True)]
    """

    def __init__(
        self,
        model: Model,
        weights: Mapping[str, float],
        ranker: str = "blend",
        list_latest: bool = False,
        threads: int = 1,
        rules: Rules | None = None,
    ) -> None:
        self.model, self._list_latest = model, list_latest
        self.rules = Rules() if rules is None else rules
        self._ranker: Ranker
        if ranker == "blend":
            alike = list(weights.items()) == list(model.weights.items())
            self.shortlist = (
                model.shortlist
                if alike
                else Shortlist(model.generators, weights, model.statistics, model.catalog)
            )
            self._ranker = Blend(self.shortlist.weights)
        else:
            self.shortlist, self._ranker = model.shortlist, model.rankers[ranker]
        self._learns = RANKERS[ranker].learns
        self._strangers = (
            Strangers(model.items.capacity, model.popularity, model.in_context)
            if self._learns and model.popularity is not None
            else None
        )
        """Lists for users of whom nothing is known; None: the blend orders their candidates."""
        self._blend = Blend(self.shortlist.weights)
        vectors = None if model.embedded is None else model.embedded.vectors
        self._data = ItemData(model.items, model.catalog, model.statistics, vectors)
        self._filters = CatalogFilters(model.catalog)
        self._fill = Fill(self._data, model.popularity, self.rules)
        self._map = ThreadPoolExecutor(threads, "ranking").map if threads > 1 else map
        self._reasons = [GENERATORS[name].reason for name in self.shortlist.names]

    def recommend(self, queries: Sequence[Query], k: int) -> list[Slate]:
        """Up to k items for each query, unless it asks for another number; fewer if fewer are allowed."""
        return in_groups(
            queries,
            lambda query: (query.where, query.k or k),
            lambda key, part: self._recommend(part, key[1], key[0]),
        )

    def _recommend(self, queries: Sequence[Query], k: int, where: str) -> list[Slate]:
        batch = self.model.queries(queries)
        return self._slates(batch.history, self.rank(batch, self._excluded(queries), k, where))

    def _excluded(self, queries: Sequence[Query]) -> Rows:
        """Rows that may not be listed, int32[n, any], padded with -1."""
        latest = [() if self._list_latest else query.history[-1:] for query in queries]
        excluded = [(*own, *query.excluded) for own, query in zip(latest, queries, strict=True)]
        width = max(map(len, excluded))
        padded = (item for items in excluded for item in (*items, *[""] * (width - len(items))))
        return np.array(self.model.items.rows(padded), np.int32).reshape(len(queries), width)

    def rank(self, queries: QueryBatch, excluded: Rows, k: int, where: str = "") -> Best:
        """The k best for each query without its `excluded` rows, int32[n, any], padded with -1.

        `where`: what the catalog must say of them (`models.catalog_filter`), JSON; empty: anything.
        """
        offered = self._filters.offered(where)
        if len(excluded) <= AT_ONCE:
            lists = self._rank(queries, excluded, k, offered)
        else:
            parts = [slice(at, at + AT_ONCE) for at in range(0, len(excluded), AT_ONCE)]
            ranked = self._map(lambda part: self._rank(queries.take(part), excluded[part], k, offered), parts)
            lists = Best(*map(np.concatenate, zip(*ranked, strict=True)))
        return self._fill.fill(lists, queries, excluded, where, offered)

    def _rank(self, queries: QueryBatch, excluded: Rows, k: int, offered: NDArray[np.bool_]) -> Best:
        pool, features = self.shortlist.featurize(queries, excluded, k, offered=offered)
        return self.choose(queries, pool, features, k, excluded, offered)

    def choose(
        self,
        queries: QueryBatch,
        pool: Pool,
        features: Features,
        k: int,
        excluded: Rows,
        offered: NDArray[np.bool_] | None = None,
    ) -> Best:
        """The k best of the candidates of `shortlist` that no rule drops; `excluded` as there."""
        scores = self._ranker.score(features)
        strangers = np.flatnonzero(self._learns & (features.history[:, 0] < 0))
        coverage = self.model.coverage.score(features)[:, None] if self._learns else np.ones(1, np.float32)
        scores *= coverage
        if len(strangers) and self._strangers is None:
            scores[strangers] = self._blend.score(features.take(strangers))
        offered = self.model.catalog.offered if offered is None else offered
        lists = self._select(queries, pool, scores, k, excluded, offered)
        if len(strangers) and self._strangers is not None:
            queries, excluded = queries.take(strangers), excluded[strangers]
            pool, shares = self._strangers.candidates(queries, excluded, k, offered)
            part = self._select(queries, pool, shares * coverage[strangers], k, excluded, offered)
            lists.rows[strangers], lists.scores[strangers] = part.rows, part.scores
            lists.codes[strangers] = part.codes
        return lists

    def _select(
        self,
        queries: QueryBatch,
        pool: Pool,
        scores: Floats,
        k: int,
        excluded: Rows,
        offered: NDArray[np.bool_],
    ) -> Best:
        if self.rules.act(self.model.catalog):
            return self.rules.best(pool, scores, queries, self._data, k, excluded, offered)
        return best(pool, scores, k)

    def _slates(self, histories: Rows, ranked: Best) -> list[Slate]:
        """Item ids and reasons for rows and codes."""
        ids = self.model.items.ids
        slates = []
        for items, scores, codes, history in zip(
            ranked.rows.tolist(),
            np.round(ranked.scores, 5).tolist(),
            ranked.codes.tolist(),
            histories.tolist(),
            strict=True,
        ):
            if items and items[-1] < 0:
                size = items.index(-1)
                items, scores, codes = items[:size], scores[:size], codes[:size]
            reasons = {
                code: self._reason(code, history) for code in set(codes)
            }  # few of a slate's codes differ
            slates.append(
                Slate(
                    tuple([ids[row] for row in items]),
                    tuple(scores),
                    tuple([reasons[code] for code in codes]),
                    len(items) < ranked.rows.shape[1],
                )
            )
        return slates

    def _reason(self, code: int, history: list[int]) -> str:
        """Why a candidate of this code (`Best`) is listed, in words."""
        if code < 0:
            return ON_TOP if code == PINNED else HERE
        generator, column = divmod(code, WIDTH)
        if column:
            return self._reasons[generator] + self.model.items.ids[history[column - 1]]
        return POPULAR if generator < len(self._reasons) else OWN

    def popular(self, k: int) -> frozenset[str]:
        """The k most popular items; none if the generator `popularity` is off."""
        popularity = self.model.popularity
        if popularity is None:
            return frozenset()
        ids = self.model.items.ids
        return frozenset(ids[row] for row in popularity.top(k)[0].tolist())
