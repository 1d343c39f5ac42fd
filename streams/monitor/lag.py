"""Consumer lag: events in Kafka that this worker has not served, for each of its partitions."""

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Any

from aiokafka.errors import KafkaError
from faust.exceptions import ConsumerNotStarted

from streams.runtime.serving import Serving

log = logging.getLogger(__name__)

FETCH_TIMEOUT_S = 5.0

FRESH_S = 1.0
"""Kafka is asked no more often, however many pages are open."""
PATIENCE_S = 0.5
"""Time for which a page waits for Kafka's answer; after that it shows the answer before."""


def lag(ends: Mapping[int, int], positions: Mapping[int, int], starts: Mapping[int, int]) -> dict[int, int]:
    """Events by partition; where no position is known, everything that the partition still holds.

    >>> lag({0: 10, 1: 5}, positions={0: 7}, starts={1: 2})
    {0: 3, 1: 3}
    """
    return {p: max(end - positions.get(p, starts.get(p, 0)), 0) for p, end in ends.items()}


class Lag:
    """Asks Kafka for the end offsets, once for all pages.

    The end offsets that Faust knows are those of its last fetch, and a worker that is stuck fetches no more.
    """

    def __init__(self, serving: Serving) -> None:
        self._serving, self._topic = serving, serving.settings.topic("events")
        self._ends: dict[int, int] = {}
        self._starts: dict[int, int] = {}
        self._fetched = -FRESH_S
        """Monotonic time of the last fetch of offsets, s."""
        self._fetching: asyncio.Task[None] | None = None

    async def by_partition(self) -> dict[int, int]:
        """The lag by partition; empty before partitions are assigned.

        Raises what Kafka's client raises, except what passes: a lag that cannot be computed is not 0.
        """
        if self._fetching is None and time.monotonic() - self._fetched >= FRESH_S:
            self._fetching = asyncio.create_task(self._fetch())
        if self._fetching is not None:
            fetched, _ = await asyncio.wait([self._fetching], timeout=PATIENCE_S)
            for task in fetched:
                task.result()
        assigned = {tp.partition for tp in self._assigned()}
        positions = self._positions()
        known = assigned & (positions.keys() | self._starts.keys())
        return lag({p: end for p, end in self._ends.items() if p in known}, positions, self._starts)

    def uncommitted(self) -> int:
        """Number of events that this process served and whose offsets are not committed yet."""
        served, committed = self._serving.positions, self._committed()
        return sum(
            max(served[tp.partition] - offset, 0)
            for tp in self._assigned()
            if tp.partition in served and (offset := committed.get(tp)) is not None
        )

    def _assigned(self) -> list[Any]:
        """The partitions of the topic that this worker has; none before Faust's consumer has started."""
        try:
            assignment = self._serving.app.consumer.assignment()
        except ConsumerNotStarted:
            return []
        return [tp for tp in assignment if tp.topic == self._topic]

    def _committed(self) -> Mapping[Any, int | None]:
        """Committed offset by topic and partition."""
        consumer: Any = self._serving.app.consumer  # Faust has no public name for the offsets
        offsets: Mapping[Any, int | None] = consumer._committed_offset
        return offsets

    def _positions(self) -> dict[int, int]:
        """Offset of the next event to serve by partition, where it is known.

        Once all events that were fetched are served, it is where the next fetch begins: after what retention
        deleted, and after the markers of transactions.
        """
        committed, consumer = self._committed(), self._serving.app.consumer
        positions = {}
        for tp in self._assigned():
            known = (committed.get(tp), self._serving.positions.get(tp.partition))
            served = max((offset for offset in known if offset is not None), default=None)
            fetched, upcoming = consumer.fetched.get(tp), consumer.thread.position(tp)
            if upcoming is not None and (fetched is None or (served is not None and fetched <= served)):
                served = max(upcoming, served or 0)
            if served is not None:
                positions[tp.partition] = served
        return positions

    async def _fetch(self) -> None:
        try:
            consumer = self._serving.app.consumer
            assigned, positions = self._assigned(), self._positions()
            new = [tp for tp in assigned if tp.partition not in positions]
            async with asyncio.timeout(FETCH_TIMEOUT_S):
                ends = await consumer.highwaters(*assigned) if assigned else {}
                starts = await consumer.earliest_offsets(*new) if new else {}
            self._ends, self._starts = _by_partition(ends), _by_partition(starts)
        except (ConsumerNotStarted, KafkaError, TimeoutError) as error:
            log.debug("the offsets of %s cannot be read: %r", self._topic, error)
        finally:
            self._fetched, self._fetching = time.monotonic(), None


def _by_partition(offsets: Mapping[Any, int]) -> dict[int, int]:
    return {tp.partition: offset for tp, offset in offsets.items()}
