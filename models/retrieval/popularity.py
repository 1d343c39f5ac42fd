"""Decayed popularity: what everybody looks at, lately.

    p_i(t) = Σ_events w · 2^(−(t − t_event) / half-life)

The same list for every session: the floor that any model must beat, and what fills a list when nothing
else is known.  All counts halve alike, so that an item rises into the list only by an event of its own, and
only what changed is ranked anew.  Cost: learn O(1) an event; propose O(k) a session, and O(changed items)
once a state of the model.
Memory: 24 bytes an item.
"""

import threading

import numpy as np
from numba import njit
from numpy.typing import NDArray

from models.core import Batch, Candidates, Floats, QueryBatch, Rows
from models.kernels.decay import DAY_MS, decayed

RANKED = 200
"""Items kept in order, at least: more than are asked for, should some of them fall behind."""
STATES = 64
"""After so many that nobody asked about, all are ranked anew."""


class Popularity:
    """Counts of events by item, each halved every `half_life_ms`."""

    def __init__(self, capacity: int, half_life_ms: float = DAY_MS) -> None:
        self.rows, self._half_life_ms = capacity, half_life_ms
        self.dtype = np.dtype([("row", "<i4"), ("events", "<i4"), ("value", "<f8"), ("time", "<i8")])
        self.events = np.zeros(capacity, np.int32)
        """Events learnt of each item, undecayed."""
        self._value = np.zeros(capacity, np.float64)
        self._time = np.zeros(capacity, np.int64)
        self._dirty = np.zeros(capacity, np.bool_)
        self._used = 0
        self._now = 0
        self._ranking: tuple[int, Rows, Floats] | None = None
        """So many of the best, if they are so many; None: not known."""
        self._changed: list[Rows] = []
        """Rows since then."""
        self._ranks = threading.Lock()

    @property
    def half_life_ms(self) -> float:
        """After what time an event counts half."""
        return self._half_life_ms

    @half_life_ms.setter
    def half_life_ms(self, ms: float) -> None:
        self._half_life_ms, self._ranking = ms, None  # what is older falls behind, or comes back

    def learn(self, batch: Batch) -> None:
        """Count each example's item."""
        _learn(
            batch.items, batch.weights, batch.queries.times, self.half_life_ms,
            self.events, self._value, self._time, self._dirty,
        )  # fmt: skip
        if len(batch):
            self._used = max(self._used, int(batch.items.max()) + 1)
            self._now = max(self._now, int(batch.queries.times.max()))
            self._note(batch.items[batch.items >= 0])

    def touched(self) -> Rows:
        """See `Generator`."""
        rows = np.flatnonzero(self._dirty[: self._used]).astype(np.int32)
        self._dirty[rows] = False
        return rows

    def dump(self, rows: Rows) -> NDArray[np.void]:
        """See `Generator`."""
        out = np.zeros(len(rows), self.dtype)
        out["row"], out["events"] = rows, self.events[rows]
        out["value"], out["time"] = self._value[rows], self._time[rows]
        return out

    def apply(self, rows: NDArray[np.void]) -> None:
        """See `Generator`."""
        if not len(rows):
            return
        at = rows["row"]
        self.events[at], self._value[at], self._time[at] = rows["events"], rows["value"], rows["time"]
        self._used = max(self._used, int(at.max()) + 1)
        self._now = max(self._now, int(rows["time"].max()))
        self._note(at)

    def evict(self, rows: Rows) -> None:
        """See `Generator`."""
        self.events[rows], self._value[rows], self._time[rows] = 0, 0.0, 0
        self._dirty[rows] = True
        self._ranking = None

    def propose(self, queries: QueryBatch, k: int) -> Candidates:
        """The k most popular items, for everybody."""
        rows, scores = self.top(k)
        n, found = len(queries.history), len(rows)
        out = np.full((n, k), -1, np.int32)
        out[:, :found] = rows
        out_scores = np.zeros((n, k), np.float32)
        out_scores[:, :found] = scores
        return Candidates(out, out_scores, np.full((n, k), -1, np.int8))

    def top(self, k: int) -> tuple[Rows, Floats]:
        """The k most popular rows and their decayed counts, best first; ties to the lower row."""
        with self._ranks:
            if self._ranking is None or self._ranking[0] < k or len(self._changed) > STATES:
                self._rank(np.arange(self._used, dtype=np.int32), max(k, RANKED))
            elif self._changed:
                keep, before, _ = self._ranking
                self._rank(np.unique(np.concatenate([before, *self._changed])), keep)
            assert self._ranking is not None
            _, rows, scores = self._ranking
        return rows[:k], scores[:k]

    def _note(self, changed: Rows) -> None:
        if self._ranking is not None and len(self._changed) <= STATES:
            self._changed.append(changed)

    def _rank(self, among: Rows, keep: int) -> None:
        value = self.values(among)
        found = min(keep, len(among))
        best = np.argpartition(-value, found - 1)[:found] if found else np.zeros(0, np.int64)
        best = best[np.lexsort((among[best], -value[best]))]
        best = best[value[best] > 0]
        self._ranking, self._changed = (keep, among[best], value[best].astype(np.float32)), []

    def values(self, rows: Rows) -> NDArray[np.float64]:
        """The decayed counts of these rows as of the latest event, float64[n]."""
        elapsed = self._now - self._time[rows]
        values: NDArray[np.float64] = self._value[rows] * np.exp2(-elapsed / self.half_life_ms)
        return values


@njit(cache=True, nogil=True)
def _learn(items, weights, times, half_life_ms, events, value, time, dirty):  # type: ignore[no-untyped-def]
    for n in range(len(items)):
        i = items[n]
        if i < 0:
            continue
        events[i] += 1
        dirty[i] = True
        w, t = np.float64(weights[n]), times[n]
        if t >= time[i]:
            value[i] = decayed(value[i], t - time[i], half_life_ms) + w
            time[i] = t
        else:
            value[i] += decayed(w, time[i] - t, half_life_ms)
