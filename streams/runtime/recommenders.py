"""What a worker recommends from: the replica of the model, or a constant list."""

from collections.abc import Sequence

from models.core import Query, Slate
from models.rerank.rules import Rules
from streams.kafka.replica import Replica
from streams.runtime.factory import make_recommender
from streams.settings import Settings


class ModelRecommender:
    """Recommends from the replica, at its checkpoint."""

    def __init__(self, replica: Replica, settings: Settings) -> None:
        self._replica = replica
        self._recommender = make_recommender(settings, replica.model, settings.ranking_threads)
        self.recommend, self.popular = self._recommender.recommend, self._recommender.popular
        self.rules = self._recommender.rules

    @property
    def checkpoint(self) -> int:
        """Number of the checkpoint; 0 before the first."""
        return self._replica.current.number

    @property
    def checkpoint_time(self) -> int | None:
        """Wall time at which the checkpoint was published, ms; None before the first."""
        return self._replica.current.time or None


class ConstantRecommender:
    """Recommends the same list for every query: measures the plumbing alone."""

    checkpoint = 0
    checkpoint_time: int | None = None
    rules = Rules()

    def recommend(self, queries: Sequence[Query], k: int) -> list[Slate]:
        """K items that are always the same."""
        slate = Slate(
            tuple(f"item-{n}" for n in range(k)), tuple(1.0 - n / k for n in range(k)), ("constant",) * k
        )
        return [slate] * len(queries)

    def popular(self, k: int) -> frozenset[str]:
        """No item is popular."""
        return frozenset()
