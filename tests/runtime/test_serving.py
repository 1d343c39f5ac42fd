"""Subscribers of the step: each gets every micro-batch, and one that raises is dropped."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from models.checkpoint import CHECKPOINT_KEY, Checkpoint
from models.core import Example, Query
from streams.event_messages import Event
from streams.kafka.embedded import EmbeddedBroker
from streams.messages import encode
from streams.step.serve import Record
from streams.step.users import User, encode_user
from streams.step.writes import Writes
from tests.web.worker import Worker


class Chunk:
    """A record of eve's, as a record, as the chunk that it is in, and as the event of the stream."""

    def __init__(self, offset: int) -> None:
        self.message, self.chunk, self.ends = self, [self], {}
        self.key = b"eve"
        self.value = encode(Event(event_id=str(offset), user="eve", type="view", item="a", time=5))
        self.partition, self.offset, self.timestamp, self.headers = 0, offset, 0, ()


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Worker:
    """A worker without Kafka, whose writer writes nothing."""
    worker = Worker(tmp_path / "data", recommender="constant")

    async def write(*args: Any) -> None:
        """Nothing."""

    monkeypatch.setattr(worker.serving._writer, "write", write)
    return worker


def test_a_subscriber_gets_the_records_and_what_was_written_for_them(worker: Worker):
    received: list[tuple[Sequence[Record], Writes]] = []
    worker.serving.subscribe(lambda records, writes: received.append((records, writes)))
    chunk = Chunk(8)
    asyncio.run(worker.serving.step(None, chunk))
    ((records, writes),) = received
    assert records == [chunk]
    assert writes.counts.accepted == 1
    assert list(writes.outputs["recommendations"]) == [0]
    assert worker.sampler.metrics.totals.accepted == 1


def test_a_subscriber_that_raises_is_dropped_and_logged_and_the_others_are_called(worker: Worker, caplog):
    calls: list[str] = []

    def failing(records: Sequence[Record], writes: Writes) -> None:
        calls.append("failing")
        raise ZeroDivisionError

    def working(records: Sequence[Record], writes: Writes) -> None:
        calls.append("working")

    before = worker.serving.subscribers
    worker.serving.subscribe(failing)
    worker.serving.subscribe(working)
    asyncio.run(worker.serving.step(None, Chunk(8)))
    assert calls == ["failing", "working"]
    assert worker.serving.subscribers == (*before, working)
    assert "failing" in caplog.text
    assert "ZeroDivisionError" in caplog.text
    asyncio.run(worker.serving.step(None, Chunk(9)))
    assert calls == ["failing", "working", "working"]
    assert worker.sampler.metrics.totals.accepted == 2


def test_what_counts_stays_although_it_raised(worker: Worker, caplog):
    calls: list[int] = []

    def count(records: Sequence[Record], writes: Writes) -> None:
        calls.append(len(records))
        raise ZeroDivisionError

    worker.serving.subscribe(count, keep=True)
    asyncio.run(worker.serving.step(None, Chunk(8)))
    asyncio.run(worker.serving.step(None, Chunk(9)))
    assert calls == [1, 1]
    assert sum("ZeroDivisionError" in (r.exc_text or "") for r in caplog.records) == 2
    assert count in worker.serving.subscribers


def test_an_event_that_fails_in_the_step_is_a_dead_letter_and_the_next_is_answered(worker: Worker, caplog):
    received: list[Writes] = []
    worker.serving.subscribe(lambda records, writes: received.append(writes))
    worker.table.store(0, {b"eve": b"not a user"}, 1)
    asyncio.run(worker.serving.step(None, Chunk(8)))
    worker.table.store(0, {b"eve": encode_user(User())}, 2)
    asyncio.run(worker.serving.step(None, Chunk(9)))
    assert list(received[0].outputs) == ["dead-letter"]
    assert received[1].counts.recommendations == 1
    totals = worker.sampler.metrics.totals
    assert (totals.dead_letters, totals.accepted) == ({"unprocessable": 1}, 1)
    assert "Traceback" in caplog.text


def test_a_worker_takes_the_learners_max_items_before_it_starts(tmp_path: Path, embedded: EmbeddedBroker):
    prefix = f"{tmp_path.name}."
    worker = Worker(
        tmp_path / "data", brokers=embedded.brokers, embedded=True, topic_prefix=prefix,
        half_lives_h={"popularity": 6}, generators={"popularity": 1.0, "next": 1.0}, ranker="blend",
    )  # fmt: skip
    embedded.create(f"{prefix}model", f"{prefix}catalog")
    serving = worker.serving
    serving.take_max_items()
    assert serving.model.items.capacity == 200, "as set, while nothing is published"
    producer = Producer({"bootstrap.servers": embedded.brokers})
    value = Checkpoint(number=1, max_items=300).encode()
    producer.produce(f"{prefix}model", key=CHECKPOINT_KEY, value=value, partition=0)
    producer.flush()
    model, before = serving.model, serving.model.half_lives_ms
    serving.take_max_items()
    assert serving.model is model, "pages and replica hold it"
    assert model.items.capacity == 300
    assert model.half_lives_ms == before
    model.learn([Example("u", n, n, "view", f"i{n}", history=(f"i{n - 1}",)) for n in range(250)])
    (slate,) = serving.recommender.recommend([Query(("i240",), 1, 0)], 5)
    assert slate.items[0] == "i241"
