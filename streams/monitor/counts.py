"""What a serving worker counts: totals since its start, and a histogram of recommendation ages.

The histogram has fixed buckets, so that those of several workers add up.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields

from streams.step.serve import Record
from streams.step.writes import Counts, Writes

AGE_BUCKETS_MS = (
    1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20, 25, 32, 40, 50, 65, 80, 100, 150, 200, 300, 500, 1000, 2000, 5000,
    10_000, 30_000, 60_000,
)  # fmt: skip
"""Upper bounds of the buckets, ms; one more bucket holds what is above."""
_NAMES = tuple(f"age_ms:{bound}" for bound in (*AGE_BUCKETS_MS, "more"))


class Histogram:
    """Number of ages by bucket.

    >>> histogram = Histogram()
    >>> histogram.add([3, 3, 700])
    >>> histogram.quantile(0.5), histogram.quantile(0.99)
    (3.0, 1000.0)
    """

    def __init__(self) -> None:
        self.buckets = [0] * (len(AGE_BUCKETS_MS) + 1)
        self.sum_ms = 0

    def add(self, ages_ms: Iterable[int]) -> None:
        """Count these ages, ms."""
        for age in ages_ms:
            self.buckets[bisect_left(AGE_BUCKETS_MS, age)] += 1
            self.sum_ms += age

    @classmethod
    def from_counts(cls, counts: Mapping[str, float]) -> "Histogram":
        """The inverse of `counts`; other names are ignored."""
        histogram = cls()
        histogram.buckets = [int(counts.get(name, 0)) for name in _NAMES]
        histogram.sum_ms = int(counts.get("age_ms", 0))
        return histogram

    def counts(self) -> dict[str, float]:
        """The non-empty buckets and the sum, by name."""
        buckets = {name: count for name, count in zip(_NAMES, self.buckets, strict=True) if count}
        return {"age_ms": self.sum_ms, **buckets}

    @property
    def count(self) -> int:
        """Number of ages."""
        return sum(self.buckets)

    def quantile(self, share: float) -> float | None:
        """Upper bound of the bucket that the quantile lies in, ms; None when nothing was counted.

        An age above the last bound is reported as that bound, because JSON has no infinity.
        """
        rank, seen = share * self.count, 0
        for bound, count in zip((*AGE_BUCKETS_MS, AGE_BUCKETS_MS[-1]), self.buckets, strict=True):
            seen += count
            if count and seen >= rank:
                return float(bound)
        return None


class Metrics:
    """A serving worker's totals since its start."""

    def __init__(self) -> None:
        self.totals = Counts()
        self.ages = Histogram()
        self.rebalances = 0

    def add(self, records: Sequence[Record], writes: Writes) -> None:
        """Count a micro-batch; a subscriber of `Serving`."""
        self.totals.add(writes.counts)
        self.ages.add(writes.ages_ms)

    def counts(self) -> dict[str, float]:
        """Totals by name or name:label; those of several workers add up."""
        totals = {f.name: getattr(self.totals, f.name) for f in fields(Counts) if f.name != "dead_letters"}
        letters = {f"dead_letter:{reason}": count for reason, count in self.totals.dead_letters.items()}
        return totals | letters | self.ages.counts() | {"rebalances": self.rebalances}
