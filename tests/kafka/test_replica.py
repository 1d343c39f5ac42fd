"""The replica follows the model topic: in a thread at first, then on the loop that serves."""

import asyncio
import time
from unittest.mock import Mock

import pytest
from confluent_kafka import Producer

from models.checkpoint import CHECKPOINT_KEY, Checkpoint
from models.core import Example
from models.model import Model
from streams.kafka import model_reader, replica_store
from streams.kafka import replica as module
from streams.kafka.embedded import EmbeddedBroker
from streams.kafka.replica import Replica, TopicRecreated
from streams.runtime.catalog import LiveCatalog
from streams.runtime.serving import Serving
from streams.settings import Settings
from tests.waiting import until


class Topic:
    """A learner's side."""

    def __init__(self, settings: Settings) -> None:
        self.learner, self.number = model(), 0
        self._name = settings.topic("model")
        self._producer = Producer({"bootstrap.servers": settings.brokers})

    def publish(self, number: int | None = None) -> None:
        """Learn a click on a new item, and say so."""
        self.number += 1
        self.learner.learn([Example("u", self.number, self.number, "view", str(self.number))])
        rows = self.learner.dump_touched()
        self.send(rows)
        checkpoint = Checkpoint(number=number or self.number, rows=len(rows))
        self._producer.produce(self._name, key=CHECKPOINT_KEY, value=checkpoint.encode(), partition=0)
        self._producer.flush()

    def send(self, rows: dict[bytes, bytes | None]) -> None:
        """Rows without a checkpoint."""
        for key, value in rows.items():
            self._producer.produce(self._name, key=key, value=value, partition=0)


def model() -> Model:
    return Model({"popularity": 1.0, "next": 1.0}, capacity=100)


@pytest.fixture
def settings(tmp_path):
    broker = EmbeddedBroker()
    settings = Settings(brokers=broker.brokers, embedded=True, partitions=1, data_dir=tmp_path, max_items=100)
    broker.create(*map(settings.topic, ("model", "events", "catalog")))
    return settings, broker  # which ends with its last owner


def follow(replica: Replica, number: int) -> None:
    until = time.monotonic() + 20
    while replica.current.number < number or not replica.ready:
        replica.advance()
        time.sleep(0.004)
        assert time.monotonic() < until, f"{replica.current} after 20 s"


def test_it_catches_up_in_a_thread_and_goes_on_without(settings):
    settings, _broker = settings
    topic, replica = Topic(settings), Replica(settings, model())
    for _ in range(3):
        topic.publish()
    replica.start()
    follow(replica, 3)
    assert not replica._thread.is_alive()
    replica.start()  # Faust announces a worker twice
    for _ in range(30):
        topic.publish()
    follow(replica, 33)
    assert replica.model.items.row("33") == topic.learner.items.row("33") >= 0
    assert replica.torn == 0
    asyncio.run(replica.stop())

    again = Replica(settings, model())  # from disk
    again.start()
    follow(again, 33)
    assert again.model.items.row("33") >= 0
    asyncio.run(again.stop())


class Restoring(Serving):
    """Serves as soon as `users_there`."""

    def __init__(self, replica: Replica, settings: Settings) -> None:
        self.replica, self.settings, self.users_there = replica, settings, False
        self._model_loaded = self._catalog_loaded = False
        self.catalog = LiveCatalog(settings, [replica.model])

    @property
    def restored(self) -> bool:
        return self.users_there


def test_it_goes_on_while_the_users_are_restored(settings, monkeypatch):
    settings, _broker = settings
    monkeypatch.setattr("streams.runtime.serving.gc", Mock())
    topic, replica = Topic(settings), Replica(settings, model())
    topic.publish()
    replica.start()
    serving = Restoring(replica, settings)
    serving.catalog.start()

    async def restore() -> None:
        loading = asyncio.create_task(serving.loaded())
        for number in (1, 2, 3):
            await until(lambda number=number: replica.current.number >= number and replica.ready)
            topic.publish()
        assert not loading.done()
        serving.users_there = True
        await loading
        await replica.stop()
        await asyncio.to_thread(serving.catalog.stop)

    asyncio.run(restore())


def test_what_ended_the_reading_is_said_each_time(settings):
    settings, _broker = settings
    topic, replica = Topic(settings), Replica(settings, model())
    topic.publish()
    topic.publish()
    replica.start()
    follow(replica, 2)
    topic.publish(number=1)
    with pytest.raises(TopicRecreated, match="checkpoint 1 came after 2"):
        follow(replica, 3)
    with pytest.raises(TopicRecreated):
        replica.advance()
    assert isinstance(replica.error, TopicRecreated)
    asyncio.run(replica.stop())


def test_a_long_checkpoint_is_never_held_whole(settings, monkeypatch):
    """A compacted topic is one: neither the queue, nor what is to be saved, nor the reader holds it all."""
    settings, _broker = settings
    bounds = {
        (model_reader, "HELD_ROWS"): 50,
        (replica_store, "UNSAVED_ROWS"): 60,
        (module, "QUEUED_ROWS"): 70,
    }
    for (where, name), rows in bounds.items():
        monkeypatch.setattr(where, name, rows)
    monkeypatch.setattr(module, "SLICE", 20)
    topic, replica = Topic(settings), Replica(settings, model())
    clicks = [Example("u", n, n, "view", str(n % 90), history=(str(n % 7),)) for n in range(2000)]
    topic.learner.learn(clicks)
    rows = topic.learner.dump_touched()
    for _ in range(3):  # 3 times the rows of the model, as in a topic that is not compacted yet
        topic.send(rows)
    topic.publish()
    held: list[tuple[int, int]] = []
    add, enqueue = replica_store.ReplicaStore.add, Replica._enqueue

    def watch_add(store, part):
        add(store, part)
        held.append((len(store._unsaved), 0))

    def watch_enqueue(replica, *args):
        enqueue(replica, *args)
        held.append((0, replica._queue.rows))

    monkeypatch.setattr(replica_store.ReplicaStore, "add", watch_add)
    monkeypatch.setattr(Replica, "_enqueue", watch_enqueue)
    replica.start()
    asyncio.run(until(lambda: replica._queue.rows > 70))  # and there the thread waits
    assert not replica.ready
    follow(replica, 1)
    assert max(unsaved for unsaved, _ in held) < 60 + 20
    assert max(queued for _, queued in held) <= 70 + 50 + 20
    assert replica.model.items.ids == topic.learner.items.ids
    asyncio.run(replica.stop())
    again = Replica(settings, model())  # from disk
    again.start()
    follow(again, 1)
    assert again.model.items.ids == topic.learner.items.ids
    asyncio.run(again.stop())
