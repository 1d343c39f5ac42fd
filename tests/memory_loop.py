"""A serving worker without Kafka: records in, `serve`, the real `BatchWriter`, a dict as store; and crashes.

A crash comes before any write, and takes with it everything but what Kafka and the disk hold.  A restart
restores the store from the changelog and continues from the committed offsets, as a worker does.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

from streams.kafka.writer import BatchWriter
from streams.settings import Settings
from streams.step.policy import ServingPolicy
from streams.step.serve import Recommender, serve
from streams.topics import topics

CHANGELOG = "changelog"
CLOCK = 1_700_001_000_000
"""Wall time of the worker, ms: after all records."""
BATCH_RECORDS = 3
"""Records of a full batch: small, so that outputs are split into several."""


class Crash(Exception):
    """The worker is gone."""


class Record(NamedTuple):
    """A record of `events`."""

    key: bytes | None
    value: bytes | None
    partition: int
    offset: int
    timestamp: int
    headers: Sequence[tuple[str, bytes]] = ()


class Disk:
    """What outlives a crash: Kafka's topics, the committed offsets, the store and its changelog offset."""

    def __init__(self) -> None:
        self.topics: dict[tuple[str, int], list[tuple[Any, ...]]] = defaultdict(list)
        self.committed: dict[int, int] = defaultdict(int)
        self.stores: dict[int, dict[bytes, bytes]] = defaultdict(dict)
        self.stored_to: dict[int, int] = defaultdict(lambda: -1)
        """Changelog offset that a partition's store includes."""

    def changelog(self, partition: int) -> dict[bytes, bytes]:
        """The users of a partition as a worker with an empty folder restores them."""
        return {key: value for key, value, _ in self.topics[CHANGELOG, partition]}


class Batch:
    """As aiokafka's batch builder, for `BATCH_RECORDS` records."""

    def __init__(self) -> None:
        self.records: list[tuple[Any, ...]] = []

    def append(self, timestamp: None, key: Any, value: Any, headers: Any) -> object | None:
        if len(self.records) == BATCH_RECORDS:
            return None
        self.records.append((key, value, headers))
        return self.records[-1]

    def record_count(self) -> int:
        return len(self.records)

    def close(self) -> None:
        """Nothing is compressed."""


class Worker:
    """One life of a worker, which ends with the write numbered `crash_at` or after the last record."""

    changelog_topic_name = CHANGELOG

    def __init__(self, disk: Disk, settings: Settings, recommender: Recommender, crash_at: int) -> None:
        self.disk, self.settings, self.recommender = disk, settings, recommender
        self.writes_left = crash_at
        self.policy = ServingPolicy.from_settings(settings)
        for partition in range(settings.partitions):
            for key, value, _ in disk.topics[CHANGELOG, partition][disk.stored_to[partition] + 1 :]:
                disk.stores[partition][key] = value
            disk.stored_to[partition] = len(disk.topics[CHANGELOG, partition]) - 1

    def run(self, records: Iterable[Record], chunk: int) -> bool:
        """Serve what is not committed, `chunk` records at a time; whether the life ended without a crash."""
        pending = [record for record in records if record.offset >= self.disk.committed[record.partition]]
        chunks = [pending[at : at + chunk] for at in range(0, len(pending), chunk)]
        return asyncio.run(self._run(chunks))

    async def _run(self, chunks: list[list[Record]]) -> bool:
        self.crashed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        app = SimpleNamespace(
            conf=SimpleNamespace(broker_session_timeout=10.0),
            on_partitions_revoked=SimpleNamespace(connect=lambda *args, **kwargs: None),
            producer=SimpleNamespace(_producer=self),
            crash=self._crash,
        )
        self._in_flight: deque[tuple[Batch, str, int, asyncio.Future[Any]]] = deque()
        delivery = asyncio.ensure_future(self._deliver())
        batch_writer: Any = BatchWriter(app, self, topics(self.settings), depth=3, gather_s=0.0)  # type: ignore[arg-type]
        try:
            for records in chunks:
                stored, policy = batch_writer.get, self.policy
                writes = serve(records, "events", stored, self.recommender, policy, lambda: CLOCK)
                write = asyncio.ensure_future(batch_writer.write(self, records, writes.users, writes.outputs))
                await asyncio.wait([write, self.crashed], return_when=asyncio.FIRST_COMPLETED)
                if self.crashed.done() or not write.done():
                    write.cancel()
                    return False
                write.result()
            while batch_writer._writing is not None and not batch_writer._writing.done():
                await asyncio.wait([batch_writer._writing])
        except Crash:
            return False
        finally:
            tasks = [task for task in (delivery, batch_writer._writing) if task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return not self.crashed.done()

    async def _crash(self, error: BaseException) -> None:
        if not isinstance(error, Crash):
            raise AssertionError("the writer failed") from error
        if not self.crashed.done():
            self.crashed.set_result(None)

    def _write(self) -> None:
        """Count a write; after the last one nothing is written any more."""
        self.writes_left -= 1
        if self.writes_left < 0:
            raise Crash

    # The producer

    def create_batch(self) -> Batch:
        """An empty batch."""
        return Batch()

    async def send_batch(self, batch: Batch, topic: str, partition: int) -> Any:
        """Put a batch on its way; its future gives the offset of its first record once it is delivered."""
        self._write()
        sent: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._in_flight.append((batch, topic, partition, sent))
        return sent

    async def _deliver(self) -> None:
        """Deliver the batches in their order, one each turn of the loop; a crash loses those in flight."""
        while True:
            await asyncio.sleep(0)
            if self._in_flight:
                batch, topic, partition, sent = self._in_flight.popleft()
                log = self.disk.topics[topic, partition]
                sent.set_result(SimpleNamespace(offset=len(log)))
                log += batch.records

    # The table

    def stored(self, partition: int, key: bytes) -> bytes | None:
        """The value of a key in the store."""
        return self.disk.stores[partition].get(key)

    def store(self, partition: int, values: dict[bytes, bytes], changelog_offset: int) -> None:
        """Write values to the store, with the changelog offset that includes them."""
        self._write()
        self.disk.stores[partition].update(values)
        self.disk.stored_to[partition] = changelog_offset

    # The stream

    async def ack(self, records: list[Record]) -> None:
        """Commit a chunk: the last thing that is written of it."""
        self._write()
        for record in records:
            self.disk.committed[record.partition] = record.offset + 1


def run(
    records: Sequence[Record],
    settings: Settings,
    recommender: Recommender,
    crashes: Sequence[int],
    chunk: int,
) -> Disk:
    """Serve the records; each life but the last crashes before its write of that number."""
    disk = Disk()
    for crash_at in (*crashes, 10**9):
        worker = Worker(disk, settings, recommender, crash_at)
        if worker.run(records, chunk):
            return disk
    raise AssertionError("the last life crashed")
