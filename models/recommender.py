"""From sessions to slates: retrieve ▶ score ▶ blend ▶ rules, for a whole micro-batch at once."""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from models.core import Asked, Floats, Queries, Rows, Slate
from models.model import Model
from models.ranking.blend import WIDTH, Best, Blend
from models.retrieval.popularity import Popularity

CANDIDATES = 60
"""Proposed by each generator."""

REASONS = {
    "next": "often after ",
    "previous": "often before ",
    "embedding": "similar to ",
}
"""What a generator's candidates are called, before the item of the session that speaks for them."""
POPULAR = "popular now"
"""... and where no item does."""


@runtime_checkable
class Scorer(Protocol):
    """A generator that scores any item.  It scores the others' candidates instead of proposing its own:

    exact retrieval over 40,000 items costs 100 µs a session, scoring 150 candidates 3 µs.
    """

    def score(self, queries: Queries, rows: Rows) -> Floats:
        """float32[n, m], 0 to 1, for rows int32[n, m]."""


class Recommender:
    """Recommends from a model; a user's latest item is left out of the list."""

    def __init__(self, model: Model, weights: Mapping[str, float]) -> None:
        self.model = model
        generators = [(name, model.generators[name], weight) for name, weight in weights.items()]
        scorers = [(g, weight) for _, g, weight in generators if isinstance(g, Scorer)]
        retrieving = [one for one in generators if not isinstance(one[1], Scorer)]
        if not retrieving:  # nobody else proposes what they could score
            retrieving, scorers = generators, []
        self._scorers = scorers
        self._generators = [generator for _, generator, _ in retrieving]
        self._weights = [weight for _, _, weight in retrieving]
        self._prefixes = [REASONS.get(name, POPULAR) for name, _, _ in retrieving]
        self._blend = Blend(model.items.capacity)

    def recommend(self, asked: Sequence[Asked], k: int) -> list[Slate]:
        """Up to k items for each who is asked for; fewer when fewer are known."""
        if not asked:
            return []
        newest = np.array(self.model.items.rows(a.history[-1] if a.history else "" for a in asked), np.int32)
        queries = self.model.queries(asked)
        return self._slates(queries.history, self.rank(queries, newest[:, None], k))

    def rank(self, queries: Queries, excluded: Rows, k: int) -> Best:
        """The k best for each query but its `excluded`, int32[n, any]; -1 pads."""
        width = max(CANDIDATES, k + excluded.shape[1])
        proposals = [generator.propose(queries, width) for generator in self._generators]
        union = self._blend.merge(proposals, self._weights)
        for scorer, weight in self._scorers:
            self._blend.add(union, scorer.score(queries, union.rows), weight)
        return self._blend.best(union, excluded, k)

    def _slates(self, histories: Rows, best: Best) -> list[Slate]:
        """Rows and codes to ids and words."""
        ids, prefixes = self.model.items.ids, self._prefixes
        slates = []
        for items, values, codes, history in zip(
            best.rows.tolist(),
            np.round(best.scores, 4).tolist(),
            best.codes.tolist(),
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
                    words[code] = prefixes[generator] + (ids[history[column - 1]] if column else "")
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
