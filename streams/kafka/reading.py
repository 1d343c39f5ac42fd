"""Read a topic on demand: its latest records, or one of them; bounded in time and in bytes."""

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka import Consumer, Message, TopicPartition

from streams.kafka.client import consumer_config, is_end, is_no_record
from streams.settings import Settings

BATCH = 50
MAX_BYTES = 32 * 1024 * 1024
"""Bytes of keys and values that a reading holds, at most, shared by its partitions: the oldest leave."""


def latest(
    settings: Settings, topic: str, per_partition: int, timeout_s: float, max_bytes: int = MAX_BYTES
) -> list[Message]:
    """The latest `per_partition` records of each partition, in the order of each partition; blocks.

    `KafkaException` if Kafka does not answer.  What is not read within `timeout_s` is left out, as are the
    oldest records of more than `max_bytes`.
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
        consumer.assign([TopicPartition(settings.topic(topic), partition, offset)])
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            message = consumer.poll(0.1)
            if message is not None and not is_no_record(message):
                return message if message.offset() == offset else None
        return None


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
    """Records from these offsets to the end of each partition; of too many bytes the newest ones.

    The latest record of a partition is always among them.
    """
    consumer.assign([TopicPartition(name, partition, offset) for partition, offset in starts.items()])
    newest: dict[int, deque[Message]] = {partition: deque() for partition in starts}
    sizes = dict.fromkeys(starts, 0)
    ended: set[int] = set()
    budget, deadline = max_bytes // max(len(starts), 1), time.monotonic() + timeout_s
    while len(ended) < len(starts) and time.monotonic() < deadline:
        for message in consumer.consume(BATCH, 0.1):
            partition = message.partition() or 0
            if is_no_record(message):
                if is_end(message):
                    ended.add(partition)
                continue
            newest[partition].append(message)
            sizes[partition] += _size(message)
            while sizes[partition] > budget and len(newest[partition]) > 1:
                sizes[partition] -= _size(newest[partition].popleft())
    return [message for messages in newest.values() for message in messages]


def _size(message: Message) -> int:
    return len(message.key() or b"") + len(message.value() or b"")
