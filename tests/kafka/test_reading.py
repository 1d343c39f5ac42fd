"""Reading a topic on demand, and sending a record and waiting for it."""

from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest
from confluent_kafka import KafkaException

from streams.kafka import sending
from streams.kafka.embedded import PARTITIONS
from streams.kafka.reading import latest, record, record_at
from streams.kafka.sending import Sender
from streams.settings import Settings

TIMEOUT_S = 20


@pytest.fixture
def settings(embedded):
    settings = Settings(brokers=embedded.brokers, embedded=True, topic_prefix=f"{uuid4().hex}.")
    embedded.create(settings.topic("events"))
    return settings


@pytest.fixture
def sent(settings) -> dict[int, list[int]]:
    """Offsets by partition of ten records in each."""
    sender = Sender(settings)
    return {
        partition: [sender.send("events", b"k", b"%d" % n, [("h", b"%d" % n)], partition) for n in range(10)]
        for partition in range(PARTITIONS)
    }


def test_threads_send_through_one_sender(settings):
    sender = Sender(settings)
    with ThreadPoolExecutor(8) as threads:
        offsets = list(threads.map(lambda n: sender.send("events", b"k", b"%d" % n, partition=0), range(100)))
    assert sorted(offsets) == list(range(100))
    for n, offset in enumerate(offsets):
        message = record_at(settings, "events", 0, offset, TIMEOUT_S)
        assert message is not None
        assert message.value() == b"%d" % n


def test_an_offset_is_what_kafka_says(sent):
    assert sent == {partition: list(range(10)) for partition in range(PARTITIONS)}


def test_the_latest_records_of_each_partition(settings, sent):
    messages = latest(settings, "events", 3, TIMEOUT_S, record)
    by_partition = {
        partition: [message.value() for message in messages if message.partition() == partition]
        for partition in range(PARTITIONS)
    }
    assert by_partition == {partition: [b"7", b"8", b"9"] for partition in range(PARTITIONS)}


def test_a_topic_without_records(settings):
    assert latest(settings, "events", 3, TIMEOUT_S, record) == []


def test_what_is_held_is_bounded_in_bytes(settings, sent):
    """The latest of each partition is kept, whatever it has."""
    messages = latest(settings, "events", 10, TIMEOUT_S, record, max_bytes=14)
    assert sum(record(message)[1] for message in messages) == 4 * PARTITIONS, "key, value, header: 4 bytes"


def test_what_is_kept_of_a_record_may_be_smaller_than_the_record(settings, sent):
    def last_byte(message):
        return message.value()[-1:], 1

    assert (
        len(latest(settings, "events", 10, TIMEOUT_S, last_byte, max_bytes=8 * PARTITIONS)) == 8 * PARTITIONS
    )


def test_a_record_by_its_offset(settings, sent):
    message = record_at(settings, "events", 2, 4, TIMEOUT_S)
    assert message is not None
    assert (message.partition(), message.offset(), message.value()) == (2, 4, b"4")
    assert message.headers() == [("h", b"4")]
    assert record_at(settings, "events", 2, 10, TIMEOUT_S) is None
    assert record_at(settings, "events", PARTITIONS, 0, TIMEOUT_S) is None


def test_a_broker_that_does_not_answer(monkeypatch):
    monkeypatch.setattr(sending, "TIMEOUT_S", 0.3)
    nowhere = Settings(brokers="127.0.0.1:9")
    with pytest.raises(KafkaException):
        Sender(nowhere).send("events", b"k", b"v")
    with pytest.raises(KafkaException):
        latest(nowhere, "events", 1, 0.3, record)
