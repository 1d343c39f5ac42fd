"""From sessions to slates: retrieve ▶ score ▶ blend ▶ rules, for a whole micro-batch at once."""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from models.core import HISTORY, Floats, Rows, Slate
from models.model import Model
from models.ranking.blend import Blend, Union
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

    def score(self, sessions: Rows, rows: Rows) -> Floats:
        """float32[n, m], 0 to 1, for rows int32[n, m]."""


class Recommender:
    """Recommends from a model; the item that the session ends with is left out of its list."""

    def __init__(self, model: Model, weights: Mapping[str, float]) -> None:
        self.model, self.weights = model, weights
        self._blend = Blend(model.items.capacity)
        self._names = [*weights]

    def recommend(self, sessions: Sequence[tuple[str, ...]], k: int) -> list[Slate]:
        """Up to k items for each session (oldest item first); fewer when fewer are known."""
        if not sessions:
            return []
        newest = np.array(self.model.items.rows(s[-1] if s else "" for s in sessions), np.int32)
        return self._slates(self.model.sessions(sessions), newest, k)

    def _slates(self, sessions: Rows, excluded: Rows, k: int) -> list[Slate]:
        generators = self.model.generators
        retrieving = [name for name in self._names if not isinstance(generators[name], Scorer)]
        scoring = [name for name in self._names if name not in retrieving]
        proposals = [generators[name].propose(sessions, max(CANDIDATES, k + 1)) for name in retrieving]
        union = self._blend.merge(proposals, [self.weights[name] for name in retrieving])
        for name in scoring:
            scores = generators[name].score(sessions, union.rows)  # type: ignore[attr-defined]
            highest = scores.max(1, keepdims=True)
            union.scores[:] += self.weights[name] * scores / (highest + (highest == 0))
        rows, scores, columns = self._blend.best(union, excluded, k)
        return self._name(sessions, union, retrieving, rows, scores, columns)

    def _name(
        self,
        sessions: Rows,
        union: Union,
        retrieving: Sequence[str],
        rows: Rows,
        scores: Floats,
        columns: Rows,
    ) -> list[Slate]:
        """Rows and numbers to ids and words."""
        ids = self.model.items.ids
        at = np.maximum(columns, 0)
        sources = np.take_along_axis(union.sources, at, 1)
        # one small number for each (generator, column of the session): its words are made once a session
        width = HISTORY + 1
        codes = np.take_along_axis(union.generators, at, 1).astype(np.int64) * width + sources + 1
        prefixes = [REASONS.get(name, POPULAR) for name in retrieving]
        slates = []
        for items, values, why, session in zip(
            rows.tolist(), np.round(scores.astype(np.float64), 4).tolist(), codes.tolist(), sessions.tolist(),
            strict=True,
        ):  # fmt: skip
            if items and items[-1] < 0:
                found = items.index(-1)
                items, values, why = items[:found], values[:found], why[:found]
            words: dict[int, str] = {}
            for code in why:
                if code not in words:
                    column = code % width
                    named = ids[session[column - 1]] if column else ""
                    words[code] = f"{prefixes[code // width]}{named}"
            slates.append(
                Slate(tuple([ids[row] for row in items]), tuple(values), tuple([words[code] for code in why]))
            )
        return slates

    def popular(self, k: int) -> frozenset[str]:
        """What everybody would be shown: the k most popular items."""
        popularity = self.model.generators.get("popularity")
        if not isinstance(popularity, Popularity):
            return frozenset()
        ids = self.model.items.ids
        return frozenset(ids[row] for row in popularity.top(k)[0].tolist())
