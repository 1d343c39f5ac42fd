"""Workers and learners of different layouts and sizes on one topic, on the embedded broker."""

import asyncio
import threading
import time

import pytest
from confluent_kafka import Producer

from models.checkpoint import CHECKPOINT_KEY, Checkpoint
from models.core import Example
from models.model import Model
from streams.kafka import model_reader, replica_store
from streams.kafka.embedded import EmbeddedBroker
from streams.kafka.model_reader import last_checkpoint, restore
from streams.kafka.replica import Replica
from streams.settings import Settings

ROOM = 40


def model(neighbours: int = 48, capacity: int = ROOM) -> Model:
    return Model(["popularity", "next"], capacity, parameters={"next": {"neighbours": neighbours}})


class Learner:
    """A learner without a transactional id: it takes over, learns and publishes."""

    def __init__(self, settings: Settings, model: Model) -> None:
        self.model = model
        self._topic = settings.topic("model")
        self._producer = Producer({"bootstrap.servers": settings.brokers})
        self.checkpoint, self.unread = restore(settings, [model], threading.Event())
        self.started_over = model.parts.take_over(self.checkpoint.number + 1)

    def publish(self, items: int = 9, clicks: int = 60, layouts: bool = True) -> None:
        """Learn clicks on these items, and publish a checkpoint; without layouts, as versions before did."""
        n, seen = clicks, self.checkpoint.number * clicks
        self.model.learn(
            [Example("u", k, k, "view", f"i{k % items}", history=(f"i{(k - 1) % items}",))
             for k in range(seen, seen + n)]
        )  # fmt: skip
        rows = self.model.dump_touched() | self.unread.take(1000)
        self.checkpoint.number += 1
        self.checkpoint.rows = len(rows)
        self.checkpoint.layouts = self.model.parts.published() if layouts else None
        self.checkpoint.max_items = self.model.items.capacity if layouts else 0
        self.checkpoint.item_rows = len(self.model.items.ids) if layouts else 0
        for key, value in (rows | {CHECKPOINT_KEY: self.checkpoint.encode()}).items():
            self._producer.produce(self._topic, key=key, value=value, partition=0)
        self._producer.flush()


@pytest.fixture
def settings(tmp_path):
    broker = EmbeddedBroker()
    settings = Settings(brokers=broker.brokers, embedded=True, partitions=1, data_dir=tmp_path)
    broker.create(settings.topic("model"), settings.topic("events"))
    yield settings
    del broker


def advance(replica: Replica, condition) -> None:
    until = time.monotonic() + 20
    while not condition():
        replica.advance()
        time.sleep(0.004)
        assert time.monotonic() < until, f"{replica.current.number} after 20 s"


def follow(replica: Replica, number: int) -> None:
    replica.start()
    advance(replica, lambda: replica.ready and replica.current.number >= number)


def stop(replica: Replica) -> None:
    asyncio.run(replica.stop())


def sizes(model: Model) -> list[int]:
    return model.generators["next"].state["size"][:12].tolist()


def test_a_worker_serves_on_through_a_change_of_layout_and_back(settings):
    """The learner is replaced by one with other neighbours, then by one as before."""
    first = Learner(settings, model())
    first.publish()
    replica = Replica(settings, model())
    follow(replica, 1)
    assert (replica.differences, replica.not_updated) == ([], [])
    second = Learner(settings, model(8))
    assert second.started_over == ["next"]
    assert second.unread.by_component() == {"next": 9}
    second.publish(items=12)
    follow(replica, 2)
    assert sizes(replica.model) == sizes(first.model), "as before"
    assert (replica.model.popularity.events == second.model.popularity.events).all()
    assert replica.model.items.ids == second.model.items.ids
    said = "next is not updated: model_parameters.next.neighbours: this worker has 48, the learner 8"
    assert (replica.differences, replica.not_updated) == ([said], ["next"])

    fresh = Replica(settings.model_copy(update={"data_dir": settings.data_dir / "fresh"}), model())
    follow(fresh, 2)
    assert fresh.differences == [said]
    assert not any(sizes(fresh.model)), "it understood nothing of it"

    third = Learner(settings, model())
    assert third.started_over == ["next"], "what it had published before is deleted, and old"
    third.publish(items=5)
    for each in (replica, fresh):
        follow(each, 3)
        assert sizes(each.model) == sizes(third.model)
        assert each.differences == []
        stop(each)


def test_a_restart_from_disk_reads_what_it_understands(settings):
    first = Learner(settings, model())
    first.publish()
    replica = Replica(settings, model())
    follow(replica, 1)
    Learner(settings, model(8)).publish()
    follow(replica, 2)
    stop(replica)
    for neighbours, understood in ((48, False), (8, True)):
        again = Replica(settings, model(neighbours))
        follow(again, 2)
        assert any(sizes(again.model)) == understood
        assert again.not_updated == ([] if understood else ["next"])
        assert again.model.popularity.events.sum() == 120
        stop(again)


def test_a_model_that_outgrows_a_worker_is_not_updated_and_the_next_start_has_room(settings, monkeypatch):
    monkeypatch.setattr(replica_store, "LOADED_ROWS", 10)
    learner = Learner(settings, model(capacity=200))
    learner.publish(items=30)
    replica = Replica(settings, model())
    follow(replica, 1)
    sized = "max_items: this worker has 40, the learner 200; a restart takes the learner's"
    assert replica.differences == [f"lists may differ: {sized}"]
    learner.publish(items=60)
    advance(replica, lambda: replica.held_back)
    learner.publish(items=9)
    advance(replica, lambda: replica._reading is not None and not replica._queue)
    assert replica.current.number == 1
    assert len(replica.model.items) == 30
    assert replica.differences == [f"nothing is updated: {sized}"]
    assert replica.not_updated == ["statistics", "in-context", "popularity", "next", "coverage"]
    stop(replica)
    assert last_checkpoint(settings).max_items == 200
    small = Replica(settings, model())  # as it would be on a topic without sizes
    small.start()
    advance(small, lambda: small.held_back and small.ready)
    assert len(small.model.items) == 0
    stop(small)
    with pytest.raises(ValueError, match="max_items=40 rows"):
        restore(settings, [model()], threading.Event())


@pytest.mark.parametrize("neighbours", [48, 8])
def test_a_topic_from_before_there_were_layouts(settings, neighbours):
    """What did not change since is taken over; the rest starts over, and its rows are deleted."""
    old = Learner(settings, model(neighbours))
    old.publish(layouts=False)
    replica = Replica(settings, model())
    follow(replica, 1)
    understood = neighbours == 48
    assert any(sizes(replica.model)) == understood
    told = [] if understood else ["next is not updated: its rows are of another version"]
    assert replica.differences == told
    new = Learner(settings, model())
    assert new.started_over == ([] if understood else ["next"])
    assert new.unread.by_component() == ({} if understood else {"next": 9})
    new.publish()
    follow(replica, 2)
    assert replica.differences == []
    assert sizes(replica.model) == sizes(new.model)
    stop(replica)


def test_the_last_checkpoint_is_found_however_far_from_the_end(settings, monkeypatch):
    assert last_checkpoint(settings) is None
    monkeypatch.setattr(model_reader, "TAIL", 2)
    learner = Learner(settings, model())
    learner.publish()
    producer = Producer({"bootstrap.servers": settings.brokers})
    for n in range(30):  # rows of a checkpoint that was never completed
        producer.produce(settings.topic("model"), key=b"next/%d" % n, value=b".", partition=0)
    producer.flush()
    assert last_checkpoint(settings).number == 1


def test_unread_rows_are_those_of_no_component_and_not_deleted_ones(settings):
    learner = Learner(settings, model())
    learner.publish()
    producer = Producer({"bootstrap.servers": settings.brokers})
    for key in (b"graph/1", b"graph/2", b"next.99/1", b"waiting/x", b"graph/1"):
        producer.produce(settings.topic("model"), key=key, value=b"\1", partition=0)
    producer.produce(settings.topic("model"), key=b"graph/2", value=None, partition=0)
    producer.flush()
    learner.publish()
    second = Learner(settings, model())
    assert second.unread.by_component() == {"graph": 1, "next.99": 1}
    second.publish()
    assert not Learner(settings, model()).unread
    assert isinstance(second.checkpoint, Checkpoint)
