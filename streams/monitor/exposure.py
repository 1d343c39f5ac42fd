"""What an item is recommended beside: counted in the latest lists of all users, read when somebody asks."""

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any

from confluent_kafka import KafkaException

from streams.kafka.reading import latest
from streams.messages import decode_recommendation
from streams.settings import Settings
from streams.web.single_flight import SingleFlight

log = logging.getLogger(__name__)

LISTS = 1_000
FRESH_S = 5.0
PATIENCE_S = 2.0
Lists = Sequence[Sequence[str]]


class Exposure:
    """The latest lists, read from Kafka once in a while however many look."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._latest = settings, SingleFlight(self._read, FRESH_S)

    async def of(self, item: str, most: int) -> dict[str, Any] | None:
        """See `beside`; None where Kafka does not answer."""
        lists = await self._latest.get()
        return None if lists is None else beside(lists, item, most)

    async def _read(self, _: str) -> Lists | None:
        def read() -> Lists:
            per_partition = -(-LISTS // self._settings.partitions)
            messages = latest(self._settings, "recommendations", per_partition, PATIENCE_S)
            values = [message.value() for message in messages]
            return [[one.item for one in decode_recommendation(v).items] for v in values if v]

        try:
            return await asyncio.to_thread(read)
        except KafkaException as error:
            log.warning("recommendations cannot be read: %s", error.args[0].str())
            return None


def beside(lists: Lists, item: str, most: int) -> dict[str, Any]:
    """How many lists there are, how many have the item, and who is most often with it.

    >>> beside(["abc", "abd", "xyz"], "a", 1)
    {'lists': 3, 'with_it': 2, 'items': [{'item': 'b', 'lists': 2}]}
    """
    having = [items for items in lists if item in items]
    others = Counter(other for items in having for other in items if other != item)
    return {
        "lists": len(lists),
        "with_it": len(having),
        "items": [{"item": other, "lists": count} for other, count in others.most_common(most)],
    }
