"""Write what the step returns: few large record batches, many chunks at once.

In this order: (1) the outputs; (2) once Kafka has them, the changed values to the changelog; (3) once Kafka
has those, one RocksDB batch a partition, which also holds the changelog offset; (4) the acks.

So a value in the changelog means that its outputs are in Kafka, RocksDB is never ahead of the changelog and
the commit never ahead of RocksDB.  A crash replays chunks, and the source offset inside each value skips
what was applied: state is exact, no output is lost, and only outputs in flight can appear twice.

Records of urgent topics are sent at once.  The rest is a group commit (DeWitt et al. 1984, "Implementation
Techniques for Main Memory Database Systems"): while one group is being written the next one gathers, so a
thousand events a second in twelve partitions do not cost a thousand batches for each topic.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import faust

from streams.kafka.table import ChunkTable
from streams.step.writes import OutputRecord, Outputs, UserRecords
from streams.topics import Topic

GATHER_S = 0.05
"""Time for which a group gathers: it adds no latency, and a crash replays a commit interval anyway."""

Sent = list[tuple[Any, int]]
"""The future and the number of records of each batch sent."""


class _Chunk(NamedTuple):
    """A chunk that is not durable yet."""

    stream: Any
    event: Any
    users: UserRecords
    outputs: Outputs
    """Its outputs that are not urgent."""
    sent: Sent
    """Its urgent outputs."""
    began: float


class BatchWriter:
    """Pipelined writer for one `ChunkTable` and the output topics, given by short name.

    `depth` chunks may wait to be durable; a group gathers for `gather_s`.
    """

    def __init__(
        self,
        app: faust.App,
        table: ChunkTable,
        topics: Mapping[str, Topic],
        depth: int = 24,
        gather_s: float = GATHER_S,
    ) -> None:
        self._app, self._table, self._topics = app, table, topics
        self._pending: dict[int, dict[bytes, bytes]] = defaultdict(dict)  # not yet in RocksDB
        self._slots = asyncio.Semaphore(depth)  # chunks that are not durable
        self._gather_s = gather_s
        self._patience_s = app.conf.broker_session_timeout
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
        await self._slots.acquire()
        began = time.monotonic()
        sent: Sent = []
        later: Outputs = {}
        for topic, by_partition in outputs.items():
            if self._topics[topic].urgent:
                for partition, records in by_partition.items():
                    sent += await self._send(self._topics[topic].name, partition, records)
            else:
                later[topic] = by_partition
        self._gathered.append(_Chunk(stream, event, users, later, sent, began))
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
                    self._slots.release()
        except Exception as error:  # Kafka does not have it: stop, start again, replay
            await self._app.crash(error)
            raise

    async def _make_durable(self, chunks: list[_Chunk]) -> None:
        outputs: dict[tuple[str, int], list[OutputRecord]] = defaultdict(list)
        changed: dict[int, dict[bytes, bytes]] = defaultdict(dict)
        for chunk in chunks:
            for topic, by_partition in chunk.outputs.items():
                for partition, records in by_partition.items():
                    outputs[topic, partition] += records
            for partition, values in chunk.users.items():
                changed[partition].update(values)
        sent = [batch for chunk in chunks for batch in chunk.sent]
        for (topic, partition), records in outputs.items():
            sent += await self._send(self._topics[topic].name, partition, records)
        for future, _ in sent:
            await future
        if time.monotonic() - chunks[0].began > self._patience_s:
            # stopped or cut off for so long, the partitions may be another worker's by now, and its values
            # newer than these
            raise TimeoutError(f"a chunk took {self._patience_s:.0f} s to be written")
        changelog = self._table.changelog_topic_name
        logged = {
            partition: await self._send(changelog, partition, ((k, v, []) for k, v in values.items()))
            for partition, values in changed.items()
            if values
        }
        for partition, batches in logged.items():
            for future, count in batches:
                end = (await future).offset + count - 1
            self._table.store(partition, changed[partition], end)
            pending = self._pending[partition]
            for key, value in changed[partition].items():
                if pending.get(key) is value:
                    del pending[key]

    async def _send(self, topic: str, partition: int, records: Iterable[OutputRecord]) -> Sent:
        """Queue records in as few batches as they fit into."""
        producer = self._app.producer._producer
        sent: Sent = []

        async def submit(full: Any) -> None:
            full.close()
            sent.append((await producer.send_batch(full, topic, partition=partition), full.record_count()))

        batch = producer.create_batch()
        for key, value, headers in records:
            if batch.append(timestamp=None, key=key, value=value, headers=headers) is None:  # full
                await submit(batch)
                batch = producer.create_batch()
                batch.append(timestamp=None, key=key, value=value, headers=headers)  # an empty one takes any
        if batch.record_count():
            await submit(batch)
        return sent

    async def _on_revoked(self, app: Any, revoked: Any, **kwargs: Any) -> None:
        """Every chunk must be in RocksDB before its partition moves."""
        if self._writing is not None:
            await asyncio.wait([self._writing])
        self._pending.clear()
