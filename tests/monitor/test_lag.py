"""Consumer lag, with a stand-in for Faust's consumer."""

import asyncio
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError
from faust.types import TP

from streams.monitor.lag import Lag
from tests.web.worker import Worker


class OffsetsConsumer:
    """Stands for Faust's consumer: assigned partitions, their starts and ends in Kafka."""

    def __init__(
        self, ends: dict[int, int], starts: dict[int, int], committed: dict[int, int | None]
    ) -> None:
        self.tps = {p: TP("events", p) for p in ends}
        self.ends, self.starts, self.asked = ends, starts, 0
        self._committed_offset = {self.tps[p]: offset for p, offset in committed.items()}
        self.delay_s = 0.0
        self.fetched: dict[TP, int] = {}
        self.positions: dict[int, int] = {}
        self.thread = self

    def position(self, tp: TP) -> int | None:
        return self.positions.get(tp.partition)

    def assignment(self) -> set[TP]:
        return {*self.tps.values(), TP("freshet-serving-users-changelog", 0)}

    async def highwaters(self, *tps: TP) -> dict[TP, int]:
        self.asked += 1
        await asyncio.sleep(self.delay_s)
        return {tp: self.ends[tp.partition] for tp in tps}

    async def earliest_offsets(self, *tps: TP) -> dict[TP, int]:
        return {tp: self.starts[tp.partition] for tp in tps}


def test_lag_is_what_kafka_has_and_the_worker_has_not_served(tmp_path, monkeypatch):
    monkeypatch.setattr("streams.monitor.lag.FRESH_S", 0.0)
    monkeypatch.setattr("streams.monitor.lag.PATIENCE_S", 30)
    worker = Worker(tmp_path / "data")
    consumer = OffsetsConsumer(
        {0: 10, 1: 10, 2: 10, 3: 7}, {0: 0, 1: 0, 2: 0, 3: 7}, {0: 10, 1: 4, 2: 4, 3: None}
    )
    worker.app.consumer = consumer
    worker.serving.positions = {2: 9}

    async def run() -> None:
        lag = Lag(worker.serving)
        assert await lag.by_partition() == {0: 0, 1: 6, 2: 1, 3: 0}, (
            "committed, or served since; 3 is empty, never committed"
        )
        worker.serving.positions = dict(consumer.ends)
        assert await lag.by_partition() == {0: 0, 1: 0, 2: 0, 3: 0}
        consumer.ends[1] = 1_000
        assert await lag.by_partition() == {0: 0, 1: 990, 2: 0, 3: 0}, "also when nothing is fetched any more"
        del consumer.tps[0], consumer.ends[0]
        assert await lag.by_partition() == {1: 990, 2: 0, 3: 0}

    asyncio.run(run())


def test_what_is_no_record_or_was_deleted_is_no_lag(tmp_path):
    worker = Worker(tmp_path / "data")
    worker.app.consumer = consumer = OffsetsConsumer(
        {0: 370, 1: 11, 2: 11, 3: 11}, dict.fromkeys(range(4), 0), {0: 100, 1: 10, 2: 4, 3: None}
    )
    consumer.positions = {0: 370, 1: 11, 2: 11, 3: 11}
    consumer.fetched = {consumer.tps[1]: 10, consumer.tps[2]: 10, consumer.tps[3]: 10}
    assert asyncio.run(Lag(worker.serving).by_partition()) == {0: 0, 1: 0, 2: 7, 3: 11}, (
        "deleted before they were read; a marker at the end; fetched and not served yet"
    )


def test_a_broker_that_does_not_answer_holds_no_page_up(tmp_path, monkeypatch):
    monkeypatch.setattr("streams.monitor.lag.PATIENCE_S", 20)
    worker = Worker(tmp_path / "data")
    worker.app.consumer = consumer = OffsetsConsumer({0: 5}, {0: 0}, {0: 5})

    async def run() -> None:
        lag = Lag(worker.serving)
        assert await lag.by_partition() == {0: 0}
        monkeypatch.setattr("streams.monitor.lag.PATIENCE_S", 0.05)
        lag._fetched, consumer.delay_s = -10.0, 300
        pages = asyncio.gather(*(lag.by_partition() for _ in range(20)))
        assert await asyncio.wait_for(pages, 20) == [{0: 0}] * 20
        assert consumer.asked == 2, "twenty pages ask once"

    asyncio.run(run())


def test_offsets_that_cannot_be_read_leave_the_lag_as_it_was(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("streams.monitor.lag.FRESH_S", 0.0)
    monkeypatch.setattr("streams.monitor.lag.PATIENCE_S", 30)
    worker = Worker(tmp_path / "data")
    worker.app.consumer = consumer = OffsetsConsumer({0: 9}, {0: 0}, {0: 5})

    async def fail(*tps: TP) -> dict[TP, int]:
        raise KafkaConnectionError

    async def run() -> None:
        lag = Lag(worker.serving)
        assert await lag.by_partition() == {0: 4}
        monkeypatch.setattr(consumer, "highwaters", fail)
        assert await lag.by_partition() == {0: 4}

    asyncio.run(run())


def test_a_consumer_that_has_not_started_has_no_partitions(tmp_path):
    worker = Worker(tmp_path / "data")

    async def run() -> None:
        lag = Lag(worker.serving)
        assert await lag.by_partition() == {}
        assert lag.uncommitted() == 0

    asyncio.run(run())


@pytest.mark.parametrize("name", ["highwaters", "earliest_offsets", "_committed_offset", "assignment"])
def test_a_consumer_without_an_attribute_has_no_lag_of_0(tmp_path, monkeypatch, name: str):
    """As after an upgrade of Faust: the figure fails, and so do heartbeat and metrics."""
    monkeypatch.setattr("streams.monitor.lag.PATIENCE_S", 30)
    worker = Worker(tmp_path / "data")

    class Upgraded(OffsetsConsumer):
        def __getattribute__(self, asked: str) -> Any:
            if asked == name:
                raise AttributeError(name)
            return super().__getattribute__(asked)

    worker.app.consumer = Upgraded({0: 9, 1: 9}, {0: 0, 1: 0}, {0: 5, 1: None})

    async def run() -> None:
        with pytest.raises(AttributeError, match=name):
            await Lag(worker.serving).by_partition()
        with pytest.raises(AttributeError, match=name):
            await worker.status.send(worker.sampler.take)

    asyncio.run(run())
