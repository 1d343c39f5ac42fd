"""Read a topic on demand: its latest records, or one of them; bounded in time and in bytes."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from confluent_kafka import Consumer, Message, TopicPartition

from streams.kafka.client import consumer_config, is_end, is_no_record
from streams.kafka.header_names import headers
from streams.settings import Settings

MAX_BYTES = 32 * 1024 * 1024
"""Bytes that a reading keeps, at most, shared by its partitions: the oldest leave."""
FETCHED_BYTES = 4 * 1024 * 1024
"""Bytes that the client fetches ahead, in one answer and in all; a larger record comes all the same."""

T = TypeVar("T")


def record(message: Message) -> tuple[Message, int]:
    """The record as it is, and its bytes: what `latest` keeps where whole records are wanted."""
    size = sum(len(name) + len(value or b"") for name, value in headers(message) or [])
    return message, size + len(message.key() or b"") + len(message.value() or b"")


def latest(
    settings: Settings,
    topic: str,
    per_partition: int,
    timeout_s: float,
    keep: Callable[[Message], tuple[T, int]],
    max_bytes: int = MAX_BYTES,
) -> list[T]:
    """What `keep` makes of the latest `per_partition` records of each partition, in their order; blocks.

    `keep` is called with each record when it comes, and returns what is kept of it and how many bytes that
    is: so records may be many times larger than what is kept.  `KafkaException` if Kafka does not answer.
    What is not read within `timeout_s` is left out, as is the oldest of more than `max_bytes`.
    """
    with _consumer(settings) as consumer:
        starts = {}
        for partition, (low, high) in _bounds(consumer, settings.topic(topic), timeout_s).items():
            if low < high:
                starts[partition] = max(low, high - per_partition)
        return _read(consumer, settings.topic(topic), starts, timeout_s, keep, max_bytes)


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
    bounds = {"fetch.max.bytes": FETCHED_BYTES, "queued.max.messages.kbytes": FETCHED_BYTES // 1024}
    consumer = Consumer(consumer_config(settings, **{"enable.partition.eof": True, "log_level": 0} | bounds))
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
    consumer: Consumer,
    name: str,
    starts: dict[int, int],
    timeout_s: float,
    keep: Callable[[Message], tuple[T, int]],
    max_bytes: int,
) -> list[T]:
    """What is kept of the records from these offsets on; of too many bytes the newest.

    The latest record of a partition is always among them.
    """
    consumer.assign([TopicPartition(name, partition, offset) for partition, offset in starts.items()])
    newest: dict[int, deque[tuple[T, int]]] = {partition: deque() for partition in starts}
    sizes = dict.fromkeys(starts, 0)
    ended: set[int] = set()
    budget, deadline = max_bytes // max(len(starts), 1), time.monotonic() + timeout_s
    while len(ended) < len(starts) and time.monotonic() < deadline:
        message = consumer.poll(0.1)  # one at a time: several may be large
        if message is None:
            continue
        partition = message.partition() or 0
        if is_no_record(message):
            if is_end(message):
                ended.add(partition)
            continue
        newest[partition].append(keep(message))
        sizes[partition] += newest[partition][-1][1]
        while sizes[partition] > budget and len(newest[partition]) > 1:
            sizes[partition] -= newest[partition].popleft()[1]
    return [kept for partition in newest.values() for kept, _ in partition]
