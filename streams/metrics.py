"""What a worker counts: totals, ages, rates.

Ages go into a histogram of fixed buckets, so that those of several workers add up.
"""

import time
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable
from dataclasses import fields

from streams.serve import Counts

AGE_BUCKETS_MS = (
    1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20, 25, 32, 40, 50, 65, 80, 100, 150, 200, 300, 500, 1000, 2000, 5000,
    10_000, 30_000, 60_000,
)  # fmt: skip
"""Upper bounds, ms; one more bucket holds the rest."""
WINDOW_S = 10
"""Rates and the ages on the pages are over the last so many seconds."""


class Histogram:
    """Counts by age bucket.

    >>> h = Histogram()
    >>> h.add([3, 3, 700])
    >>> h.quantile(0.5), h.quantile(0.99)
    (3.0, 1000.0)
    """

    def __init__(self) -> None:
        self.buckets = [0] * (len(AGE_BUCKETS_MS) + 1)
        self.sum_ms = 0

    def add(self, ages_ms: Iterable[int]) -> None:
        """Count ages."""
        for age in ages_ms:
            self.buckets[bisect_left(AGE_BUCKETS_MS, age)] += 1
            self.sum_ms += age

    @property
    def count(self) -> int:
        """Ages counted."""
        return sum(self.buckets)

    def quantile(self, share: float) -> float | None:
        """Upper bound of the bucket that the quantile is in, ms; None when nothing was counted."""
        wanted, seen = share * self.count, 0
        for bound, count in zip((*AGE_BUCKETS_MS, float("inf")), self.buckets, strict=True):
            seen += count
            if count and seen >= wanted:
                return float(bound)
        return None


class Metrics:
    """Totals since the start, and the latest seconds."""

    def __init__(self) -> None:
        self.started = time.time()
        self.totals = Counts()
        self.ages = Histogram()
        self._seconds: deque[tuple[int, Counts, Histogram]] = deque(maxlen=WINDOW_S + 1)

    def add(self, counts: Counts, ages_ms: list[int]) -> None:
        """Count a step."""
        second = int(time.monotonic())
        if not self._seconds or self._seconds[-1][0] != second:
            self._seconds.append((second, Counts(), Histogram()))
        _, latest, ages = self._seconds[-1]
        for total in (self.totals, latest):
            _add(total, counts)
        for histogram in (self.ages, ages):
            histogram.add(ages_ms)

    def window(self) -> tuple[float, Counts, Histogram]:
        """Seconds, counts and ages of the last whole seconds, at most `WINDOW_S`."""
        now = int(time.monotonic())
        counts, ages = Counts(), Histogram()
        for second, one, histogram in self._seconds:
            if now - WINDOW_S <= second < now:
                _add(counts, one)
                ages.buckets = [a + b for a, b in zip(ages.buckets, histogram.buckets, strict=True)]
                ages.sum_ms += histogram.sum_ms
        return max(min(WINDOW_S, time.time() - self.started), 1.0), counts, ages


def _add(total: Counts, more: Counts) -> None:
    for field in fields(Counts):
        if field.name == "dead_letters":
            for reason, count in more.dead_letters.items():
                total.dead_letters[reason] = total.dead_letters.get(reason, 0) + count
        else:
            setattr(total, field.name, getattr(total, field.name) + getattr(more, field.name))
