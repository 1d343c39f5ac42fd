"""Rows on the topic `model` that no component of the learner reads: it deletes them after it took over.

Such rows are of a component that is off, or of one that started over because its layout changed.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import islice

from models.published import Row

ALWAYS_READ = (b"items", b"waiting")


class UnreadRows:
    """Keys of rows that nobody reads.

    Parameters
    ----------
    sizes
        Bytes of a row, by the key of each component that reads its rows.

    Examples
    --------
    >>> unread = UnreadRows({b"next": 1})
    >>> unread.add([(b"next/1", b"."), (b"gone/1", b"."), (b"gone/2", b"."), (b"gone/1", None)])
    >>> unread.by_component(), unread.take(10), len(unread)
    ({'gone': 1}, {b'gone/2': None}, 0)
    """

    def __init__(self, sizes: Mapping[bytes, int]) -> None:
        self._sizes = sizes
        self._keys: dict[bytes, None] = {}

    def __len__(self) -> int:
        """Number of rows to be deleted."""
        return len(self._keys)

    def add(self, rows: Iterable[Row]) -> None:
        """Note which of these rows nobody reads; in the order of the topic."""
        for key, value in rows:
            part = key.partition(b"/")[0]
            if value is None:
                self._keys.pop(key, None)
            elif part not in ALWAYS_READ and self._sizes.get(part) != len(value):
                self._keys[key] = None

    def by_component(self) -> dict[str, int]:
        """Number of rows to be deleted, by the key of their component."""
        return dict(Counter(key.partition(b"/")[0].decode(errors="replace") for key in self._keys))

    def take(self, count: int) -> dict[bytes, bytes | None]:
        """Up to `count` deletions, as rows to publish; they are not returned again."""
        keys = list(islice(self._keys, count))
        for key in keys:
            del self._keys[key]
        return dict.fromkeys(keys)
