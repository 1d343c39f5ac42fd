"""Records that were deleted from a topic before this process read them.

A gap between two records is no loss by itself: the markers and the aborted records of transactions have
offsets, too.  It is one as far as it lies below the partition's first offset, because then retention deleted
what was in it.  So gaps are kept until the first offsets are known, which is asked for every few seconds.
"""

import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import NamedTuple

MAX_GAPS = 10_000
"""Gaps of a partition that wait for its first offset, at most; the oldest leave."""


class Loss(NamedTuple):
    """Offsets of one partition that were deleted unread."""

    partition: int
    first: int
    after: int
    """The offset after the last of them."""


class Losses:
    """Counts lost records by partition; its methods may be called from several threads.

    `resume_at` gives the offset at which a partition is continued of which nothing was read yet; None if that
    is not known, or if the partition is read from its beginning.

    >>> losses = Losses(lambda partition: 100)
    >>> losses.read(0, 250, 260)    # retention had deleted what was before 250
    >>> losses.read(0, 261, 270)    # 260 is the marker of a transaction
    >>> losses.check({0: 250})
    [Loss(partition=0, first=100, after=250)]
    >>> losses.check({0: 250}), losses.counts
    ([], {0: 150})
    """

    def __init__(self, resume_at: Callable[[int], int | None] = lambda partition: None) -> None:
        self.counts: dict[int, int] = {}
        """Records lost since the start of the process, by partition."""
        self._resume_at = resume_at
        self._lock = threading.Lock()
        self._next: dict[int, int] = {}
        """The offset after the last one read, by partition."""
        self._gaps: dict[int, list[tuple[int, int]]] = defaultdict(list)
        self._overtaken: dict[int, int] = {}
        """The next offset of partitions whose first offset was above it at the last check."""

    def expect(self, positions: Mapping[int, int]) -> None:
        """Continue at these offsets, by partition."""
        with self._lock:
            self._start_over()
            self._next.update(positions)

    def reassigned(self) -> None:
        """Forget the positions, because other processes may have read the partitions since."""
        with self._lock:
            self._start_over()

    def read(self, partition: int, first: int, after: int) -> None:
        """Note that the records from offset `first` to before `after` were read."""
        with self._lock:
            expected = self._next_offset(partition)
            if expected is not None and first > expected:
                gaps = self._gaps[partition]
                gaps.append((expected, first))
                del gaps[:-MAX_GAPS]
            self._next[partition] = after

    def check(self, starts: Mapping[int, int]) -> list[Loss]:
        """Compare with the first offset of each partition; returns what was lost since the last check.

        Records that wait in this process may be deleted from Kafka before they are counted as read: so a
        partition whose first offset is above its next one counts only if nothing was read until the check
        after.
        """
        with self._lock:
            losses = []
            for partition, start in starts.items():
                for gap, first in self._gaps.pop(partition, ()):
                    losses.append(Loss(partition, gap, min(start, first)))
                expected = self._next_offset(partition)
                if expected is None or start <= expected:
                    self._overtaken.pop(partition, None)
                elif self._overtaken.get(partition) == expected:
                    losses.append(Loss(partition, expected, start))
                    self._next[partition] = start
                else:
                    self._overtaken[partition] = expected
            losses = [loss for loss in losses if loss.after > loss.first]
            for loss in losses:
                self._count(loss.partition, loss.after - loss.first)
            return losses

    def add(self, partition: int, records: int) -> None:
        """Count records that were lost in another way."""
        with self._lock:
            self._count(partition, records)

    def beyond(self, ends: Mapping[int, int]) -> dict[int, tuple[int, int]]:
        """Next and end offset of each partition that ends below what was read: the topic is another one."""
        with self._lock:
            expected = {partition: self._next_offset(partition) for partition in ends}
        return {p: (at, ends[p]) for p, at in expected.items() if at is not None and at > ends[p]}

    def _next_offset(self, partition: int) -> int | None:
        at = self._next.get(partition)
        return self._resume_at(partition) if at is None else at

    def _start_over(self) -> None:
        self._next.clear()
        self._overtaken.clear()

    def _count(self, partition: int, records: int) -> None:
        self.counts = self.counts | {partition: self.counts.get(partition, 0) + records}
