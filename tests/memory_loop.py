"""A serving worker without Kafka: records in, `serve`, the real `BatchWriter`, a dict as store; and crashes.

A crash comes before any write, and takes with it everything but what Kafka and the disk hold.  A restart
restores the store from the changelog and continues from the committed offsets, as a worker does.  A worker
may also be fenced from a transaction on: it goes on while it has events, and what it writes is refused.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

from streams.kafka.fenced_producer import Fenced
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


class Life(NamedTuple):
    """How a worker's life ends: crashed before the write of a number, and fenced from a transaction on."""

    crash_at: int = 10**9
    fenced_at: int = 10**9
    transactional: bool = True
    """Whether it writes transactions; not so on the embedded broker."""


class Worker:
    """One life of a worker."""

    changelog_topic_name = CHANGELOG

    def __init__(
        self,
        disk: Disk,
        settings: Settings,
        recommender: Recommender,
        life: Life,
        clock: Callable[[], int] = lambda: CLOCK,
    ) -> None:
        self.disk, self.settings, self.recommender, self.clock = disk, settings, recommender, clock
        self.writes_left, self.transactions_left = life.crash_at, life.fenced_at
        self.transactions = self if life.transactional else None
        self.policy = ServingPolicy.from_settings(settings)
        for partition in range(settings.partitions):
            for key, value, _ in disk.topics[CHANGELOG, partition][disk.stored_to[partition] + 1 :]:
                disk.stores[partition][key] = value
            disk.stored_to[partition] = len(disk.topics[CHANGELOG, partition]) - 1

    def run(self, records: Iterable[Record], chunk: int) -> bool:
        """Serve what is not committed, `chunk` records at a time; whether without crash and fence."""
        pending = [record for record in records if record.offset >= self.disk.committed[record.partition]]
        chunks = [pending[at : at + chunk] for at in range(0, len(pending), chunk)]
        return asyncio.run(self._run(chunks))

    async def _run(self, chunks: list[list[Record]]) -> bool:
        self.crashed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        app = SimpleNamespace(
            on_partitions_revoked=SimpleNamespace(connect=lambda *args, **kwargs: None),
            producer=SimpleNamespace(_producer=self, transactions=self.transactions),
            crash=self._crash,
        )
        self._in_flight: deque[tuple[Batch, str, int, asyncio.Future[Any]]] = deque()
        delivery = asyncio.ensure_future(self._deliver())
        three = 3 * max(map(len, chunks), default=1)
        batch_writer: Any = BatchWriter(app, self, topics(self.settings), most_records=three, gather_s=0.0)  # type: ignore[arg-type]
        try:
            for records in chunks:
                writes = serve(records, "events", batch_writer.get, self.recommender, self.policy, self.clock)
                event = SimpleNamespace(
                    message=SimpleNamespace(chunk=records, member=None, ends=_ends(records))
                )
                write = asyncio.ensure_future(batch_writer.write(self, event, writes.users, writes.outputs))
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
        return not self.crashed.done() and self.transactions_left >= 0

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

    # The transactions

    async def write(
        self, records: Mapping[tuple[str, int], list[Any]], offsets: Mapping[int, int], member: None
    ) -> dict[tuple[str, int], int]:
        """Write records and offsets, all or nothing; returns the last offset by topic and partition."""
        self._write()
        self.transactions_left -= 1
        await asyncio.sleep(0)
        if self.transactions_left < 0:
            raise Fenced
        for place, part in records.items():
            self.disk.topics[place] += part
        self.disk.committed.update(offsets)
        return {place: len(self.disk.topics[place]) - 1 for place in records}

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

    async def ack(self, event: Any) -> None:
        """Commit a chunk that no transaction has committed: the last thing that is written of it."""
        self._write()
        if self.transactions is None:
            self.disk.committed.update({partition: end + 1 for partition, end in event.message.ends.items()})


def _ends(records: Iterable[Record]) -> dict[int, int]:
    """The last offset of a chunk by partition."""
    return {record.partition: record.offset for record in records}


def run(
    records: Sequence[Record],
    settings: Settings,
    recommender: Recommender,
    lives: Sequence[Life],
    chunk: int,
    clock: Callable[[], int] = lambda: CLOCK,
) -> Disk:
    """Serve the records in these lives, and in a last one that ends with the last record.

    `clock`: wall time, ms.
    """
    disk = Disk()
    for life in (*lives, Life()):
        if Worker(disk, settings, recommender, life, clock).run(records, chunk):
            return disk
    raise AssertionError("the last life ended before the last record")
