"""What is changed under a running process is noticed: on a real broker, and on the embedded one."""

import time
from uuid import uuid4

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions

from streams.kafka.admin import create
from streams.kafka.client import confluent
from streams.kafka.losses import Losses
from streams.kafka.topic_watch import TopicWatch
from streams.settings import Settings
from streams.topics import topics


@pytest.fixture
def settings(kafka) -> Settings:
    settings = Settings(brokers=kafka.brokers, topic_prefix=f"{uuid4().hex}.", partitions=2)
    create(settings)
    return settings


def watch(settings: Settings, losses: Losses | None = None) -> TopicWatch:
    return TopicWatch(settings, "events", losses or Losses(), lambda: range(2))


def publish(settings: Settings, count: int, partition: int = 0) -> None:
    producer = Producer(confluent(settings))
    for n in range(count):
        producer.produce(settings.topic("events"), str(n), partition=partition)
    producer.flush()


def delete_topics(settings: Settings, *names: str) -> AdminClient:
    admin = AdminClient(confluent(settings))
    for deletion in admin.delete_topics([settings.topic(name) for name in names]).values():
        deletion.result(20)
    return admin


def look_until(watched: TopicWatch, found: str) -> None:
    """Look until a problem has the text, for a few seconds: brokers learn of a change one after the other."""
    end = time.monotonic() + 20
    while not any(found in line for line in watched.problems):
        assert time.monotonic() < end, watched.problems
        watched.look()


def test_topics_that_stay_as_they_are_have_no_problems(settings):
    losses = Losses()
    watched = watch(settings, losses)
    publish(settings, 5)
    losses.read(0, 0, 5)
    for _ in range(3):
        watched.look()
    assert watched.problems == []
    assert losses.counts == {}


def test_added_partitions_are_said(settings):
    watched = watch(settings)
    watched.look()
    admin = AdminClient(confluent(settings))
    admin.create_partitions([NewPartitions(settings.topic("events"), 3)])[settings.topic("events")].result(20)
    look_until(watched, f"{settings.topic('events')}: has 3 partitions, not 2")


@pytest.mark.parametrize("name", ["events", "examples", "model"])
def test_a_deleted_and_a_recreated_topic_are_said(settings, name):
    watched = watch(settings)
    watched.look()
    delete_topics(settings, name)
    look_until(watched, f"{settings.topic(name)}: was deleted: ")
    create(settings)
    look_until(watched, f"{settings.topic(name)}: was deleted and recreated")
    assert len(watched.problems) == 1


def test_records_that_retention_deletes_before_they_are_read_are_counted(settings, caplog):
    losses = Losses()
    watched = watch(settings, losses)
    publish(settings, 50)
    losses.expect({0: 10, 1: 0})
    watched.look()
    admin = AdminClient(confluent(settings))
    for deletion in admin.delete_records([TopicPartition(settings.topic("events"), 0, 40)]).values():
        deletion.result(20)
    losses.read(0, 40, 50)  # as the consumer does after its reset
    watched.look()
    assert losses.counts == {0: 30}
    assert "30 records of partition 0 were deleted before they were read (offsets 10 to 39)" in caplog.text
    assert "FRESHET_EVENTS_RETENTION_H" in caplog.text
    watched.look()
    assert losses.counts == {0: 30}


def test_on_a_broker_without_topic_ids_an_end_below_what_was_read_is_said(embedded):
    settings = Settings(brokers=embedded.brokers, embedded=True, topic_prefix=f"{uuid4().hex}.", partitions=2)
    embedded.create(*(t.name for t in topics(settings).values()))
    losses = Losses()
    watched = watch(settings, losses)
    publish(settings, 5)
    losses.read(0, 0, 9)
    watched.look()
    assert watched.problems == [], "an end that was asked for before the last read"
    watched.look()
    assert "partition 0 ends at 5, and this process has read it to 9" in watched.problems[0]
