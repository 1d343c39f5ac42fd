"""Keep the newest recommendation of each user the last one of its key, whatever else is written late.

Recommendations are sent outside transactions, for their age's sake, so Kafka accepts those of a worker that
has lost its partitions: of a machine that stood still, or a slow network.  The worker that has the partitions
sees a gap in the offsets of what it wrote, or an end of the topic that is not its own, reads what is there,
and sends the newest recommendation of a user again where an older one came after it.

Whatever comes late answers an event that was not committed when the partition moved: so the newest answer
comes after that moment, and reading begins there.  Compaction bounds what is read.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec
from confluent_kafka import Consumer, TopicPartition

from streams.kafka.client import consumer_config, is_end, is_no_record
from streams.settings import Settings
from streams.step.writes import OutputRecord

log = logging.getLogger(__name__)

BATCH = 500
POLL_S = 0.2
READ_TIMEOUT_S = 30.0
"""Time without a record after which a reading is given up, and done again later."""


class _Answer(msgspec.Struct):
    """What is read of a recommendation."""

    offset: int = -1


_decode = msgspec.json.Decoder(_Answer).decode


@dataclass(slots=True)
class _Partition:
    start: int
    """End of the partition when it was assigned."""
    next_own: int
    """Offset after the latest record that this worker knows of."""
    gaps: list[tuple[int, int]] = field(default_factory=list)
    """Ranges of offsets that others wrote, begin and end, not looked at yet."""
    batches: int = 0
    """Batches sent so far."""
    delivered: int = 0
    """Batches delivered so far."""
    sent_since: set[bytes] | None = None
    """Keys sent since a reading began; None while there is none."""


class Repair(NamedTuple):
    """What a reading gave."""

    records: list[OutputRecord]
    """The newest recommendations of the users whose last one is older."""
    late: int
    """Number of records that others wrote."""


class LateWrites:
    """Watches the partitions of `recommendations` that this worker writes.

    `ends` gives the end offset of partitions; `send` sends records to one, and returns once Kafka has them;
    `read` reads what is in the gaps of a partition, and the newest from its start on, in a thread.
    """

    def __init__(
        self,
        ends: Callable[[Iterable[int]], Awaitable[Mapping[int, int]]],
        send: Callable[[int, list[OutputRecord]], Awaitable[None]],
        read: Callable[[int, int, Sequence[tuple[int, int]]], Repair],
    ) -> None:
        self._ends, self._send, self._read = ends, send, read
        self._partitions: dict[int, _Partition] = {}
        self.repaired = 0
        """Recommendations sent again so far."""

    async def assigned(self, partitions: Iterable[int]) -> None:
        """Watch these partitions only; those watched before keep what is known of them."""
        wanted = set(partitions)
        new = wanted - self._partitions.keys()
        ends = await self._ends(new) if new else {}
        kept = {partition: self._partitions[partition] for partition in wanted - new}
        self._partitions = kept | {partition: _Partition(end, end) for partition, end in ends.items()}

    def sent(self, partition: int, batches: int, records: Sequence[OutputRecord]) -> None:
        """Take note of records on their way, in a number of batches."""
        if (state := self._partitions.get(partition)) is not None:
            state.batches += batches
            if state.sent_since is not None:
                state.sent_since.update(key for key, _, _ in records if key is not None)

    def delivered(self, partition: int, offset: int, count: int) -> None:
        """Take note of a batch in Kafka; `offset` is that of its first record, negative if it is unknown."""
        if (state := self._partitions.get(partition)) is None:
            return
        state.delivered += 1
        if offset > state.next_own:
            state.gaps.append((state.next_own, offset))
        if offset >= 0:
            state.next_own = offset + count

    async def check(self) -> None:
        """Look for what others wrote, and repair it."""
        before = {
            partition: state.batches
            for partition, state in self._partitions.items()
            if state.batches == state.delivered
        }
        for partition, end in (await self._ends(before) if before else {}).items():
            state = self._partitions.get(partition)
            if state is not None and state.batches == before[partition] and end > state.next_own:
                state.gaps.append((state.next_own, end))
                state.next_own = end
        for partition, state in list(self._partitions.items()):
            if state.gaps:
                await self._repair(partition, state)

    async def _repair(self, partition: int, state: _Partition) -> None:
        gaps, state.gaps, state.sent_since = state.gaps, [], set()
        try:
            repair = await asyncio.to_thread(self._read, partition, state.start, gaps)
            records = [record for record in repair.records if record[0] not in state.sent_since]
            if records and self._partitions.get(partition) is state:
                await self._send(partition, records)
                self.repaired += len(records)
                log.warning(
                    "partition %d: a worker that has lost it sent %d recommendations late; the newer ones of"
                    " %d users are sent again", partition, repair.late, len(records),
                )  # fmt: skip
        except Exception:
            state.gaps = gaps + state.gaps
            raise
        finally:
            state.sent_since = None


def read_repair(settings: Settings, partition: int, start: int, gaps: Sequence[tuple[int, int]]) -> Repair:
    """Read what others wrote in `gaps`, and from `start` on the newest recommendation of its users; blocks.

    `KafkaException` if Kafka does not answer, `TimeoutError` if it gives nothing more.
    """
    with closing(Consumer(consumer_config(settings, **{"enable.partition.eof": True}))) as consumer:
        tp = TopicPartition(settings.topic("recommendations"), partition)
        late = [record for begin, end in gaps for record in _range(consumer, tp, begin, end)]
        keys = {key for key, *_ in late}
        newest: dict[bytes | None, OutputRecord] = {}
        highest: dict[bytes | None, int] = {}
        last: dict[bytes | None, int] = {}
        for record in _range(consumer, tp, start, None) if keys else ():
            key, value, _ = record
            if key in keys and value is not None:
                last[key] = _decode(value).offset
                if last[key] >= highest.get(key, -1):
                    newest[key], highest[key] = record, last[key]
    return Repair([newest[key] for key in newest if last[key] < highest[key]], len(late))


def _range(consumer: Consumer, tp: TopicPartition, begin: int, end: int | None) -> Iterator[OutputRecord]:
    """The records of a range of offsets; up to the end of the partition if `end` is None.

    Recommendations have no headers.
    """
    consumer.assign([TopicPartition(tp.topic, tp.partition, begin)])
    deadline = time.monotonic() + READ_TIMEOUT_S
    while time.monotonic() < deadline:
        for message in consumer.consume(BATCH, POLL_S):
            deadline = time.monotonic() + READ_TIMEOUT_S
            if is_no_record(message):
                if is_end(message):
                    return
            elif end is not None and (message.offset() or 0) >= end:
                return
            else:
                yield message.key(), message.value(), []
    raise TimeoutError(f"{tp.topic}, partition {tp.partition}: nothing read for {READ_TIMEOUT_S:.0f} s")
