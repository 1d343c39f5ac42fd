"""The generators `context-popularity` and `context-trending`: what is popular on this device, for example."""

import numpy as np

from models.core import CONTEXTS, Batch, Candidates, Floats, QueryBatch, Rows
from models.kernels.decay import decayed
from models.kernels.jit import Array, kernel
from models.kernels.topk import select
from models.state import Table
from models.units import DAY_MS


class ContextPopularity:
    """Decayed counts of events by item, for each value of the context.

        p_i(t | c) = Σ_{events in c} w · 2^(−(t − t_event) / half-life)

    The value of the context (`Model`'s `context_key` names it) is hashed to one of `CONTEXTS` slots; events
    without one have a slot of their own.  A slot counts only a few items, by Space-Saving (Metwally, Agrawal
    and El Abbadi 2005, "Efficient Computation of Frequent and Top-k Elements in Data Streams"): a new item
    takes the place *and the count* of the weakest, so that a frequent item cannot be missed, and a count is
    too high by the weakest one at most.  Both hold under decay, which scales all counts of a slot alike.

    Cost: learn O(`counters`), about 0.2 µs an event; propose about 2 µs a query.
    Memory: `CONTEXTS` + 1 slots of 16 + 8 × `counters` bytes, 1 MB, however many items.

    Parameters
    ----------
    capacity
        Number of item rows.
    half_life_ms
        Event time after which an event counts half, ms.
    counters
        Items that a slot counts; more than any list has candidates.

    Examples
    --------
    >>> from models.small_batches import query_batch, session_batch
    >>> generator = ContextPopularity(100)
    >>> generator.learn(session_batch([[7, 3], [7]]))
    >>> generator.propose(query_batch([[3]]), 2).scores.tolist()
    [[2.0, 1.0]]
    """

    def __init__(self, capacity: int, half_life_ms: float = DAY_MS, counters: int = 128) -> None:
        self.half_life_ms = float(half_life_ms)
        self.state = Table(
            CONTEXTS + 1,
            [
                ("size", "<i4"),
                ("time", "<i8"),
                ("items", "<i4", counters),
                ("values", "<f4", counters),
            ],
        )
        self._size, self._time = self.state["size"], self.state["time"]
        self._items, self._values = self.state["items"], self.state["values"]
        self._capacity = capacity

    def learn(self, batch: Batch) -> None:
        """Count each example's item in its context; the last slot is that of no context."""
        _learn(
            batch.items, batch.queries.contexts, batch.weights, batch.queries.times, self.half_life_ms,
            self._size, self._time, self._items, self._values, self.state.dirty,
        )  # fmt: skip

    def evict(self, rows: Rows) -> None:
        """Remove these items from all contexts."""
        evicted = np.zeros(self._capacity, np.bool_)
        evicted[rows] = True
        _evict(evicted, self._size, self._items, self._values, self.state.dirty)

    def propose(self, queries: QueryBatch, k: int) -> Candidates:
        """The k most popular items of each query's context."""
        out = Candidates.empty(len(queries.contexts), k)
        _propose(queries.contexts, self._size, self._items, self._values, out.rows, out.scores)
        return out

    def freshness(self, queries: QueryBatch) -> Floats:
        """The factor by which the counts of each query's context have decayed until now, float32[n]."""
        elapsed = np.maximum(queries.times - self._time[queries.contexts], 0)
        faded: Floats = np.exp2(-elapsed / self.half_life_ms).astype(np.float32)
        return faded


@kernel
def _learn(
    rows: Array,
    contexts: Array,
    weights: Array,
    times: Array,
    half_life_ms: float,
    size: Array,
    time: Array,
    items: Array,
    values: Array,
    dirty: Array,
) -> None:
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


@kernel
def _evict(evicted: Array, size: Array, items: Array, values: Array, dirty: Array) -> None:
    for slot in range(len(size)):
        kept = 0
        for j in range(size[slot]):
            if not evicted[items[slot, j]]:
                items[slot, kept], values[slot, kept] = items[slot, j], values[slot, j]
                kept += 1
        if kept < size[slot]:
            items[slot, kept:], values[slot, kept:] = 0, 0
            size[slot] = kept
            dirty[slot] = True


@kernel
def _propose(
    contexts: Array, size: Array, items: Array, values: Array, out_rows: Array, out_scores: Array
) -> None:
    counters = np.arange(items.shape[1]).astype(np.int32)
    for n in range(len(contexts)):
        slot = contexts[n]
        selected = select(values[slot], counters, size[slot], out_rows[n], out_scores[n])
        for j in range(selected):
            out_rows[n, j] = items[slot, out_rows[n, j]]
