"""What the writer sends at once while a transaction takes its time; tests/test_exactness.py has crashes."""

import asyncio
from types import SimpleNamespace

from streams.kafka.writer import BatchWriter
from streams.settings import Settings
from streams.topics import topics
from tests.memory_loop import Batch

CHUNKS = 100


def test_recommendations_of_single_events_do_not_wait_for_a_transaction():
    sent = []

    async def send_batch(batch: Batch, topic: str, partition: int) -> asyncio.Future:
        sent.append(topic)
        return asyncio.get_running_loop().create_future()

    async def run() -> None:
        app = SimpleNamespace(
            on_partitions_revoked=SimpleNamespace(connect=lambda *args, **kwargs: None),
            producer=SimpleNamespace(_producer=SimpleNamespace(create_batch=Batch, send_batch=send_batch)),
        )
        writer = BatchWriter(app, None, topics(Settings()), gather_s=3600)
        chunk = SimpleNamespace(message=SimpleNamespace(chunk=[b"one record"]))
        outputs = {"recommendations": {0: [(b"ann", b"{}", [])]}}
        async with asyncio.timeout(5):
            for _ in range(CHUNKS):
                await writer.write(None, chunk, {}, outputs)
        writer._writing.cancel()

    asyncio.run(run())
    assert sent == ["recommendations"] * CHUNKS
