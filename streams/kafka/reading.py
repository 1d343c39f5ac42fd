"""Read a topic on demand: its latest records, or one of them; bounded in time and in bytes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka import Consumer, Message, TopicPartition

from streams.kafka.client import consumer_config, is_end, is_no_record
from streams.settings import Settings

BATCH = 50
MAX_BYTES = 32 * 1024 * 1024
"""Bytes of keys and values that a reading holds, at most: what comes after is left out."""


def latest(
    settings: Settings, topic: str, per_partition: int, timeout_s: float, max_bytes: int = MAX_BYTES
) -> list[Message]:
    """The latest `per_partition` records of each partition, in the order of each partition; blocks.

    `KafkaException` if Kafka does not answer.  What is not read within `timeout_s`, or is beyond `max_bytes`,
    is left out.
    """
    with _consumer(settings) as consumer:
        starts = {}
        for partition, (low, high) in _bounds(consumer, settings.topic(topic), timeout_s).items():
            if low < high:
                starts[partition] = max(low, high - per_partition)
        return _read(consumer, settings.topic(topic), starts, timeout_s, max_bytes)


def record_at(
    settings: Settings, topic: str, partition: int, offset: int, timeout_s: float
) -> Message | None:
    """The record at an offset; None if there is none, any more or yet.  Blocks.

    `KafkaException` if Kafka does not answer.
    """
    with _consumer(settings) as consumer:
        low, high = _bounds(consumer, settings.topic(topic), timeout_s).get(partition, (0, 0))
        if not low <= offset < high:
            return None
        messages = _read(consumer, settings.topic(topic), {partition: offset}, timeout_s, max_bytes=1)
        return next((message for message in messages if message.offset() == offset), None)


@contextmanager
def _consumer(settings: Settings) -> Iterator[Consumer]:
    consumer = Consumer(consumer_config(settings, **{"enable.partition.eof": True, "log_level": 0}))
    try:
        yield consumer
    finally:
        consumer.close()


def _bounds(consumer: Consumer, name: str, timeout_s: float) -> dict[int, tuple[int, int]]:
    """First offset and end offset by partition."""
    partitions = consumer.list_topics(name, timeout_s).topics[name].partitions
    return {
        partition: consumer.get_watermark_offsets(TopicPartition(name, partition), timeout_s)
        for partition in partitions
    }


def _read(
    consumer: Consumer, name: str, starts: dict[int, int], timeout_s: float, max_bytes: int
) -> list[Message]:
    """Records from these offsets to the end of each partition."""
    consumer.assign([TopicPartition(name, partition, offset) for partition, offset in starts.items()])
    messages: list[Message] = []
    ended: set[int | None] = set()
    size, deadline = 0, time.monotonic() + timeout_s
    while len(ended) < len(starts) and size < max_bytes and time.monotonic() < deadline:
        for message in consumer.consume(BATCH, 0.1):
            if is_no_record(message):
                if is_end(message):
                    ended.add(message.partition())
            elif size < max_bytes:
                messages.append(message)
                size += len(message.key() or b"") + len(message.value() or b"")
    return messages
