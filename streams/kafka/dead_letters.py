"""Reads the `dead-letter` topic when somebody asks, and sends letters to `events` again."""

import time
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from streams.kafka.client import consumer_config, is_no_record, producer_config
from streams.messages import DeadLetter, Event, encode
from streams.settings import Settings

PATIENCE_S = 5.0
LATEST = 50
"""Read of each partition."""


@dataclass(frozen=True, slots=True)
class StoredDeadLetter:
    """A record of the topic; `header` is None where its headers are not ours."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    header: DeadLetter | None


def latest(settings: Settings, count: int = LATEST) -> list[StoredDeadLetter]:
    """The latest `count` letters of each partition, the newest first; blocks.

    `KafkaException` if Kafka does not answer.  What is not read within `PATIENCE_S` is left out.
    """
    consumer = _consumer(settings)
    try:
        name = settings.topic("dead-letter")
        begin = {}
        for partition in consumer.list_topics(name, PATIENCE_S).topics[name].partitions:
            low, high = consumer.get_watermark_offsets(TopicPartition(name, partition), PATIENCE_S)
            if low < high:
                begin[partition] = max(low, high - count)
        found = _read(consumer, name, begin)
    finally:
        consumer.close()
    return sorted(found, key=lambda one: (one.header.time if one.header else 0, one.offset), reverse=True)


def at(settings: Settings, partition: int, offset: int) -> StoredDeadLetter | None:
    """One letter; None if there is none, any more or yet.  BlockSums."""
    consumer = _consumer(settings)
    try:
        name = settings.topic("dead-letter")
        there = consumer.list_topics(name, PATIENCE_S).topics[name].partitions
        if partition not in there:
            return None
        low, high = consumer.get_watermark_offsets(TopicPartition(name, partition), PATIENCE_S)
        if not low <= offset < high:
            return None
        return next(
            (one for one in _read(consumer, name, {partition: offset}, 1) if one.offset == offset), None
        )
    finally:
        consumer.close()


class Sender:
    """Publishes events of letters, as of the time at which they came first."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._topic = settings, settings.topic("events")
        self._producer: Producer | None = None

    def send(self, event: Event, arrived: int) -> None:
        """Wait until Kafka has it; `KafkaException` if it does not take it.  BlockSums."""
        if self._producer is None:
            self._producer = Producer(producer_config(self._settings))
        failed: list[KafkaError] = []
        self._producer.produce(
            self._topic,
            encode(event),
            event.user.encode(),
            headers=[("replay", str(arrived).encode())],
            on_delivery=lambda error, _: failed.append(error) if error else None,
        )
        if self._producer.flush(PATIENCE_S):
            failed.append(KafkaError(KafkaError._TIMED_OUT))
        if failed:
            raise KafkaException(failed[0])


def _consumer(settings: Settings) -> Consumer:
    return Consumer(consumer_config(settings, **{"enable.partition.eof": True, "log_level": 0}))


def _read(consumer: Consumer, name: str, begin: dict[int, int], most: int = 0) -> list[StoredDeadLetter]:
    """From these offsets to the end of each partition, or the first `most`."""
    consumer.assign([TopicPartition(name, p, offset) for p, offset in begin.items()])
    found: list[StoredDeadLetter] = []
    ended: set[int | None] = set()
    until = time.monotonic() + PATIENCE_S
    while len(ended) < len(begin) and time.monotonic() < until and not (most and len(found) >= most):
        for message in consumer.consume(500, 0.1):
            if is_no_record(message):
                if message.error().code() == KafkaError._PARTITION_EOF:
                    ended.add(message.partition())
            else:
                found.append(_letter(message))
    return found


def _letter(message: Message) -> StoredDeadLetter:
    try:
        header = DeadLetter.from_headers(message.headers() or [])
    except (ValueError, UnicodeDecodeError):
        header = None
    return StoredDeadLetter(
        message.partition() or 0, message.offset() or 0, message.key(), message.value(), header
    )
