"""The generators `popularity` and `trending`: the items with the most recent events, by decayed counts."""

import threading

import numpy as np
from numpy.typing import NDArray

from models.core import Batch, Candidates, Floats, QueryBatch, Rows
from models.kernels.decay import decayed
from models.kernels.jit import Array, kernel
from models.state import Records, Table
from models.units import DAY_MS

RANKED = 200
"""Items kept in order, at least: more than a list needs, in case some of them fall behind."""
STATES = 64
"""Changes that may wait to be ranked; after more, all items are ranked again."""


class Popularity:
    """Counts of events by item, each halved every `half_life_ms`; the same list for every query.

        p_i(t) = Σ_events w · 2^(−(t − t_event) / half-life)

    Exponential decay from a time kept with each count (Cormode, Shkapenyuk, Srivastava and Xu 2009, "Forward
    Decay: A Practical Time Decay Model for Streaming Systems").  It is the floor that any model must beat,
    and fills a list when nothing else is known.  All counts halve alike, so that an item rises into the list
    only by an event of its own, and only items that changed are ranked again.  Cost: learn O(1) an event;
    propose O(k) a query, and O(changed items) once a state of the model.  Memory: 21 bytes an item.

    Parameters
    ----------
    capacity
        Number of item rows.
    half_life_ms
        Event time after which an event counts half, ms: a day for `popularity`, two hours for `trending`.

    Examples
    --------
    >>> from models.small_batches import session_batch
    >>> generator = Popularity(100)
    >>> generator.learn(session_batch([[7, 3], [7]]))
    >>> generator.values(np.array([3, 7])).tolist()
    [1.0, 2.0]
    """

    def __init__(self, capacity: int, half_life_ms: float = DAY_MS) -> None:
        self.state = Table(
            capacity, [("events", "<i4"), ("value", "<f8"), ("time", "<i8")], applied=self._applied
        )
        self.events: NDArray[np.int32] = self.state["events"]
        """Events learnt of each item, undecayed; int32[capacity]."""
        self._value, self._time = self.state["value"], self.state["time"]
        self._half_life_ms = float(half_life_ms)
        self._now = 0
        """Time of the latest event, ms."""
        self._ranking: tuple[int, Rows, Floats] | None = None
        """Number of items that were to be ranked, the best rows and their counts; None: rank all again."""
        self._changed: list[Rows] = []
        """Rows that changed since `_ranking`."""
        self._lock = threading.Lock()

    @property
    def half_life_ms(self) -> float:
        """Event time after which an event counts half, ms."""
        return self._half_life_ms

    @half_life_ms.setter
    def half_life_ms(self, ms: float) -> None:
        self._half_life_ms = ms
        self._rank_all_again()  # another rate changes the order of old and new counts

    def learn(self, batch: Batch) -> None:
        """Count each example's item."""
        _learn(
            batch.items, batch.weights, batch.queries.times, self.half_life_ms,
            self.events, self._value, self._time,
        )  # fmt: skip
        if len(batch):
            self.state.mark(batch.items)
            self._changes(batch.items[batch.items >= 0], int(batch.queries.times.max()))

    def evict(self, rows: Rows) -> None:
        """Remove these items."""
        self.state.clear(rows)
        self._rank_all_again()

    def propose(self, queries: QueryBatch, k: int) -> Candidates:
        """The k most popular items, for every query."""
        rows, scores = self.top(k)
        out = Candidates.empty(len(queries.history), k)
        out.rows[:, : len(rows)], out.scores[:, : len(rows)] = rows, scores
        return out

    def top(self, k: int) -> tuple[Rows, Floats]:
        """The k most popular rows and their decayed counts, best first; ties to the lower row."""
        with self._lock:
            if self._ranking is None or self._ranking[0] < k or len(self._changed) > STATES:
                self._rank(np.arange(self.state.used, dtype=np.int32), max(k, RANKED))
            elif self._changed:
                size, ranked, _ = self._ranking
                self._rank(np.unique(np.concatenate([ranked, *self._changed])), size)
            assert self._ranking is not None
            _, rows, scores = self._ranking
        return rows[:k], scores[:k]

    def values(self, rows: Rows) -> NDArray[np.float64]:
        """The decayed counts of these rows as of the latest event, float64[n]."""
        elapsed = self._now - self._time[rows]
        values: NDArray[np.float64] = self._value[rows] * np.exp2(-elapsed / self.half_life_ms)
        return values

    def _applied(self, records: Records) -> None:
        self._changes(records["row"], int(records["time"].max()))

    def _changes(self, rows: Rows, time: int) -> None:
        """Note rows that have changed: a ranking in another thread may have read them before."""
        with self._lock:
            self._now = max(self._now, time)
            if self._ranking is not None and len(self._changed) <= STATES:
                self._changed.append(rows)

    def _rank_all_again(self) -> None:
        with self._lock:
            self._ranking = None

    def _rank(self, among: Rows, size: int) -> None:
        values = self.values(among)
        count = min(size, len(among))
        best = np.argpartition(-values, count - 1)[:count] if count else np.zeros(0, np.int64)
        best = best[np.lexsort((among[best], -values[best]))]
        best = best[values[best] > 0]
        self._ranking, self._changed = (size, among[best], values[best].astype(np.float32)), []


@kernel
def _learn(
    items: Array,
    weights: Array,
    times: Array,
    half_life_ms: float,
    events: Array,
    value: Array,
    time: Array,
) -> None:
    for n in range(len(items)):
        i = items[n]
        if i < 0:
            continue
        events[i] += 1
        w, t = np.float64(weights[n]), times[n]
        if t >= time[i]:
            value[i] = decayed(value[i], t - time[i], half_life_ms) + w
            time[i] = t
        else:
            value[i] += decayed(w, time[i] - t, half_life_ms)
