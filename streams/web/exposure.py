"""What an item is recommended beside: counted in the latest lists that this worker sent.

The lists are kept as they were encoded, and read when somebody asks: to keep one costs the stream as good
as nothing.
"""

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import Any

from streams.messages import decode_recommendation
from streams.serve import Record, Written

KEPT = 1_000
"""Lists, of about 2 kB each."""


class Exposure:
    """The latest lists."""

    def __init__(self) -> None:
        self._lists: deque[bytes] = deque(maxlen=KEPT)

    def look(self, records: Sequence[Record], written: Mapping[int, Written]) -> None:
        """Keep the last list of each partition in a micro-batch."""
        self._lists.extend(one.recommendations[-1][1] for one in written.values() if one.recommendations)

    def of(self, item: str, most: int) -> dict[str, Any]:
        """How many lists there are, how many have the item, and who is most often with it.  Takes some ms."""
        lists = [[one.item for one in decode_recommendation(value).items] for value in tuple(self._lists)]
        having = [items for items in lists if item in items]
        beside = Counter(other for items in having for other in items if other != item)
        return {
            "lists": len(lists),
            "with_it": len(having),
            "items": [{"item": other, "lists": count} for other, count in beside.most_common(most)],
        }
