"""Popularity in context: what everybody on this device, or in this country, looks at, lately.

    p_i(t | c) = Σ_{events in c} w · 2^(−(t − t_event) / half-life)

The value of the context (the setting `context_key` names it) is hashed to one of `CONTEXTS` slots; events
without one have a slot of their own.  A slot counts a few items only, by Space-Saving (Metwally, Agrawal
and El Abbadi 2005, "Efficient Computation of Frequent and Top-k Elements in Data Streams"): a newcomer takes
the place *and the count* of the weakest, so that what is frequent cannot be missed, and a count is too high
by the weakest one at most.  Both hold under decay, which scales all counts of a slot alike.

Cost: learn O(`counters`), about 0.2 µs an event; propose about 2 µs a session.
Memory: `CONTEXTS` + 1 slots of 16 + 8 × `counters` bytes, 1 MB, however many items.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from models.core import CONTEXTS, Batch, Candidates, QueryBatch, Rows
from models.kernels.decay import DAY_MS, decayed
from models.kernels.topk import select


class ContextPopularity:
    """A bounded list of decayed counts for each slot of the context."""

    def __init__(self, capacity: int, half_life_ms: float = DAY_MS, counters: int = 128) -> None:
        self.rows, self.half_life_ms = CONTEXTS + 1, half_life_ms
        self.dtype = np.dtype(
            [
                ("row", "<i4"),
                ("size", "<i4"),
                ("time", "<i8"),
                ("items", "<i4", counters),
                ("values", "<f4", counters),
            ]
        )
        self._size = np.zeros(self.rows, np.int32)
        self._time = np.zeros(self.rows, np.int64)
        self._items = np.zeros((self.rows, counters), np.int32)
        self._values = np.zeros((self.rows, counters), np.float32)
        self._dirty = np.zeros(self.rows, np.bool_)
        self._capacity = capacity

    def learn(self, batch: Batch) -> None:
        """Count each example's item in its context; the last slot is that of no context."""
        _learn(
            batch.items, batch.queries.contexts, batch.weights, batch.queries.times, self.half_life_ms,
            self._size, self._time, self._items, self._values, self._dirty,
        )  # fmt: skip

    def touched(self) -> Rows:
        """See `Generator`."""
        rows = np.flatnonzero(self._dirty).astype(np.int32)
        self._dirty[rows] = False
        return rows

    def dump(self, rows: Rows) -> NDArray[np.void]:
        """See `Generator`."""
        out = np.zeros(len(rows), self.dtype)
        out["row"], out["size"], out["time"] = rows, self._size[rows], self._time[rows]
        out["items"], out["values"] = self._items[rows], self._values[rows]
        return out

    def apply(self, rows: NDArray[np.void]) -> None:
        """See `Generator`."""
        at = rows["row"]
        self._size[at], self._time[at] = rows["size"], rows["time"]
        self._items[at], self._values[at] = rows["items"], rows["values"]

    def evict(self, rows: Rows) -> None:
        """See `Generator`."""
        gone = np.zeros(self._capacity, np.bool_)
        gone[rows] = True
        _evict(gone, self._size, self._items, self._values, self._dirty)

    def propose(self, queries: QueryBatch, k: int) -> Candidates:
        """The k most popular items of each query's context."""
        n = len(queries.contexts)
        out = Candidates(
            np.full((n, k), -1, np.int32), np.zeros((n, k), np.float32), np.full((n, k), -1, np.int8)
        )
        _propose(queries.contexts, self._size, self._items, self._values, out.rows, out.scores)
        return out


@njit(cache=True, nogil=True)
def _learn(  # type: ignore[no-untyped-def]
    rows, contexts, weights, times, half_life_ms, size, time, items, values, dirty
):
    counters = items.shape[1]
    for n in range(len(rows)):
        item, slot = rows[n], contexts[n]  # slot -1 is the last one
        if item < 0:
            continue
        added = np.float64(weights[n])
        if times[n] > time[slot]:
            keep = decayed(1.0, times[n] - time[slot], half_life_ms)
            for j in range(size[slot]):
                values[slot, j] *= keep
            time[slot] = times[n]
        else:
            added = np.float64(decayed(added, time[slot] - times[n], half_life_ms))
        dirty[slot] = True
        weakest = 0
        for j in range(size[slot]):
            if items[slot, j] == item:
                values[slot, j] += added
                break
            if values[slot, j] < values[slot, weakest]:
                weakest = j
        else:
            if size[slot] < counters:
                weakest = size[slot]
                values[slot, weakest] = 0
                size[slot] += 1
            items[slot, weakest] = item
            values[slot, weakest] += added


@njit(cache=True, nogil=True)
def _evict(gone, size, items, values, dirty):  # type: ignore[no-untyped-def]
    for slot in range(len(size)):
        kept = 0
        for j in range(size[slot]):
            if not gone[items[slot, j]]:
                items[slot, kept], values[slot, kept] = items[slot, j], values[slot, j]
                kept += 1
        if kept < size[slot]:
            items[slot, kept:], values[slot, kept:] = 0, 0
            size[slot] = kept
            dirty[slot] = True


@njit(cache=True, nogil=True)
def _propose(contexts, size, items, values, out_rows, out_scores):  # type: ignore[no-untyped-def]
    counters = np.arange(items.shape[1]).astype(np.int32)
    for n in range(len(contexts)):
        slot = contexts[n]
        kept = select(values[slot], counters, size[slot], out_rows[n], out_scores[n])
        for j in range(kept):
            out_rows[n, j] = items[slot, out_rows[n, j]]
