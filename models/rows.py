"""Item rows: which item has which row.

An item is admitted after a few events and gets the lowest row that was never used; when all rows are taken,
the items idle for longest expire (Liu et al. 2022, "Monolith: Real Time Recommendation System With
Collisionless Embedding Table").  The row's number is its key everywhere, so a reused row simply overwrites
what was there, on a compacted topic too.

Bounds: `capacity` rows, and a tenth as many ids that wait for admission.
"""

from collections.abc import Iterable, Sequence
from itertools import repeat

import numpy as np

from models.core import Rows
from models.units import HOUR_MS

NONE = -1
EXPIRED_SHARE = 0.01
"""Share of the rows that is freed when none is left.  Expiry reads all neighbours, so many rows share its
cost."""


class ItemRows:
    """A map from item ids to rows and back.

    Parameters
    ----------
    capacity
        Number of rows.
    admit_after
        Events after which an item gets a row; until then it waits.

    Examples
    --------
    >>> items = ItemRows(capacity=100)
    >>> items.admit("a", 5), items.admit("b", 6), items.row("a"), items.row("never seen")
    (0, 1, 0, -1)
    """

    def __init__(self, capacity: int, admit_after: int = 1) -> None:
        self.capacity, self.admit_after = capacity, admit_after
        self.ids: list[str] = []
        """Id of each row's item; empty where the row is free."""
        self.last_seen = np.zeros(capacity, np.int32)
        """Event time at which each row's item was last learnt, hours since the epoch: so coarse that the row
        of a busy item need not be published at every event."""
        self._latest = np.zeros(capacity, np.int64)
        """Number of the latest event of each row's item, which orders items seen in the same hour.  It is not
        published; a learner that takes over orders those by row at first."""
        self._events = 0
        self._rows: dict[str, int] = {}
        self._free: list[int] | None = []
        """Rows without an item, ascending; None where they have to be looked up again (after `apply`)."""
        self._waiting: dict[str, int] = {}
        self._touched: set[int] = set()
        self._touched_waiting: set[str] = set()
        self._assigned = np.zeros(capacity, np.bool_)

    def __len__(self) -> int:
        """Number of items that have a row."""
        return len(self._rows)

    def row(self, item: str) -> int:
        """The item's row, or -1 if it has none."""
        return self._rows.get(item, NONE)

    def rows(self, items: Iterable[str]) -> list[int]:
        """The rows of these items; -1 for an item that has none."""
        return list(map(self._rows.get, items, repeat(NONE)))

    def admit(self, item: str, time: int) -> int:
        """Count an event of the item; its row, or -1 while it waits or no row is free (see `expire`)."""
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
        return self._assign(item)

    def reserve(self, item: str) -> int:
        """The row of an item that may have had no event yet; -1 if it has none and no row is free.

        Items without an event are the first that expire.
        """
        row = self._rows.get(item, NONE)
        if row != NONE or self.full:
            return row
        if self._waiting.pop(item, 0):
            self._touched_waiting.add(item)
        return self._assign(item)

    def _assign(self, item: str) -> int:
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
        self._assigned[row] = True
        return row

    def take_assigned(self) -> list[str]:
        """Items that got a row since the last call, and still have it."""
        rows = np.flatnonzero(self._assigned[: len(self.ids)])
        self._assigned[rows] = False
        return [item for row in rows.tolist() if (item := self.ids[row])]

    def _wait(self, item: str, count: int) -> None:
        self._waiting[item] = count  # at the end: the item unseen for longest is first
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
        """Free the rows of the items idle for longest; int32[n], which all components must `evict`."""
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

    @property
    def changed(self) -> bool:
        """Whether a row changed since the last `dump_touched`."""
        return bool(self._touched)

    def dump_touched(self) -> dict[bytes, bytes | None]:
        """Rows changed since the last call, value by key as on the model topic; None deletes."""
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

    def apply(self, rows: Sequence[tuple[bytes, bytes]]) -> Rows:
        """Store dumped rows, (what follows `items/` in the key, value).

        Returns the rows that lost their item, int32[n].
        """
        lost: list[int] = []
        for key, value in rows:
            row, item = int(key), value[4:].decode()
            if row >= len(self.ids):
                self.ids.extend([""] * (row + 1 - len(self.ids)))
            old = self.ids[row]
            if old != item:
                if old:
                    lost.append(row)
                    if self._rows.get(old) == row:
                        del self._rows[old]
                if item:
                    self._rows[item] = row
                    self._assigned[row] = True
                self.ids[row] = item
            self.last_seen[row] = int.from_bytes(value[:4], "little")
        self._free = None
        return np.array(lost, np.int32)

    def apply_waiting(self, rows: Sequence[tuple[bytes, bytes | None]]) -> None:
        """Store dumped rows, (what follows `waiting/` in the key, value); only a learner needs them."""
        for key, value in rows:
            item = key.decode()
            self._waiting.pop(item, None)
            if value:
                self._waiting[item] = value[0]
