"""What a worker recommends from: the replica of the model, or a constant list."""

from collections import Counter
from collections.abc import Mapping, Sequence

from models.core import Query, Slate
from streams.kafka.replica import Replica
from streams.runtime.catalog import LiveCatalog
from streams.runtime.factory import make_recommender
from streams.setting_types import make_placements
from streams.settings import Settings

PART = 256
"""Lists that are made between two looks at the catalog: some 20 ms."""
APPLY_S = 0.001
"""Time for which the catalog is applied then, at most."""


class ModelRecommender:
    """Recommends from the replica, at its checkpoint."""

    def __init__(self, replica: Replica, settings: Settings) -> None:
        self._replica = replica
        self._recommender = make_recommender(settings, replica.model, settings.ranking_threads)
        self.popular = self._recommender.popular
        self._placements = {
            name: make_recommender(settings, replica.model, settings.ranking_threads, placement)
            for name, placement in make_placements(settings.placements).items()
        }

    def recommend(self, queries: Sequence[Query], k: int) -> list[Slate]:
        """Recommend k items for each query, unless it asks for another number."""
        if not any(query.placement for query in queries):
            return self._recommender.recommend(queries, k)
        slates: dict[int, Slate] = {}
        for name in {query.placement for query in queries}:
            members = [n for n, query in enumerate(queries) if query.placement == name]
            recommender = self._placements.get(name, self._recommender)
            slates |= zip(members, recommender.recommend([queries[n] for n in members], k), strict=True)
        return [slates[n] for n in range(len(queries))]

    @property
    def dropped(self) -> dict[str, int]:
        """Items that each rule dropped so far, in all placements, by its name."""
        counts = Counter(self._recommender.rules.dropped)
        for recommender in self._placements.values():
            counts.update(recommender.rules.dropped)
        return dict(counts)

    @property
    def checkpoint(self) -> int:
        """Number of the checkpoint; 0 before the first."""
        return self._replica.current.number

    @property
    def checkpoint_time(self) -> int | None:
        """Wall time at which the checkpoint was published, ms; None before the first."""
        return self._replica.current.time or None

    def dropped_of(self, row: int) -> dict[str, int]:
        """Lists of any placement from which each rule dropped this item, of late, by its name."""
        counts = Counter(self._recommender.rules.dropped_of(row))
        for recommender in self._placements.values():
            counts.update(recommender.rules.dropped_of(row))
        return dict(counts)


class ConstantRecommender:
    """Recommends the same list for every query: measures the plumbing alone."""

    checkpoint = 0
    checkpoint_time: int | None = None
    dropped: Mapping[str, int] = {}

    def dropped_of(self, row: int) -> dict[str, int]:
        """No rule acts."""
        return {}

    def recommend(self, queries: Sequence[Query], k: int) -> list[Slate]:
        """K items that are always the same."""
        slate = Slate(
            tuple(f"item-{n}" for n in range(k)), tuple(1.0 - n / k for n in range(k)), ("constant",) * k
        )
        return [slate] * len(queries)

    def popular(self, k: int) -> frozenset[str]:
        """No item is popular."""
        return frozenset()


class OfferedRecommender:
    """Recommends what is offered when the last list of a micro-batch is made.

    A micro-batch may take seconds on a busy machine, and the catalog changes meanwhile.  So it is applied
    between parts of the micro-batch, and lists that have become wrong by the end are made again.  For the
    loop that serves alone.
    """

    def __init__(self, recommender: ModelRecommender | ConstantRecommender, catalog: LiveCatalog) -> None:
        self._recommender, self._catalog = recommender, catalog
        self.popular = recommender.popular

    @property
    def checkpoint(self) -> int:
        """Number of the checkpoint; 0 before the first."""
        return self._recommender.checkpoint

    @property
    def checkpoint_time(self) -> int | None:
        """Wall time at which the checkpoint was published, ms; None before the first."""
        return self._recommender.checkpoint_time

    def recommend(self, queries: Sequence[Query], k: int) -> list[Slate]:
        """Recommend k items for each query."""
        slates, changes = [], self._catalog.changes
        for at in range(0, len(queries), PART):
            if at:
                self._catalog.advance(APPLY_S)
            slates += self._recommender.recommend(queries[at : at + PART], k)
        if len(queries) > PART:
            self._catalog.advance(APPLY_S)
        if self._catalog.changes != changes:
            wrong = [n for n, slate in enumerate(slates) if self._catalog.any_hidden(slate.items)]
            again = self._recommender.recommend([queries[n] for n in wrong], k)
            for n, slate in zip(wrong, again, strict=True):
                slates[n] = slate
        return slates
