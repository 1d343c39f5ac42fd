"""Item rows: which item has which row; admit, expire, dump, apply.

An item is admitted after a few events and gets the lowest row never used; when all rows are taken, the
items idle for longest lose theirs (Monolith: Liu et al. 2022, "Monolith: Real Time Recommendation System
With Collisionless Embedding Table").  The row's number is its key everywhere, so a reused row simply
overwrites what was there, on a compacted topic too.

Bounds: `capacity` rows, and as many ids waiting for admission as a tenth of that.
"""

from collections.abc import Iterable, Sequence
from itertools import repeat

import numpy as np

from models.core import Rows

NONE = -1
HOUR_MS = 3_600_000
EXPIRED_SHARE = 0.01
"""Of the rows, freed at once when none is left: expiry looks at all neighbours, so not one by one."""


class ItemRows:
    """id ▶ row and back.

    >>> items = ItemRows(capacity=100)
    >>> items.admit("a", 5), items.admit("b", 6), items.row("a"), items.row("never seen")
    (0, 1, 0, -1)
    """

    def __init__(self, capacity: int, admit_after: int = 1) -> None:
        self.capacity, self.admit_after = capacity, admit_after
        self.ids: list[str] = []
        """Id of each row; empty: free."""
        self.last_seen = np.zeros(capacity, np.int32)
        """Event time at which each row's item was last learnt, in hours: so coarse that a busy item's
        row need not be published at every event."""
        self._latest = np.zeros(capacity, np.int64)
        """Number of the latest event of each row's item: orders what was seen in the same hour.  It is
        not published, so that a learner that takes over orders those by row at first."""
        self._events = 0
        self._rows: dict[str, int] = {}
        self._free: list[int] | None = []
        """Rows without an item, ascending; None: to be found anew (after `apply`)."""
        self._waiting: dict[str, int] = {}
        self._touched: set[int] = set()
        self._touched_waiting: set[str] = set()

    def __len__(self) -> int:
        """Items that have a row."""
        return len(self._rows)

    def row(self, item: str) -> int:
        """The item's row, or -1."""
        return self._rows.get(item, NONE)

    def rows(self, items: Iterable[str]) -> list[int]:
        """The rows of these items, -1 for those that have none."""
        return list(map(self._rows.get, items, repeat(NONE)))

    def admit(self, item: str, time: int) -> int:
        """One event of the item: its row, or -1 while it waits or no row is free (see `expire`)."""
        row = self._rows.get(item, NONE)
        if row == NONE:
            row = self._admit(item)
            if row == NONE:
                return NONE
        self._events += 1
        self._latest[row] = self._events
        hour = time // HOUR_MS
        if hour > self.last_seen[row]:
            self.last_seen[row] = hour
            self._touched.add(row)
        return row

    def _admit(self, item: str) -> int:
        count = self._waiting.pop(item, 0) + 1
        if count < self.admit_after or self.full:
            if self.admit_after > 1:
                self._wait(item, count)
            return NONE
        if count > 1:
            self._touched_waiting.add(item)
        free = self._free_rows()
        if free:
            row = free.pop()
            self.ids[row] = item
            self.last_seen[row] = 0
        else:
            row = len(self.ids)
            self.ids.append(item)
        self._rows[item] = row
        self._touched.add(row)
        return row

    def _wait(self, item: str, count: int) -> None:
        self._waiting[item] = count  # at the end: the one unseen for longest is first
        self._touched_waiting.add(item)
        if len(self._waiting) > max(self.capacity // 10, 1):
            first = next(iter(self._waiting))
            del self._waiting[first]
            self._touched_waiting.add(first)

    @property
    def full(self) -> bool:
        """Whether no row is left."""
        return not self._free_rows() and len(self.ids) >= self.capacity

    def _free_rows(self) -> list[int]:
        if self._free is None:
            self._free = [row for row, item in enumerate(self.ids) if not item]
        return self._free

    def expire(self) -> Rows:
        """Free the rows of the items idle for longest; int32[freed], which others must `evict`."""
        free, used = self._free_rows(), len(self.ids)
        count = min(max(int(self.capacity * EXPIRED_SHARE), 1), used)
        order = np.lexsort((self._latest[:used], self.last_seen[:used]))
        freed = np.sort(order[:count]).astype(np.int32)
        for row in freed.tolist():
            item = self.ids[row]
            if item:
                del self._rows[item]
                self.ids[row] = ""
                self._touched.add(row)
        self._free = sorted({*free, *freed.tolist()})
        return freed

    def dump_touched(self) -> dict[bytes, bytes | None]:
        """What changed since the last call, as rows of the model topic; None deletes."""
        rows: dict[bytes, bytes | None] = {}
        for row in sorted(self._touched):
            item = self.ids[row]
            stamp = int(self.last_seen[row]).to_bytes(4, "little")
            rows[b"items/%d" % row] = stamp + item.encode()
        for item in sorted(self._touched_waiting):
            count = self._waiting.get(item)
            rows[b"waiting/" + item.encode()] = None if count is None else bytes([min(count, 255)])
        self._touched.clear()
        self._touched_waiting.clear()
        return rows

    def apply(self, rows: Sequence[tuple[bytes, bytes]]) -> None:
        """Take over dumped rows: (what follows `items/` in the key, value)."""
        for key, value in rows:
            row, item = int(key), value[4:].decode()
            if row >= len(self.ids):
                self.ids.extend([""] * (row + 1 - len(self.ids)))
            old = self.ids[row]
            if old != item:
                if old and self._rows.get(old) == row:
                    del self._rows[old]
                if item:
                    self._rows[item] = row
                self.ids[row] = item
            self.last_seen[row] = int.from_bytes(value[:4], "little")
        self._free = None

    def apply_waiting(self, rows: Sequence[tuple[bytes, bytes | None]]) -> None:
        """Take over dumped `waiting/` rows; only a learner needs them."""
        for key, value in rows:
            item = key.decode()
            self._waiting.pop(item, None)
            if value:
                self._waiting[item] = value[0]
