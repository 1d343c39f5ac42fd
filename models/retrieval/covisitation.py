"""Sequential co-visitation: what came after (or before) this user's latest items, in others' histories.

    c_ab(t) = Σ w / distance(a, b) · 2^(−(t − t_event) / half-life)      over events b with a before them
    score(b | history) = Σ_j 0.6^age_j · c_jb / √(Σ_b c_jb)

The item-to-item counts of Linden et al. 2003 ("Amazon.com Recommendations"), made directed, with the
distance weighting of sequential rules (Ludewig & Jannach 2018, "Evaluation of Session-based
Recommendation Algorithms") and learnt one event at a time.  `next` looks from an item to what followed
it, `previous` to what came before.  Both look at the latest `SESSION` items whatever session they are of:
an item that was looked at before a pause still leads to the one after it.  An item may be its own neighbour:
so it is learnt which are looked at again.

Each item keeps its `neighbours` strongest: a newcomer replaces the weakest and starts with its own
weight only.  Cost: learn ≤ 8 rows an event, about 0.4 µs; propose ≤ 8 rows of neighbours, 3 to 5 µs.
Memory: 24 + 8 × `neighbours` bytes an item.
"""

from typing import Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray

from models.core import SESSION, Batch, Candidates, QueryBatch, Rows
from models.kernels.decay import DAY_MS, decayed
from models.kernels.scratch import Scratch
from models.kernels.topk import select

AGE_DECAY = 0.6
"""Weight of an item against the one after it; measured best of .4 to .9 on shops' logs."""


class CoVisitation:
    """A bounded row of decayed neighbours an item."""

    def __init__(
        self,
        capacity: int,
        direction: Literal["next", "previous"] = "next",
        neighbours: int = 48,
        half_life_ms: float = 28 * DAY_MS,
    ) -> None:
        self.rows, self.direction, self.half_life_ms = capacity, direction, half_life_ms
        self.dtype = np.dtype(
            [
                ("row", "<i4"),
                ("size", "<i4"),
                ("time", "<i8"),
                ("total", "<f4"),
                ("neighbours", "<i4", neighbours),
                ("weights", "<f4", neighbours),
            ]
        )
        self._neighbours = np.zeros((capacity, neighbours), np.int32)
        self._weights = np.zeros((capacity, neighbours), np.float32)
        self._size = np.zeros(capacity, np.int32)
        self._time = np.zeros(capacity, np.int64)
        self._total = np.zeros(capacity, np.float32)
        self._dirty = np.zeros(capacity, np.bool_)
        self._used = 0
        self._scratch = Scratch(
            (capacity, np.float32),  # score
            (capacity, np.float32),  # the strongest part of it
            (capacity, np.int8),  # and the column of the history that gave it
        )

    def learn(self, batch: Batch) -> None:
        """Join each example's item with the user's items before it."""
        _learn(
            batch.items, batch.queries.history, batch.weights, batch.queries.times,
            self.direction == "next", self.half_life_ms,
            self._neighbours, self._weights, self._size, self._time, self._total, self._dirty,
        )  # fmt: skip
        if len(batch):
            self._used = max(self._used, int(batch.items.max()) + 1, int(batch.queries.history.max()) + 1)

    def touched(self) -> Rows:
        """See `Generator`."""
        rows = np.flatnonzero(self._dirty[: self._used]).astype(np.int32)
        self._dirty[rows] = False
        return rows

    def dump(self, rows: Rows) -> NDArray[np.void]:
        """See `Generator`."""
        out = np.zeros(len(rows), self.dtype)
        out["row"], out["size"], out["time"] = rows, self._size[rows], self._time[rows]
        out["total"] = self._total[rows]
        out["neighbours"], out["weights"] = self._neighbours[rows], self._weights[rows]
        return out

    def apply(self, rows: NDArray[np.void]) -> None:
        """See `Generator`."""
        if not len(rows):
            return
        at = rows["row"]
        self._size[at], self._time[at], self._total[at] = rows["size"], rows["time"], rows["total"]
        self._neighbours[at], self._weights[at] = rows["neighbours"], rows["weights"]
        self._used = max(self._used, int(at.max()) + 1)

    def evict(self, rows: Rows) -> None:
        """See `Generator`."""
        gone = np.zeros(len(self._size), np.bool_)
        gone[rows] = True
        _evict(gone, self._used, self._neighbours, self._weights, self._size, self._dirty)
        self._size[rows], self._total[rows], self._time[rows] = 0, 0.0, 0
        self._neighbours[rows], self._weights[rows] = 0, 0.0
        self._dirty[rows] = True

    def propose(self, queries: QueryBatch, k: int) -> Candidates:
        """The neighbours of the latest items, the latest one's weighing most."""
        n = len(queries.history)
        out = Candidates(
            np.full((n, k), -1, np.int32), np.zeros((n, k), np.float32), np.full((n, k), -1, np.int8)
        )
        _propose(
            queries.history, self._neighbours, self._weights, self._size, self._total, AGE_DECAY,
            self._scratch.arrays, out.rows, out.scores, out.sources,
        )  # fmt: skip
        return out


@njit(cache=True, nogil=True)
def _learn(  # type: ignore[no-untyped-def]
    items,
    histories,
    item_weights,
    times,
    forward,
    half_life_ms,
    neighbours,
    weights,
    size,
    time,
    total,
    dirty,
):
    capacity = neighbours.shape[1]
    for n in range(len(items)):
        item = items[n]
        if item < 0:
            continue
        for distance in range(SESSION):
            earlier = histories[n, distance]
            if earlier < 0:
                break
            a, b = (earlier, item) if forward else (item, earlier)
            added = np.float64(item_weights[n]) / (distance + 1)
            if times[n] > time[a]:
                keep = decayed(1.0, times[n] - time[a], half_life_ms)
                total[a] *= keep
                for j in range(size[a]):
                    weights[a, j] *= keep
                time[a] = times[n]
            else:
                added = np.float64(decayed(added, time[a] - times[n], half_life_ms))
            total[a] += added
            dirty[a] = True
            weakest = 0
            for j in range(size[a]):
                if neighbours[a, j] == b:
                    weights[a, j] += added
                    break
                if weights[a, j] < weights[a, weakest]:
                    weakest = j
            else:
                at = size[a]
                if at < capacity:
                    size[a] = at + 1
                else:
                    at = weakest
                neighbours[a, at] = b
                weights[a, at] = added


@njit(cache=True, nogil=True)
def _evict(gone, used, neighbours, weights, size, dirty):  # type: ignore[no-untyped-def]
    for a in range(used):
        kept = 0
        for j in range(size[a]):
            if not gone[neighbours[a, j]]:
                neighbours[a, kept], weights[a, kept] = neighbours[a, j], weights[a, j]
                kept += 1
        if kept < size[a]:
            neighbours[a, kept : size[a]] = 0
            weights[a, kept : size[a]] = 0
            size[a] = kept
            dirty[a] = True


@njit(cache=True, nogil=True)
def _propose(  # type: ignore[no-untyped-def]
    histories,
    neighbours,
    weights,
    size,
    total,
    age_decay,
    scratch,
    out_rows,
    out_scores,
    out_sources,
):
    score, strongest, source = scratch
    among = np.empty(SESSION * neighbours.shape[1], np.int32)
    for n in range(len(histories)):
        count = 0
        vote = 1.0
        for column in range(SESSION):
            a = histories[n, column]
            if a < 0:
                break
            if total[a] > 0:
                scale = np.float32(vote / np.sqrt(total[a]))
                for j in range(size[a]):
                    b = neighbours[a, j]
                    part = scale * weights[a, j]
                    if score[b] == 0:
                        among[count] = b
                        count += 1
                        strongest[b] = 0
                    score[b] += part
                    if part > strongest[b]:
                        strongest[b] = part
                        source[b] = column
            vote *= age_decay
        found = select(score, among, count, out_rows[n], out_scores[n])
        for j in range(found):
            out_sources[n, j] = source[out_rows[n, j]]
        for j in range(found, out_rows.shape[1]):
            out_rows[n, j] = -1
            out_scores[n, j] = 0
        for j in range(count):
            score[among[j]] = 0
