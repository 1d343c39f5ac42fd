"""The recent sessions, and which of them contain an item: what session kNN and the random walks read."""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.core import SESSION, Batch, QueryBatch, Rows
from models.kernels import hash_table
from models.kernels.jit import Array, kernel
from models.state import Records, Table

SIZE, ITEMS = 1, 8
"""Position of the session's size, and of its first item, in a slot read as words of 32 bits."""


class Index(NamedTuple):
    """Sessions in their slots, and the rings of the items."""

    numbers: NDArray[np.int64]
    """int64[slots]: the session's number; 0: the slot is free."""
    keys: NDArray[np.uint64]
    """uint64[slots]: hash of the session."""
    times: NDArray[np.int64]
    """int64[slots]: time of the latest event, ms."""
    sizes: Rows
    """int32[slots]: number of items."""
    items: Rows
    """int32[slots, length]: items in order, with repeats while there is room: they tell how items are
    repeated."""
    rings: NDArray[np.uint32]
    """uint32[items, latest]: the lowest 32 bits of session numbers, highest first."""
    filled: Rows
    """int32[items]: entries of the ring; expired sessions stay in it until newer ones push them out."""
    counts: Rows
    """int32[items]: live sessions that contain the item; as many of the ring's first entries are live."""


class RecentSessions(Table):
    """A ring of recent sessions, and a ring of sessions for each item; the state of generators that read
    them.

    Sessions are numbered as they start.  Number n lives in slot n mod `slots`, so a new session takes the
    place of the oldest; one that outgrows its slot continues under a new number.  Each item has a ring: the
    highest numbers of live sessions that contain it.  Only the slots travel.  The rings follow from the
    slots, in any order of arrival, because a pair of session and item is only ever removed by the
    expiry of the lowest numbers, or of the whole item.

    Cost: learn about 0.5 µs an event.  Memory: 32 + 4 × `length` bytes a slot, 4 × `latest` + 8 an item; 8 to
    16 bytes a slot in the learner only.

    Parameters
    ----------
    capacity
        Number of item rows.
    by
        `session`: a slot is a session; `user`: a slot is a part of a user's history.
    slots_per_item
        Slots by item row.
    length
        Items kept of a session.
    latest
        Sessions kept of an item.

    Examples
    --------
    >>> from models.small_batches import session_batch
    >>> sessions = RecentSessions(100)
    >>> sessions.learn(session_batch([[0, 1], [1, 2]]))
    >>> sessions.index.counts[:3].tolist(), sessions.newest
    ([1, 2, 1], 2)
    """

    def __init__(
        self,
        capacity: int,
        by: Literal["session", "user"] = "session",
        slots_per_item: float = 2.0,
        length: int = 16,
        latest: int = 96,
    ) -> None:
        super().__init__(
            max(int(capacity * slots_per_item), 2),
            [("size", "<i4"), ("number", "<i8"), ("key", "<u8"), ("time", "<i8"), ("items", "<i4", length)],
            packed=True,  # a neighbour costs two lines of cache
        )
        self.by = by
        self.index = Index(
            self["number"], self["key"], self["time"], self["size"], self["items"],
            np.zeros((capacity, latest), np.uint32),
            np.zeros(capacity, np.int32),
            np.zeros(capacity, np.int32),
        )  # fmt: skip
        self.newest = 0
        """Highest number of a session."""
        self._slots_by_key: Rows | None = None
        """Slots by key (`models.kernels.hash_table`).  A replica does not need it, and a learner that was
        restored rebuilds it from the slots."""

    def learn(self, batch: Batch) -> None:
        """Append each example's item to its session."""
        if self._slots_by_key is None:
            self._slots_by_key = np.zeros(hash_table.size_for(self.rows), np.int32)
            order = np.argsort(self.index.numbers, kind="stable")
            hash_table.insert(self._slots_by_key, self.index.keys, order[self.index.numbers[order] > 0])
        keys = batch.sessions if self.by == "session" else batch.users
        self.newest = _learn(
            batch.items, keys, batch.queries.times, self.newest, self.index, self._slots_by_key, self.dirty
        )

    def apply(self, records: Records) -> None:
        """Store dumped slots; as a slot follows from the session's number, there may be more than before.

        Sessions with items beyond the capacity are of a larger model, and left out.
        """
        if len(records) and records["items"].max() >= len(self.index.counts):
            records = records[records["items"].max(1) < len(self.index.counts)]
        if not len(records):
            return
        last = len(records) - 1 - np.unique(records["number"][::-1], return_index=True)[1]
        records = records[last]  # ascending numbers, each as it came last
        self.newest = max(self.newest, int(records["number"][-1]))
        numbers, keys, times, sizes, items = (
            np.ascontiguousarray(records[name])  # so that there is one kernel, however many sessions come
            for name in ("number", "key", "time", "size", "items")
        )
        _apply(numbers, keys, times, sizes, items, self.newest, self.index)
        self._slots_by_key = None

    def evict(self, rows: Rows) -> None:
        """Remove these items from all sessions."""
        evicted = np.zeros(len(self.index.filled), np.bool_)
        evicted[rows] = True
        _evict(evicted, self.index, self.dirty)

    def lookup_items(self, queries: QueryBatch) -> Rows:
        """Items of each query whose sessions are read, newest first: the latest, or the whole history."""
        return queries.history[:, :SESSION] if self.by == "session" else queries.history


@kernel(inline="always")
def age_of(newest: int, number: int) -> np.uint32:
    """Number of sessions that began since, from the lowest 32 bits of both: right while `slots` < 2^32."""
    return np.uint32(np.uint64(newest) - np.uint64(number))


@kernel
def contains(items: Array, size: int, item: int) -> np.bool_:
    """Whether the item is among the first `size` items."""
    return np.any(items[:size] == item)


@kernel
def _insert_number(index: Index, newest: int, item: int, number: int) -> None:
    """Insert the number into the item's ring, highest first; a full ring loses its lowest."""
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


@kernel
def _remove_number(index: Index, item: int, number: int) -> None:
    """Remove the number from the item's ring."""
    ring, kept = index.rings[item], 0
    for j in range(index.filled[item]):
        if ring[j] != np.uint32(number):
            ring[kept] = ring[j]
            kept += 1
    index.filled[item] = kept


@kernel
def _count(counts: Array, items: Array, size: int, by: int) -> None:
    """Add `by` to the count of each distinct item of a session."""
    for j in range(size):
        if not contains(items, j, items[j]):
            counts[items[j]] += by


@kernel
def _learn(
    items: Array, keys: Array, times: Array, newest: int, index: Index, slots_by_key: Array, dirty: Array
) -> int:
    """Append each item to its session; returns the highest number of a session."""
    slots, length = index.items.shape
    for n in range(len(items)):
        item = items[n]
        if item < 0:
            continue
        slot = slots_by_key[hash_table.find(slots_by_key, index.keys, keys[n])] - 1
        known = slot >= 0 and contains(index.items[slot], index.sizes[slot], item)
        if not known and (slot < 0 or index.sizes[slot] == length):
            newest += 1
            slot = newest % slots
            if index.numbers[slot] > 0:
                hash_table.remove(slots_by_key, index.keys, slot)
                _count(index.counts, index.items[slot], index.sizes[slot], -1)
            index.numbers[slot], index.keys[slot], index.sizes[slot] = newest, keys[n], 0
            index.times[slot] = times[n]
            index.items[slot] = 0
            slots_by_key[hash_table.find(slots_by_key, index.keys, keys[n])] = slot + 1
        if index.sizes[slot] < length:
            index.items[slot, index.sizes[slot]] = item
            index.sizes[slot] += 1
        if not known:
            index.counts[item] += 1
            _insert_number(index, newest, item, index.numbers[slot])
        index.times[slot] = max(index.times[slot], times[n])
        dirty[slot] = True
    return newest


@kernel
def _apply(
    numbers: Array, keys: Array, times: Array, sizes: Array, items: Array, newest: int, index: Index
) -> None:
    """Store sessions; removals from rings precede insertions, as a full ring rejects lower numbers."""
    slots = len(index.numbers)
    for n in range(len(numbers)):
        slot = numbers[n] % slots
        if numbers[n] < index.numbers[slot]:
            continue
        _count(index.counts, index.items[slot], index.sizes[slot], -1)
        for j in range(index.sizes[slot]):
            item = index.items[slot, j]
            if numbers[n] > index.numbers[slot] or not contains(items[n], sizes[n], item):
                _remove_number(index, item, index.numbers[slot])
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
            _insert_number(index, newest, items[n, j], numbers[n])


@kernel
def _evict(evicted: Array, index: Index, dirty: Array) -> None:
    index.filled[evicted] = 0
    index.counts[evicted] = 0
    for slot in range(len(index.numbers)):
        kept = 0
        for j in range(index.sizes[slot]):
            if not evicted[index.items[slot, j]]:
                index.items[slot, kept] = index.items[slot, j]
                kept += 1
        if kept < index.sizes[slot]:
            index.items[slot, kept:] = 0
            index.sizes[slot] = kept
            dirty[slot] = True
