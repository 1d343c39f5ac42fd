"""The recent sessions, and which of them contain an item: what session kNN and the graph look into.

Sessions are numbered as they start.  Number n lives in slot n mod `slots`, so a new session takes the
place of the oldest; one that outgrows its slot goes on under a new number.  Each item has a ring: the
highest numbers of live sessions that contain it.  Only the slots travel: rings are what the slots say, in
whatever order they came, because a pair of session and item is never taken back but by the expiry of
the lowest numbers, or of the whole item.

Keyed by user instead of session, a "session" is a part of the user's history.

Cost: learn about 0.5 µs an event.
Memory: 32 + 4 × `length` bytes a slot, 4 × `latest` + 8 an item; 8 to 16 bytes a slot in the learner only.
"""

from typing import Literal, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from models.core import SESSION, Batch, QueryBatch, Rows

SIZE, ITEMS = 1, 8
"""Where a slot, as words of 32 bits, has the size of the session, and where its items begin."""


class Index(NamedTuple):
    """Sessions in their slots, and the rings of the items."""

    numbers: NDArray[np.int64]
    """int64[slots]; 0: none yet."""
    keys: NDArray[np.uint64]
    """uint64[slots]: hash of the session."""
    times: NDArray[np.int64]
    """int64[slots]: of the latest event, ms."""
    sizes: Rows
    """int32[slots]."""
    items: Rows
    """int32[slots, length]: in order, repeats too while there is room: they say how items are repeated."""
    rings: NDArray[np.uint32]
    """uint32[items, latest]: the lowest 32 bits of session numbers, highest first."""
    filled: Rows
    """int32[items]: of the ring; expired sessions are in it until newer ones push them out."""
    counts: Rows
    """int32[items]: live sessions that contain the item; so many of the ring's first are live."""


class RecentSessions:
    """All of a generator but what it proposes."""

    def __init__(
        self,
        capacity: int,
        by: Literal["session", "user"] = "session",
        slots_per_item: float = 2.0,
        length: int = 16,
        latest: int = 96,
    ) -> None:
        self.by = by
        self.rows = max(int(capacity * slots_per_item), 2)
        self.dtype = np.dtype(
            [
                ("row", "<i4"),
                ("size", "<i4"),
                ("number", "<i8"),
                ("key", "<u8"),
                ("time", "<i8"),
                ("items", "<i4", length),
            ]
        )
        self._slots = np.zeros(self.rows, self.dtype)  # side by side: a neighbour costs two lines of cache
        self.index = Index(
            self._slots["number"],
            self._slots["key"],
            self._slots["time"],
            self._slots["size"],
            self._slots["items"],
            np.zeros((capacity, latest), np.uint32),
            np.zeros(capacity, np.int32),
            np.zeros(capacity, np.int32),
        )
        self.newest = 0
        """Highest number given."""
        self._dirty = np.zeros(self.rows, np.bool_)
        self._open: Rows | None = None
        """Key ▶ slot + 1 by hash, int32[power of two]; a replica needs none, and a learner that was
        restored makes it from the slots."""

    def learn(self, batch: Batch) -> None:
        """Put each example's item into its session."""
        if self._open is None:
            self._open = np.zeros(1 << (2 * self.rows - 1).bit_length(), np.int32)
            order = np.argsort(self.index.numbers, kind="stable")
            _open(self._open, self.index.keys, order[self.index.numbers[order] > 0])
        keys = batch.sessions if self.by == "session" else batch.users
        self.newest = _learn(
            batch.items, keys, batch.queries.times, self.newest, self.index, self._open, self._dirty
        )

    def touched(self) -> Rows:
        """See `Generator`."""
        rows = np.flatnonzero(self._dirty).astype(np.int32)
        self._dirty[rows] = False
        return rows

    def dump(self, rows: Rows) -> NDArray[np.void]:
        """See `Generator`."""
        out = self._slots[rows]
        out["row"] = rows
        return out

    def apply(self, rows: NDArray[np.void]) -> None:
        """See `Generator`.  A session's slot follows from its number, so `slots` may have grown."""
        if not len(rows):
            return
        last = len(rows) - 1 - np.unique(rows["number"][::-1], return_index=True)[1]
        rows = rows[last]  # ascending numbers, each as it came last
        self.newest = max(self.newest, int(rows["number"][-1]))
        _apply(
            rows["number"], rows["key"], rows["time"], rows["size"], np.ascontiguousarray(rows["items"]),
            self.newest, self.index,
        )  # fmt: skip
        self._open = None

    def evict(self, rows: Rows) -> None:
        """See `Generator`."""
        gone = np.zeros(len(self.index.filled), np.bool_)
        gone[rows] = True
        _evict(gone, self.index, self._dirty)

    def asked(self, queries: QueryBatch) -> Rows:
        """What of each query is looked up, newest first: the latest items, or the whole history."""
        return queries.history[:, :SESSION] if self.by == "session" else queries.history


@njit(cache=True, nogil=True, inline="always")
def age_of(newest, number):  # type: ignore[no-untyped-def]
    """How many sessions began since, of the lowest 32 bits of both: right while `slots` < 2^32."""
    return np.uint32(np.uint64(newest) - np.uint64(number))


@njit(cache=True, nogil=True)
def _enter(index, newest, item, number):  # type: ignore[no-untyped-def]
    """Put the number into the item's ring, highest first; of a full ring the lowest goes."""
    ring, filled = index.rings[item], index.filled[item]
    age = age_of(newest, number)
    at = 0
    while at < filled and age_of(newest, ring[at]) < age:
        at += 1
    if at == len(ring) or (at < filled and age_of(newest, ring[at]) == age):
        return
    last = min(filled, len(ring) - 1)
    for j in range(last, at, -1):
        ring[j] = ring[j - 1]
    ring[at] = np.uint32(number)
    index.filled[item] = last + 1


@njit(cache=True, nogil=True)
def _leave(index, item, number):  # type: ignore[no-untyped-def]
    """Take the number out of the item's ring."""
    ring, kept = index.rings[item], 0
    for j in range(index.filled[item]):
        if ring[j] != np.uint32(number):
            ring[kept] = ring[j]
            kept += 1
    index.filled[item] = kept


@njit(cache=True, nogil=True)
def _find(table, keys, key):  # type: ignore[no-untyped-def]
    """Where the key is in the open table, or the free place where it belongs."""
    mask = np.uint64(len(table) - 1)
    at = (key * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(20)) & mask
    while table[at] != 0 and keys[table[at] - 1] != key:
        at = (at + np.uint64(1)) & mask
    return at


@njit(cache=True, nogil=True)
def _open(table, keys, slots):  # type: ignore[no-untyped-def]
    for slot in slots:  # ascending numbers: the latest of a key stays
        table[_find(table, keys, keys[slot])] = slot + 1


@njit(cache=True, nogil=True)
def _close(table, keys, slot):  # type: ignore[no-untyped-def]
    """Forget the slot's key, unless it went on in another slot; what had to yield to it moves up."""
    mask = np.uint64(len(table) - 1)
    hole = _find(table, keys, keys[slot])
    if table[hole] != slot + 1:
        return
    at = hole
    while True:
        at = (at + np.uint64(1)) & mask
        if table[at] == 0:
            break
        home = (keys[table[at] - 1] * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(20)) & mask
        if ((at - home) & mask) >= ((at - hole) & mask):
            table[hole] = table[at]
            hole = at
    table[hole] = 0


@njit(cache=True, nogil=True)
def _learn(items, keys, times, newest, index, table, dirty):  # type: ignore[no-untyped-def]
    slots, length = index.items.shape
    for n in range(len(items)):
        item = items[n]
        if item < 0:
            continue
        slot = table[_find(table, index.keys, keys[n])] - 1
        known = slot >= 0 and contains(index.items[slot], index.sizes[slot], item)
        if not known and (slot < 0 or index.sizes[slot] == length):
            newest += 1
            slot = newest % slots
            if index.numbers[slot] > 0:
                _close(table, index.keys, slot)
                _count(index.counts, index.items[slot], index.sizes[slot], -1)
            index.numbers[slot], index.keys[slot], index.sizes[slot] = newest, keys[n], 0
            index.times[slot] = times[n]
            index.items[slot] = 0
            table[_find(table, index.keys, keys[n])] = slot + 1
        if index.sizes[slot] < length:
            index.items[slot, index.sizes[slot]] = item
            index.sizes[slot] += 1
        if not known:
            index.counts[item] += 1
            _enter(index, newest, item, index.numbers[slot])
        index.times[slot] = max(index.times[slot], times[n])
        dirty[slot] = True
    return newest


@njit(cache=True, nogil=True)
def _apply(numbers, keys, times, sizes, items, newest, index):  # type: ignore[no-untyped-def]
    """What leaves a ring leaves before anything enters one: a full ring turns the lower numbers away."""
    slots = len(index.numbers)
    for n in range(len(numbers)):
        slot = numbers[n] % slots
        if numbers[n] < index.numbers[slot]:
            continue
        _count(index.counts, index.items[slot], index.sizes[slot], -1)
        for j in range(index.sizes[slot]):
            item = index.items[slot, j]
            if numbers[n] > index.numbers[slot] or not contains(items[n], sizes[n], item):
                _leave(index, item, index.numbers[slot])
        index.sizes[slot] = 0
        index.numbers[slot] = numbers[n]
    for n in range(len(numbers)):
        slot = numbers[n] % slots
        if numbers[n] != index.numbers[slot]:
            continue
        index.keys[slot], index.times[slot], index.sizes[slot] = keys[n], times[n], sizes[n]
        index.items[slot] = items[n]
        _count(index.counts, items[n], sizes[n], 1)
        for j in range(sizes[n]):
            _enter(index, newest, items[n, j], numbers[n])


@njit(cache=True, nogil=True)
def contains(items, size, item):  # type: ignore[no-untyped-def]
    return np.any(items[:size] == item)


@njit(cache=True, nogil=True)
def _count(counts, items, size, by):  # type: ignore[no-untyped-def]
    """Each distinct item of a session once."""
    for j in range(size):
        if not contains(items, j, items[j]):
            counts[items[j]] += by


@njit(cache=True, nogil=True)
def _evict(gone, index, dirty):  # type: ignore[no-untyped-def]
    index.filled[gone] = 0
    index.counts[gone] = 0
    for slot in range(len(index.numbers)):
        kept = 0
        for j in range(index.sizes[slot]):
            if not gone[index.items[slot, j]]:
                index.items[slot, kept] = index.items[slot, j]
                kept += 1
        if kept < index.sizes[slot]:
            index.items[slot, kept:] = 0
            index.sizes[slot] = kept
            dirty[slot] = True
