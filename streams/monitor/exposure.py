"""Exposure of an item: what the latest recommendation lists of all users contain beside it."""

import asyncio
import logging
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

from confluent_kafka import KafkaException, Message

from streams.kafka.reading import latest
from streams.messages import decode_recommendation
from streams.settings import Settings

log = logging.getLogger(__name__)

LISTS = 1_000
"""Recommendation lists that are read, at least where there are as many."""
TIMEOUT_S = 2.0

Lists = Sequence[Sequence[str]]


async def latest_lists(settings: Settings) -> Lists | None:
    """The latest lists on the topic `recommendations`; None if Kafka does not answer."""

    def read() -> Lists:
        per_partition = -(-LISTS // settings.partitions)
        lists = latest(settings, "recommendations", per_partition, TIMEOUT_S, _items)
        return [items for items in lists if items is not None]

    try:
        return await asyncio.to_thread(read)
    except KafkaException as error:
        log.warning("recommendations cannot be read: %s", error.args[0].str())
        return None


def _items(message: Message) -> tuple[tuple[str, ...] | None, int]:
    """The items of a list, None for a deleted one, and their size in bytes."""
    value = message.value()
    if not value:
        return None, 0
    items = tuple(entry.item for entry in decode_recommendation(value).items)
    return items, sum(map(sys.getsizeof, items))


def exposure(lists: Lists, item: str, most: int) -> dict[str, Any]:
    """Number of lists, number of lists with the item, and the items most often in the latter.

    >>> exposure(["abc", "abd", "xyz"], "a", 1)
    {'lists': 3, 'with_it': 2, 'items': [{'item': 'b', 'lists': 2}]}
    """
    containing = [items for items in lists if item in items]
    others = Counter(other for items in containing for other in items if other != item)
    return {
        "lists": len(lists),
        "with_it": len(containing),
        "items": [{"item": other, "lists": count} for other, count in others.most_common(most)],
    }
