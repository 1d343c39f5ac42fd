"""From queries to candidates with their features: retrieve ▶ merge ▶ score ▶ look at each.

The same in the learner, which trains the ranker on it, and in a replica, which serves from it.
"""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from models.core import Features, Floats, Generator, QueryBatch, Rows
from models.ranking.features import features
from models.ranking.pool import Merger, Pool
from models.ranking.statistics import ItemStatistics

CANDIDATES = 48
"""Candidates asked of each generator."""
WIDTH = 160
"""Candidates ranked: a multiple of the vectors' length."""


@runtime_checkable
class Scorer(Protocol):
    """A generator that scores any item.  It scores the others' candidates instead of proposing its own:

    exact retrieval over 40,000 items costs 100 µs a session, scoring 150 candidates 3 µs.
    """

    def score(self, queries: QueryBatch, rows: Rows) -> Floats:
        """float32[n, m], 0 to 1, for rows int32[n, m]."""


class Shortlist:
    """Generators whose candidates are ranked together; `weights` decide who is cut when there are many."""

    def __init__(
        self,
        generators: Mapping[str, Generator],
        weights: Mapping[str, float],
        statistics: ItemStatistics,
        capacity: int,
    ) -> None:
        scorers = {name for name in weights if isinstance(generators[name], Scorer)}
        if scorers == set(weights):  # nobody else proposes what they could score
            scorers = set()
        proposing = [name for name in weights if name not in scorers]
        self.names = [*proposing, *(name for name in weights if name in scorers)]
        """In the order of the features: those that propose, then those that score."""
        self.weights = {name: weights[name] for name in self.names}
        self._statistics = statistics
        self._proposing = [generators[name] for name in proposing]
        self._scoring = [generators[name] for name in self.names[len(proposing) :]]
        self._merger = Merger(capacity, [weights[name] for name in proposing], len(weights), WIDTH)

    def featurize(self, queries: QueryBatch, excluded: Rows, k: int = 0) -> tuple[Pool, Features]:
        """Candidates for lists of k, without `excluded` (int32[n, any], -1 pads)."""
        asked = max(CANDIDATES, k + excluded.shape[1])
        proposals = [generator.propose(queries, asked) for generator in self._proposing]
        pool = self._merger.merge(queries, proposals, excluded)
        for g, generator in enumerate(self._scoring, len(self._proposing)):
            assert isinstance(generator, Scorer)
            pool.scores[:, g] = generator.score(queries, pool.rows)
        return pool, features(queries, pool, self._statistics)
