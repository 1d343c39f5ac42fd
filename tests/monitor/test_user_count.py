"""Users are counted by their keys, and those not stored yet with them."""

import asyncio
from types import SimpleNamespace

from streams.kafka.writer import BatchWriter
from streams.monitor import user_count
from streams.topics import topics
from tests.waiting import until
from tests.web.worker import Worker, writes


async def settled(counted: user_count.UserCount) -> int | None:
    """The users, once they are counted."""
    await until(lambda: counted.users() is not None)
    return counted.users()


def test_users_are_counted_not_estimated(tmp_path, monkeypatch):
    monkeypatch.setattr(user_count, "SLICE", 7)
    worker = Worker(tmp_path / "data")
    for _ in range(30):  # RocksDB's estimate counts every write
        for n in range(40):
            worker.put(f"u{n}")
    worker.serving._writer._pending[0] = {b"u1": b"known", b"new": b"not stored yet"}

    async def run() -> None:
        counted = user_count.UserCount(worker.serving)
        worker.notify(writes(new_users={0: 5}))
        assert counted.users() is None
        assert await settled(counted) == 42, "ann, u0 to u39, and the one not stored yet"
        worker.notify(writes(new_users={0: 3}))
        assert counted.users() == 45
        worker.put("from another worker")
        await worker.app.on_partitions_revoked.send(set())
        assert await settled(counted) == 42, "and what was not stored is another worker's to serve again"
        worker.put("restored after a count that began too early")
        await worker.app.on_rebalance_complete.send()
        assert await settled(counted) == 43
        worker.app.rebalancing = True
        assert counted.users() is None

    asyncio.run(run())


def test_what_waits_for_its_turn_to_be_written_is_read_and_counted(tmp_path):
    worker = Worker(tmp_path / "data")

    async def run() -> None:
        chunk = SimpleNamespace(message=SimpleNamespace(chunk=[b"one record"]))
        writer = BatchWriter(
            worker.app, worker.serving.table, topics(worker.settings), most_records=1, gather_s=3600
        )
        await writer.write(None, chunk, {0: {b"first": b"value"}}, {})
        writing = asyncio.create_task(writer.write(None, chunk, {0: {b"waits": b"value"}}, {}))
        await asyncio.sleep(0)
        assert not writing.done()
        assert (writer.get(0, b"waits"), writer.unsaved(0)) == (b"value", [b"first", b"waits"])
        writing.cancel()
        writer._writing.cancel()

    asyncio.run(run())
