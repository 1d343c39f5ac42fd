"""Batches out: what a chunk writes, as few large record batches, many chunks in flight.

For each chunk, in this order: (1) its outputs; (2) once Kafka has them, the changed values to the
changelog; (3) once Kafka has those, one RocksDB batch that also holds the changelog offset; (4) the ack.
Chunks of a partition finish in order, partitions are independent.

So a value in the changelog means that its output is in Kafka, RocksDB is never ahead of the changelog and
the commit never ahead of RocksDB.  A crash replays chunks, and the source offset inside each value skips
what was applied: state is exact, no output is lost, and only outputs in flight can appear twice.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import faust

from streams.kafka.table import ChunkTable

Output = tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]
"""Key, value, headers."""


class BatchWriter:
    """Pipelined writer for one `ChunkTable` and any output topics."""

    def __init__(self, app: faust.App, table: ChunkTable, depth: int = 24) -> None:
        self._app, self._table = app, table
        self._pending: dict[int, dict[bytes, bytes]] = defaultdict(dict)  # not yet in RocksDB
        self._slots = asyncio.Semaphore(depth)  # chunks in flight, over all partitions
        self._patience_s = app.conf.broker_session_timeout
        self._tails: dict[int, asyncio.Future[None]] = {}  # finishes a partition's newest chunk
        app.on_partitions_revoked.connect(self._on_revoked, weak=False)

    def get(self, partition: int, key: bytes) -> bytes | None:
        """The newest value of a key, written or about to be."""
        value = self._pending[partition].get(key)
        return self._table.stored(partition, key) if value is None else value

    def unsaved(self, partition: int) -> list[bytes]:
        """Keys whose newest value is not in the table yet."""
        return list(self._pending.get(partition, ()))

    async def write(
        self, stream: Any, event: Any, changed: dict[bytes, bytes], outputs: dict[str, Iterable[Output]]
    ) -> None:
        """Send `outputs` (by topic) and `changed` (by key); acks `event` when all of it is durable."""
        await self._slots.acquire()
        began = time.monotonic()
        partition = event.message.partition
        self._pending[partition].update(changed)
        sent = []
        for topic, records in outputs.items():
            sent += await self._send(topic, partition, records)
        self._tails[partition] = asyncio.ensure_future(
            self._finish(self._tails.get(partition), stream, event, changed, sent, began)
        )

    async def _send(self, topic: str, partition: int, records: Iterable[Output]) -> list[tuple[Any, int]]:
        """Queue record batches; (future, record count) of each."""
        producer = self._app.producer._producer
        sent: list[tuple[Any, int]] = []

        async def submit(full: Any) -> None:
            full.close()
            sent.append((await producer.send_batch(full, topic, partition=partition), full.record_count()))

        batch = producer.create_batch()
        for key, value, headers in records:
            if batch.append(timestamp=None, key=key, value=value, headers=headers) is None:  # full
                await submit(batch)
                batch = producer.create_batch()
                batch.append(timestamp=None, key=key, value=value, headers=headers)  # empty takes any
        if batch.record_count():
            await submit(batch)
        return sent

    async def _finish(
        self, previous: asyncio.Future[None] | None, stream: Any, event: Any, changed: dict[bytes, bytes],
        sent: list[tuple[Any, int]],
        began: float,
    ) -> None:  # fmt: skip
        try:
            if previous is not None:
                await previous
            for future, _ in sent:
                await future
            partition = event.message.partition
            if time.monotonic() - began > self._patience_s:
                # stopped or cut off for so long, the partition may be another worker's by now, and
                # its values newer than these
                raise TimeoutError(f"a chunk of partition {partition} took {self._patience_s:.0f} s")
            if changed:
                logged = await self._send(
                    self._table.changelog_topic_name, partition, ((k, v, []) for k, v in changed.items())
                )
                for future, count in logged:
                    end = (await future).offset + count - 1
                self._table.store(partition, changed, end)
                pending = self._pending[partition]
                for key, value in changed.items():
                    if pending.get(key) is value:
                        del pending[key]
            await stream.ack(event)
        except Exception as error:  # Kafka does not have it: stop, start again, replay
            await self._app.crash(error)
            raise
        finally:
            self._slots.release()

    async def _on_revoked(self, app: Any, revoked: Any, **kwargs: Any) -> None:
        """Every chunk must be in RocksDB before its partition moves."""
        if self._tails:
            await asyncio.wait(list(self._tails.values()))
        self._tails.clear()
        self._pending.clear()
