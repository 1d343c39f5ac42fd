"""Statistics of each item: how popular it is, when it was first and last seen."""

import numpy as np
from numpy.typing import NDArray

from models.core import Batch, Floats, Rows
from models.kernels.decay import LN2
from models.kernels.jit import Array, kernel
from models.state import Records, Table
from models.units import DAY_MS, HOUR_MS

HALF_LIVES_MS = (HOUR_MS, DAY_MS, 14 * DAY_MS)
"""An hour tells what is trending, a day what is popular, two weeks what sells."""


class ItemStatistics:
    """Popularity of each item in three half-lives, and the times of its first and last event.

        log p_ih(t) = log Σ_events w · 2^(−(t − t_event) / half-life_h)

    The logarithms are those as of the item's latest event, so that reading them later is one subtraction; the
    counts never grow with time (`models.kernels.decay`).  Cost: learn O(1) an event.  Memory: 32 bytes an
    item.

    Parameters
    ----------
    capacity
        Number of item rows.

    Examples
    --------
    >>> from models.small_batches import session_batch
    >>> statistics = ItemStatistics(100)
    >>> statistics.learn(session_batch([[3], [3]]))
    >>> np.exp(statistics.popularity[3]).round().tolist()
    [2.0, 2.0, 2.0]
    """

    def __init__(self, capacity: int) -> None:
        self.state = Table(
            capacity,
            [("first", "<i8"), ("last", "<i8"), ("popularity", "<f4", len(HALF_LIVES_MS))],
            applied=self._applied,
        )
        self.first: NDArray[np.int64] = self.state["first"]
        """Time of the first event, ms; int64[capacity]."""
        self.last: NDArray[np.int64] = self.state["last"]
        """Time of the latest event, ms; int64[capacity]."""
        self.popularity: Floats = self.state["popularity"]
        """Logarithms of the decayed counts as of `last`, float32[capacity, 3]; -inf of an evicted item."""
        self.known = np.zeros(capacity, np.bool_)
        """bool[capacity]: whether the item has had an event."""
        self.updates = 0
        """Number of events learnt and rows applied so far."""

    def events(self, rows: Rows | slice) -> NDArray[np.float64]:
        """Events of these items, decayed with a half-life of two weeks up to their latest; float64."""
        logs = self.popularity[rows, -1].astype(np.float64)
        return np.where(self.known[rows], np.exp(logs), 0.0)

    def learn(self, batch: Batch) -> None:
        """Count each example's item."""
        self.updates += len(batch)
        _learn(
            batch.items, batch.weights, batch.queries.times, np.array(HALF_LIVES_MS, np.float64),
            self.first, self.last, self.popularity, self.known, self.state.dirty,
        )  # fmt: skip

    def _applied(self, records: Records) -> None:
        rows = records["row"]
        self.updates += len(rows)
        self.known[rows] = np.isfinite(self.popularity[rows, 0])

    def evict(self, rows: Rows) -> None:
        """Remove these items."""
        self.state.clear(rows)
        self.popularity[rows], self.known[rows] = -np.inf, False


@kernel
def _learn(
    items: Array,
    weights: Array,
    times: Array,
    half_lives_ms: Array,
    first: Array,
    last: Array,
    popularity: Array,
    known: Array,
    dirty: Array,
) -> None:
    for n in range(len(items)):
        i = items[n]
        if i < 0 or weights[n] <= 0:
            continue
        added, t = np.log(np.float64(weights[n])), times[n]
        dirty[i] = True
        if not known[i]:
            known[i], first[i], last[i] = True, t, t
            popularity[i] = added
            continue
        elapsed = t - last[i]
        for h in range(len(half_lives_ms)):
            decay = LN2 * abs(elapsed) / half_lives_ms[h]
            a, b = np.float64(popularity[i, h]), added
            if elapsed >= 0:
                a -= decay
            else:
                b -= decay
            popularity[i, h] = max(a, b) + np.log1p(np.exp(-abs(a - b)))
        first[i], last[i] = min(first[i], t), max(last[i], t)
