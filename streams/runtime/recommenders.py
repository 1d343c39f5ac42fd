"""What a worker recommends from: the replica of the model, or a constant list."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from models.core import Query, Slate
from models.recommender import in_groups
from models.rerank.rules import Rules
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
        return in_groups(
            queries,
            lambda query: query.placement,
            lambda name, part: self._placements.get(name, self._recommender).recommend(part, k),
        )

    @property
    def dropped(self) -> dict[str, int]:
        """Items that each rule dropped so far, in all placements, by its name."""
        return self._total(lambda rules: rules.dropped)

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
        return self._total(lambda rules: rules.dropped_of(row))

    def _total(self, drops: Callable[[Rules], Mapping[str, int]]) -> dict[str, int]:
        """The drops of all placements together, by the rule's name."""
        counts: Counter[str] = Counter()
        for recommender in (self._recommender, *self._placements.values()):
            counts.update(drops(recommender.rules))
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
