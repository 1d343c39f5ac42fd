"""What is known of each item by itself: how popular, how lately, how long.

    log p_ih(t) = log Σ_events w · 2^(−(t − t_event) / half-life_h)        for three half-lives

kept as logarithms as of the item's latest event, so that reading them later is one subtraction.  The
counts decay by event time and never grow with it; see `models.kernels.decay`.  Cost: learn O(1) an event.
Memory: 32 bytes an item.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from models.core import Batch, Floats, Rows
from models.kernels.decay import DAY_MS, HOUR_MS

HALF_LIVES_MS = (HOUR_MS, DAY_MS, 14 * DAY_MS)
"""What is trending, what is popular, what sells."""


class ItemStatistics:
    """Popularity in three half-lives, and when an item was first and last seen."""

    def __init__(self, capacity: int) -> None:
        self.rows = capacity
        self.dtype = np.dtype(
            [("row", "<i4"), ("first", "<i8"), ("last", "<i8"), ("popularity", "<f4", len(HALF_LIVES_MS))]
        )
        self.first = np.zeros(capacity, np.int64)
        """Time of the first event, ms; int64[capacity]."""
        self.last = np.zeros(capacity, np.int64)
        self.popularity: Floats = np.zeros((capacity, len(HALF_LIVES_MS)), np.float32)
        """Logarithms of the decayed counts as of `last`, float32[capacity, 3]."""
        self.known = np.zeros(capacity, np.bool_)
        self._dirty = np.zeros(capacity, np.bool_)
        self._used = 0

    def learn(self, batch: Batch) -> None:
        """Count each example's item."""
        _learn(
            batch.items, batch.weights, batch.queries.times, np.array(HALF_LIVES_MS),
            self.first, self.last, self.popularity, self.known, self._dirty,
        )  # fmt: skip
        if len(batch):
            self._used = max(self._used, int(batch.items.max()) + 1)

    def touched(self) -> Rows:
        """See `Component`."""
        rows = np.flatnonzero(self._dirty[: self._used]).astype(np.int32)
        self._dirty[rows] = False
        return rows

    def dump(self, rows: Rows) -> NDArray[np.void]:
        """See `Component`."""
        out = np.zeros(len(rows), self.dtype)
        out["row"], out["first"], out["last"] = rows, self.first[rows], self.last[rows]
        out["popularity"] = np.where(self.known[rows, None], self.popularity[rows], -np.inf)
        return out

    def apply(self, rows: NDArray[np.void]) -> None:
        """See `Component`."""
        if not len(rows):
            return
        at = rows["row"]
        self.first[at], self.last[at] = rows["first"], rows["last"]
        self.known[at] = np.isfinite(rows["popularity"][:, 0])
        self.popularity[at] = np.where(self.known[at, None], rows["popularity"], 0)
        self._used = max(self._used, int(at.max()) + 1)

    def evict(self, rows: Rows) -> None:
        """See `Component`."""
        self.first[rows], self.last[rows], self.popularity[rows], self.known[rows] = 0, 0, 0.0, False
        self._dirty[rows] = True


@njit(cache=True, nogil=True)
def _learn(  # type: ignore[no-untyped-def]
    items, weights, times, half_lives_ms, first, last, popularity, known, dirty
):
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
            faded = 0.6931471805599453 * abs(elapsed) / half_lives_ms[h]
            a, b = np.float64(popularity[i, h]), added
            if elapsed >= 0:
                a -= faded
            else:
                b -= faded
            popularity[i, h] = max(a, b) + np.log1p(np.exp(-abs(a - b)))
        first[i], last[i] = min(first[i], t), max(last[i], t)
