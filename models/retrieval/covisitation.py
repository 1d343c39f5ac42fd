"""The generators `next` and `previous`: sequential co-visitation."""

from typing import Literal

import numpy as np

from models.core import SESSION, Batch, Candidates, Floats, QueryBatch, Rows
from models.kernels.decay import decayed
from models.kernels.jit import Array, kernel
from models.kernels.scratch import Scratch
from models.kernels.topk import select
from models.state import Table
from models.units import DAY_MS

AGE_DECAY = 0.6
"""Weight of a history item against the one after it; the best of .4 to .9 on shops' logs."""


class CoVisitation:
    """What came after (or before) this user's latest items, in the histories of others.

        c_ab(t) = Σ w / distance(a, b) · 2^(−(t − t_event) / half-life)      over events b with a before them
        score(b | history) = Σ_j 0.6^age_j · c_jb / √(Σ_b c_jb)

    The item-to-item counts of Linden, Smith and York 2003 ("Amazon.com Recommendations"), made directed, with
    the distance weighting of sequential rules (Ludewig and Jannach 2018, "Evaluation of Session-based
    Recommendation Algorithms") and learnt one event at a time.  Both directions read the latest `SESSION`
    items across sessions: an item before a pause still leads to the one after it.  An item
    may be its own neighbour, and so it is learnt which items are repeated.

    Each item keeps its strongest neighbours: a new one replaces the weakest and starts with its own weight
    only.

    Cost: learn ≤ 8 rows an event, about 0.4 µs; propose ≤ 8 rows of neighbours, 3 to 5 µs.
    Memory: 24 + 8 × `neighbours` bytes an item.

    Parameters
    ----------
    capacity
        Number of item rows.
    direction
        `next`: from an item to those that followed it; `previous`: to those before it.
    neighbours
        Neighbours kept of an item; 96 gained nothing.
    half_life_ms
        Event time after which an event counts half, ms.  Four weeks suit shops, hours suit news.

    Examples
    --------
    >>> from models.small_batches import query_batch, session_batch
    >>> generator = CoVisitation(100)
    >>> generator.learn(session_batch([[0, 1], [0, 1], [0, 2]]))
    >>> candidates = generator.propose(query_batch([[0]]), 1)
    >>> int(candidates.rows[0, 0]), round(float(candidates.scores[0, 0]), 2)
    (1, 1.15)
    """

    def __init__(
        self,
        capacity: int,
        direction: Literal["next", "previous"] = "next",
        neighbours: int = 48,
        half_life_ms: float = 28 * DAY_MS,
    ) -> None:
        self.direction, self.half_life_ms = direction, float(half_life_ms)
        self.state = Table(
            capacity,
            [
                ("size", "<i4"),
                ("time", "<i8"),
                ("total", "<f4"),
                ("neighbours", "<i4", neighbours),
                ("weights", "<f4", neighbours),
            ],
        )
        self._size, self._time, self._total = (self.state[name] for name in ("size", "time", "total"))
        self._neighbours, self._weights = self.state["neighbours"], self.state["weights"]
        self._scratch = Scratch(
            (capacity, np.float32),  # score
            (capacity, np.float32),  # the strongest part of it
            (capacity, np.int8),  # and the column of the history that gave it
        )

    @property
    def neighbour_counts(self) -> tuple[Rows, Floats, Rows, Floats]:
        """Neighbours and their weights by row, [capacity, `neighbours`]; their number and the sum of all
        weights, [capacity]; read-only.
        """
        return self._neighbours, self._weights, self._size, self._total

    def learn(self, batch: Batch) -> None:
        """Join each example's item with the user's items before it."""
        _learn(
            batch.items, batch.queries.history, batch.weights, batch.queries.times,
            self.direction == "next", self.half_life_ms,
            self._neighbours, self._weights, self._size, self._time, self._total, self.state.dirty,
        )  # fmt: skip

    def evict(self, rows: Rows) -> None:
        """Remove these items, as neighbours too."""
        evicted = np.zeros(self.state.rows, np.bool_)
        evicted[rows] = True
        _evict(evicted, self._neighbours, self._weights, self._size, self.state.dirty)
        self.state.clear(rows)

    def propose(self, queries: QueryBatch, k: int) -> Candidates:
        """The neighbours of the latest items; those of the latest one weigh most."""
        out = Candidates.empty(len(queries.history), k)
        _propose(
            queries.history, self._neighbours, self._weights, self._size, self._total, AGE_DECAY,
            self._scratch.arrays, out.rows, out.scores, out.sources,
        )  # fmt: skip
        return out


@kernel
def _learn(
    items: Array,
    histories: Array,
    item_weights: Array,
    times: Array,
    forward: bool,
    half_life_ms: float,
    neighbours: Array,
    weights: Array,
    size: Array,
    time: Array,
    total: Array,
    dirty: Array,
) -> None:
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


@kernel
def _evict(evicted: Array, neighbours: Array, weights: Array, size: Array, dirty: Array) -> None:
    for a in range(len(size)):
        kept = 0
        for j in range(size[a]):
            if not evicted[neighbours[a, j]]:
                neighbours[a, kept], weights[a, kept] = neighbours[a, j], weights[a, j]
                kept += 1
        if kept < size[a]:
            neighbours[a, kept : size[a]] = 0
            weights[a, kept : size[a]] = 0
            size[a] = kept
            dirty[a] = True


@kernel
def _propose(
    histories: Array,
    neighbours: Array,
    weights: Array,
    size: Array,
    total: Array,
    age_decay: float,
    scratch: tuple[Array, ...],
    out_rows: Array,
    out_scores: Array,
    out_sources: Array,
) -> None:
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
        selected = select(score, among, count, out_rows[n], out_scores[n])
        for j in range(selected):
            out_sources[n, j] = source[out_rows[n, j]]
        for j in range(count):
            score[among[j]] = 0
