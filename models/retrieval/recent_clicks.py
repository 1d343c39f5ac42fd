"""The recent clicks: a ring that knows which click followed which in a session."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.blocks import Blocks
from models.core import Floats, Rows
from models.kernels.hash_table import size_for
from models.kernels.jit import Array, kernel
from models.kernels.splitmix import GOLDEN
from models.retrieval.sequences import TrainingSequences, pack_for_training


class Ring(NamedTuple):
    """The arrays of the ring: click number n is at n mod size."""

    head: NDArray[np.int64]
    """int64[1]: number of clicks so far."""
    items: Rows
    """int32[size]; -1: the item expired."""
    keys: NDArray[np.uint32]
    """uint32[size]: hash of the session."""
    weights: Floats
    """float32[size]."""
    before: Rows
    """int32[size]: position of the session's previous click; -1: there is none."""
    after: Rows
    """int32[size]: position of its next click; -1: none yet."""
    latest: Rows
    """int32[power of two]: 1 + position of the latest click, by hash of the key; 0: none.  A session whose
    place is taken by another one starts over."""
    counts: Rows
    """int32[items]: clicks on the item among the latest `window`."""


class RecentClicks:
    """The latest clicks, from which learners draw what a stream shows only once.

    They draw negatives, as popular as the latest clicks are and with their exact odds, and past sessions to
    learn again, against forgetting (experience replay).  Item, key and weight of each click travel; the links
    and the counts are rebuilt from these when a learner takes over.

    Cost: 0.1 µs a click.  Memory: 12 bytes a click that travel and 16 that do not, 4 an item.

    Parameters
    ----------
    blocks
        Holds the arrays of `RecentClicks.arrays`.
    capacity
        Number of item rows.
    window
        Latest clicks that `sample` draws from.

    Examples
    --------
    >>> blocks = Blocks(10, np.dtype([("row", "<i4"), ("vector", "<f4", 8)]), RecentClicks.arrays(100))
    >>> clicks = RecentClicks(blocks, capacity=10, window=50)
    >>> places = clicks.append(np.array([4, 4, 7]), np.array([1, 1, 2]), np.ones(3, np.float32))
    >>> clicks.odds(np.array([7, 4])).round(2).tolist()  # of one draw; at most 0.5
    [0.33, 0.5]
    """

    def __init__(self, blocks: Blocks, capacity: int, window: int) -> None:
        size = len(blocks["items"])
        self._blocks, self.window = blocks, min(window, size)
        self._ring = Ring(
            blocks["head"], blocks["items"], blocks["keys"], blocks["weights"],
            np.zeros(size, np.int32), np.zeros(size, np.int32),
            np.zeros(size_for(size), np.int32), np.zeros(capacity, np.int32),
        )  # fmt: skip
        self._stale = False

    @staticmethod
    def arrays(size: int) -> dict[str, tuple[Any, Any]]:
        """(shape, dtype) of the arrays that `blocks` must hold for a ring of `size` clicks."""
        return {
            "head": (1, np.int64), "items": (size, np.int32),
            "keys": (size, np.uint32), "weights": (size, np.float32),
        }  # fmt: skip

    def __len__(self) -> int:
        """Number of clicks in the ring."""
        return min(self.total, len(self._ring.items))

    @property
    def total(self) -> int:
        """Number of clicks that were ever appended."""
        return int(self._ring.head[0])

    def invalidate(self) -> None:
        """Note that the arrays were replaced: links and counts are rebuilt at the next `append`."""
        self._stale = True

    def append(self, items: Rows, keys: NDArray[np.uint64], weights: Floats) -> NDArray[np.int64]:
        """Append clicks in their order, at most the ring's size; returns the position of each, int64[n]."""
        if self._stale:
            _link_all(self._ring, self.window)
            self._stale = False
        size, head = len(self._ring.items), self.total
        _append(self._ring, self.window, items, keys.astype(np.uint32), weights)
        at = (head + np.arange(len(items))) % size
        for name in ("items", "keys", "weights"):
            start, stop = head % size, head % size + len(items)
            self._blocks.mark(name, start, min(stop, size))
            self._blocks.mark(name, 0, max(stop - size, 0))
        self._blocks.mark("head")
        return at

    def evict(self, rows: Rows) -> None:
        """Remove the clicks on these items: nothing is learnt of them any more."""
        evicted = np.zeros(len(self._ring.counts), np.bool_)
        evicted[rows] = True
        items = self._ring.items[: len(self)]
        places = np.flatnonzero((items >= 0) & evicted[items])
        self._ring.items[places] = -1
        self._ring.counts[rows] = 0
        for place in places.tolist():
            self._blocks.mark("items", place, place + 1)

    def sample(self, n: int, rng: np.random.Generator) -> Rows:
        """Up to n items of the latest `window` clicks, drawn with replacement; fewer where some expired."""
        drawn = self.total - 1 - rng.integers(0, min(self.window, self.total), n)
        items = self._ring.items[drawn % len(self._ring.items)]
        return np.asarray(items[items >= 0])

    def odds(self, items: Rows) -> NDArray[np.float64]:
        """Probability that a draw of `sample` is each item; at least that of half a click, at most 1/2."""
        odds = np.maximum(self._ring.counts[items], 0.5) / max(min(self.window, len(self)), 1)
        return np.asarray(np.minimum(odds, 0.5))

    def ends(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of these positions at which a session ends so far."""
        return places[self._ring.after[places] < 0]

    def sample_ends(self, draws: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """The distinct ends of sessions among clicks that are drawn from the whole ring."""
        return np.unique(self.ends(rng.integers(0, len(self), draws)))

    def training_sequences(
        self, ends: NDArray[np.int64], latest: NDArray[np.int64], before: int, length: int
    ) -> TrainingSequences:
        """The sessions that end at these positions, at most their latest `length` + 1 clicks.

        To be learnt are, of each session, only clicks among the `latest` (int64[n]) of the ring, after at
        most `before` clicks that are not.
        """
        shape = len(ends), length + 1
        items, weights = np.empty(shape, np.int32), np.empty(shape, np.float32)
        counts = np.empty(len(ends), np.int64)
        _walk_back(self._ring, ends, latest, before, items, weights, counts)
        return pack_for_training(items, weights, counts)


@kernel
def _place(ring: Ring, key: np.uint32) -> np.uint64:
    """Position of the key in `ring.latest`."""
    return (np.uint64(key) * GOLDEN >> np.uint64(32)) & np.uint64(len(ring.latest) - 1)


@kernel
def _link(ring: Ring, at: int) -> None:
    """Link the click with the session's previous one."""
    key = ring.keys[at]
    place = _place(ring, key)
    earlier = ring.latest[place] - 1
    ring.before[at] = ring.after[at] = -1
    if earlier >= 0 and ring.keys[earlier] == key:
        ring.before[at], ring.after[earlier] = earlier, at
    ring.latest[place] = at + 1


@kernel
def _link_all(ring: Ring, window: int) -> None:
    """Rebuild links and counts."""
    ring.latest[:] = 0
    ring.counts[:] = 0
    size, head = len(ring.items), ring.head[0]
    for n in range(max(head - size, 0), head):
        _link(ring, n % size)
        item = ring.items[n % size]
        if n >= head - window and item >= 0:
            ring.counts[item] += 1


@kernel
def _append(ring: Ring, window: int, items: Array, keys: Array, weights: Array) -> None:
    size = len(ring.items)
    for n in range(len(items)):
        head = ring.head[0]
        at = head % size
        if head >= window:
            left = ring.items[(head - window) % size]
            if left >= 0:
                ring.counts[left] -= 1
        if head >= size:
            if ring.after[at] >= 0:
                ring.before[ring.after[at]] = -1
            place = _place(ring, ring.keys[at])
            if ring.latest[place] == at + 1:
                ring.latest[place] = 0
        ring.items[at], ring.keys[at], ring.weights[at] = items[n], keys[n], weights[n]
        ring.counts[items[n]] += 1
        _link(ring, at)
        ring.head[0] = head + 1


@kernel
def _walk_back(
    ring: Ring, ends: Array, latest: Array, before: int, items: Array, weights: Array, counts: Array
) -> None:
    """Write the clicks of each session, newest first, and their number; older ones get weight 0."""
    newest, size = ring.head[0] - 1, len(ring.items)
    for n in range(len(ends)):
        at, count, older = ends[n], 0, 0
        while at >= 0 and count < items.shape[1] and older < before:
            if ring.items[at] >= 0:
                taught = (newest - at) % size < latest[n]
                items[n, count] = ring.items[at]
                weights[n, count] = ring.weights[at] if taught else 0
                older += not taught
                count += 1
            at = ring.before[at]
        counts[n] = count
