"""Write what the step returns: few large record batches, many chunks at once.

In this order: (1) the recommendations, and events for other users; (2) once Kafka has them, one transaction
with everything else: other outputs, the changed values to the changelog, and the offsets of the events; (3)
once it is committed, one RocksDB batch a partition, which also holds the changelog offset; (4) the acks.

So a value in the changelog means that its outputs are in Kafka, once, and RocksDB is never ahead of the
changelog.  A crash replays what is not committed, and the source offset inside each value skips what was
applied: state, examples and dead letters are exact, no output is lost, and only recommendations in flight
can appear twice.  Kafka refuses the transaction of a worker that has lost its partitions, however long ago it
began: what a successor wrote stays.  The embedded broker has no transactions: there the outputs come first,
then the changelog, and Faust commits the offsets after the acks.

Records of urgent topics are sent at once.  The rest is a group commit (DeWitt et al. 1984, "Implementation
Techniques for Main Memory Database Systems"): while one group is being written the next one gathers, so a
thousand events a second in twelve partitions do not cost a thousand batches for each topic.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Mapping
from itertools import groupby
from typing import Any, NamedTuple

import faust

from streams.kafka.batches import send
from streams.kafka.fenced_producer import Fenced
from streams.kafka.late_writes import LateWrites
from streams.kafka.table import ChunkTable
from streams.step.writes import OutputRecord, Outputs, UserRecords
from streams.topics import Topic

log = logging.getLogger(__name__)

MOST_RECORDS = 24_000
"""Events that may wait to be durable; one chunk of more may, too.  It bounds memory, and the time that a
revocation of partitions takes.  Not a number of chunks: at a low rate a chunk holds one event, and the
recommendations of a few dozen would wait for each slow transaction."""
LATE = "recommendations"
"""The topic whose late writes are repaired."""
GATHER_S = 0.1
"""Time for which a group gathers: it adds no latency to recommendations, and a transaction over all
partitions costs as much as dozens of events."""


class _Chunk(NamedTuple):
    """A chunk that is not durable yet."""

    stream: Any
    event: Any
    users: UserRecords
    outputs: Outputs
    """Its outputs that are not urgent."""
    sent: "list[_Urgent]"
    """Its urgent outputs."""


class _Urgent(NamedTuple):
    """A batch of urgent records on its way."""

    topic: str
    partition: int
    delivery: Any
    size: int


class BatchWriter:
    """Pipelined writer for one `ChunkTable` and the output topics, given by short name.

    `most_records` events may wait to be durable; a group gathers for `gather_s`.  `late_writes` hears of
    every batch of `recommendations`.
    """

    def __init__(
        self,
        app: faust.App,
        table: ChunkTable,
        topics: Mapping[str, Topic],
        most_records: int = MOST_RECORDS,
        gather_s: float = GATHER_S,
        late_writes: LateWrites | None = None,
    ) -> None:
        self._app, self._table, self._topics = app, table, topics
        self._pending: dict[int, dict[bytes, bytes]] = defaultdict(dict)  # not yet in RocksDB
        self._most_records, self._records = most_records, 0  # that are not durable
        self._durable = asyncio.Event()
        self._gather_s, self._late_writes = gather_s, late_writes
        self._gathered: list[_Chunk] = []
        self._writing: asyncio.Future[None] | None = None
        app.on_partitions_revoked.connect(self._on_revoked, weak=False)

    def get(self, partition: int, key: bytes) -> bytes | None:
        """The newest value of a key, written or about to be."""
        value = self._pending[partition].get(key)
        return self._table.stored(partition, key) if value is None else value

    def unsaved(self, partition: int) -> list[bytes]:
        """Keys whose newest value is not in the table yet."""
        return list(self._pending.get(partition, ()))

    async def write(self, stream: Any, event: Any, users: UserRecords, outputs: Outputs) -> None:
        """Send user records and outputs, urgent ones at once; acks `event` when all of it is durable.

        `get` returns the new records from this call on, however long the writing has to wait.
        """
        for partition, values in users.items():
            self._pending[partition].update(values)
        size = len(event.message.chunk)
        while self._records and self._records + size > self._most_records:
            self._durable.clear()
            await self._durable.wait()
        self._records += size
        sent: list[_Urgent] = []
        later: Outputs = {}
        for topic, by_partition in outputs.items():
            if self._topics[topic].urgent:
                for partition, records in by_partition.items():
                    sent += await self._send_urgent(topic, partition, records)
            else:
                later[topic] = by_partition
        self._gathered.append(_Chunk(stream, event, users, later, sent))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.ensure_future(self._write())

    async def _write(self) -> None:
        try:
            while self._gathered:
                await asyncio.sleep(self._gather_s)
                chunks, self._gathered = self._gathered, []
                await self._make_durable(chunks)
                for chunk in chunks:
                    await chunk.stream.ack(chunk.event)
                    self._records -= len(chunk.event.message.chunk)
                    self._durable.set()
        except Exception as error:  # Kafka does not have it: stop, start again, replay
            await self._app.crash(error)
            raise

    async def _make_durable(self, chunks: list[_Chunk]) -> None:
        for member, group in groupby(chunks, key=lambda chunk: chunk.event.message.member):
            try:
                await self._commit(list(group), member)
            except Fenced as error:
                # the values stay pending until the partitions are revoked: what is still served of this
                # generation is refused, too, and its lists must not lack these events
                log.warning("events are left to the worker that has their partitions now (%s)", error)

    async def _commit(self, chunks: list[_Chunk], member: Any) -> None:
        outputs: dict[tuple[str, int], list[OutputRecord]] = defaultdict(list)
        changed: dict[int, dict[bytes, bytes]] = defaultdict(dict)
        offsets: dict[Any, int] = {}
        for chunk in chunks:
            for topic, by_partition in chunk.outputs.items():
                for partition, records in by_partition.items():
                    outputs[self._topics[topic].name, partition] += records
            for partition, values in chunk.users.items():
                changed[partition].update(values)
            for tp, end in chunk.event.message.ends.items():
                offsets[tp] = end + 1
        await self._delivered([batch for chunk in chunks for batch in chunk.sent])
        changelog = self._table.changelog_topic_name
        values_by_place: dict[tuple[str, int], list[OutputRecord]] = {
            (changelog, partition): [(key, value, []) for key, value in values.items()]
            for partition, values in changed.items()
            if values
        }
        transactions = self._app.producer.transactions
        if transactions is None:  # on the embedded broker: what a replay would not write again goes first
            await self._send(outputs)
            ends = await self._send(values_by_place)
        else:
            ends = await transactions.write(outputs | values_by_place, offsets, member)
        for partition, values in changed.items():
            if values:
                self._table.store(partition, values, ends[changelog, partition])
            pending = self._pending[partition]
            for key, value in values.items():
                if pending.get(key) is value:
                    del pending[key]

    async def send_now(self, topic: str, partition: int, records: list[OutputRecord]) -> None:
        """Send records of an urgent topic, and wait until Kafka has them."""
        await self._delivered(await self._send_urgent(topic, partition, records))

    async def _send_urgent(self, topic: str, partition: int, records: list[OutputRecord]) -> list[_Urgent]:
        sent = await send(self._app.producer._producer, self._topics[topic].name, partition, records)
        if self._late_writes is not None and topic == LATE:
            self._late_writes.sent(partition, len(sent), records)
        return [_Urgent(topic, partition, delivery, count) for delivery, count in sent]

    async def _delivered(self, sent: list[_Urgent]) -> None:
        for topic, partition, delivery, size in sent:
            offset = (await delivery).offset
            if self._late_writes is not None and topic == LATE:
                self._late_writes.delivered(partition, offset, size)

    async def _send(
        self, records: Mapping[tuple[str, int], list[OutputRecord]]
    ) -> dict[tuple[str, int], int]:
        """Send records and wait until Kafka has them; returns the last offset by topic and partition."""
        producer = self._app.producer._producer
        sent = {place: await send(producer, *place, part) for place, part in records.items()}
        ends = {}
        for place, batches in sent.items():
            for delivery, count in batches:
                ends[place] = (await delivery).offset + count - 1
        return ends

    async def _on_revoked(self, app: Any, revoked: Any, **kwargs: Any) -> None:
        """Every chunk must be in RocksDB before its partition moves."""
        if self._writing is not None:
            await asyncio.wait([self._writing])
        self._pending.clear()
