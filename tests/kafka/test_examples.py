"""The reader of examples: how it waits, and its lag behind markers of transactions, on a real broker."""

import threading
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from models.checkpoint import Checkpoint
from streams.kafka import examples as module
from streams.kafka.admin import create
from streams.kafka.client import confluent
from streams.kafka.examples import ExampleReader
from streams.kafka.losses import Losses
from streams.settings import Settings


@pytest.fixture
def settings(kafka) -> Settings:
    settings = Settings(brokers=kafka.brokers, topic_prefix=f"{uuid4().hex}.", partitions=1)
    create(settings)
    return settings


def publish(settings: Settings, transactions: int, aborted: bool = False) -> None:
    """Publish an example in each of some transactions, the last of which may be aborted."""
    transactional_id = {"transactional.id": f"{settings.topic_prefix}{uuid4().hex}"}
    producer = Producer(confluent(settings, **transactional_id))
    producer.init_transactions(20)
    for _ in range(transactions):
        producer.begin_transaction()
        producer.produce(settings.topic("examples"), b"{}", partition=0)
        producer.commit_transaction(20)
    if aborted:
        producer.begin_transaction()
        producer.produce(settings.topic("examples"), b"{}", partition=0)
        producer.flush()
        producer.abort_transaction(20)


def poll_until(reader: ExampleReader, checkpoint: Checkpoint, done: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not done():
        assert time.monotonic() < end, (checkpoint, reader.lag(checkpoint))
        for record in reader.poll(100, 0.05, threading.Event()):
            checkpoint.positions[record.partition] = record.offset + 1


@pytest.mark.parametrize("aborted", [False, True])
def test_at_the_end_of_transactions_the_lag_is_0(settings, aborted):
    publish(settings, 3, aborted)
    checkpoint, losses = Checkpoint(), Losses()
    reader = ExampleReader(settings, checkpoint, losses)
    poll_until(reader, checkpoint, lambda: checkpoint.positions.get(0) == 5)
    poll_until(reader, checkpoint, lambda: reader.lag(checkpoint) == 0)
    publish(settings, 1)
    poll_until(reader, checkpoint, lambda: checkpoint.positions[0] > 5 and reader.lag(checkpoint) == 0)
    assert losses.check({0: 0}) == []
    reader.close()


def test_examples_deleted_below_the_checkpoint_are_lost(settings):
    publish(settings, 10)
    admin, before = AdminClient(confluent(settings)), TopicPartition(settings.topic("examples"), 0, 12)
    for deletion in admin.delete_records([before]).values():
        deletion.result(20)
    checkpoint, losses = Checkpoint(positions={0: 4}), Losses()
    reader = ExampleReader(settings, checkpoint, losses)
    poll_until(reader, checkpoint, lambda: reader.lag(checkpoint) == 0 and checkpoint.positions[0] == 19)
    losses.check({0: 12})
    assert losses.counts == {0: 8}
    reader.close()


class SetBack:
    """A consumer on a machine whose clock is set back: what waits in librdkafka waits an hour longer."""

    def __init__(self, config: Any) -> None:
        self.batches = [2, 0, 3, 0, 50]

    def list_topics(self, topic: str, timeout: float) -> Any:
        partitions = type("Topic", (), {"partitions": {0: None}})
        return type("Metadata", (), {"topics": {topic: partitions}})

    def assign(self, partitions: Any) -> None: ...

    def consume(self, count: int, timeout: float) -> list[Any]:
        assert timeout == 0, "an hour"
        return [Record(n) for n in range(min(self.batches.pop(0) if self.batches else 0, count))]


class Record:
    def __init__(self, offset: int) -> None:
        self._offset = offset

    def error(self) -> None: ...

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self._offset

    def value(self) -> bytes:
        return b"{}"


def test_a_clock_that_is_set_back_stops_no_gathering(monkeypatch):
    monkeypatch.setattr(module, "Consumer", SetBack)
    reader = ExampleReader(Settings(), Checkpoint(), Losses())
    began = time.monotonic()
    stop = threading.Event()
    assert len(reader.poll(6, 60, stop)) == 6, "as many as are wanted, without waiting any longer"
    assert time.monotonic() - began < 30
    assert reader.poll(6, 0.05, stop) == []
    stop.set()
    assert reader.poll(6, 60, stop) == []
