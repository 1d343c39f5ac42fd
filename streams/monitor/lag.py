"""How far behind: events in Kafka that this worker has not served, for each of its partitions."""

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Any

from streams.runtime.serving import Serving

log = logging.getLogger(__name__)

FRESH_S = 1.0
"""Kafka is asked no more often, however many pages are open."""
PATIENCE_S = 0.5
"""A page waits so long for the answer; after that it shows the one before."""


def lag(ends: Mapping[int, int], done: Mapping[int, int], starts: Mapping[int, int]) -> dict[int, int]:
    """Events by partition; where nothing was done yet, all that the partition still holds.

    >>> lag({0: 10, 1: 5}, done={0: 7}, starts={1: 2})
    {0: 3, 1: 3}
    """
    return {p: max(end - done.get(p, starts.get(p, 0)), 0) for p, end in ends.items()}


class Lag:
    """Asks Kafka for the ends of the partitions, for all pages at once.

    The end that Faust knows is that of the last fetch, and a worker that is stuck fetches no more.
    """

    def __init__(self, serving: Serving) -> None:
        self._serving, self._topic = serving, serving.settings.topic("events")
        self._ends: dict[int, int] = {}
        self._starts: dict[int, int] = {}
        self._asked = -FRESH_S
        self._asking: asyncio.Task[None] | None = None

    async def now(self) -> dict[int, int]:
        """The lag by partition; empty before partitions are assigned."""
        if self._asking is None and time.monotonic() - self._asked >= FRESH_S:
            self._asking = asyncio.create_task(self._ask())
        if self._asking is not None:
            await asyncio.wait([self._asking], timeout=PATIENCE_S)
        done, mine = self._done(), {tp.partition for tp in self._assigned()}
        known = mine & (done.keys() | self._starts.keys())
        return lag({p: end for p, end in self._ends.items() if p in known}, done, self._starts)

    def uncommitted(self) -> int:
        """Events that this process served and whose offsets are not committed yet."""
        try:
            committed = self._serving.app.consumer._committed_offset
        except Exception:  # it has not started
            return 0
        done = self._serving.positions
        mine = [tp for tp in self._assigned() if tp.partition in done and committed.get(tp) is not None]
        return sum(max(done[tp.partition] - committed[tp], 0) for tp in mine)

    def _assigned(self) -> list[Any]:
        try:
            return [tp for tp in self._serving.app.consumer.assignment() if tp.topic == self._topic]
        except Exception:  # it has not started
            return []

    def _done(self) -> dict[int, int]:
        """Partition ▶ offset of the next event to serve, where that is known."""
        committed = self._serving.app.consumer._committed_offset
        done = {}
        for tp in self._assigned():
            known = (committed.get(tp), self._serving.positions.get(tp.partition))
            if offsets := [offset for offset in known if offset is not None]:
                done[tp.partition] = max(offsets)
        return done

    async def _ask(self) -> None:
        try:
            consumer = self._serving.app.consumer._thread._ensure_consumer()
            assigned, done = self._assigned(), self._done()
            new = [tp for tp in assigned if tp.partition not in done]
            self._ends = _by_partition(await consumer.end_offsets(assigned)) if assigned else {}
            self._starts = _by_partition(await consumer.beginning_offsets(new)) if new else {}
        except Exception as error:
            log.debug("lag: %r", error)
        finally:
            self._asked, self._asking = time.monotonic(), None


def _by_partition(found: Mapping[Any, int]) -> dict[int, int]:
    return {tp.partition: offset for tp, offset in found.items()}
