"""Read the `examples` topic, from where the model's checkpoint says."""

import threading
import time

from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, TopicPartition

from models.checkpoint import Checkpoint
from models.learning import ExampleRecord
from streams.kafka.client import METADATA_TIMEOUT_S, consumer_config, is_end, is_no_record
from streams.kafka.losses import Losses
from streams.settings import Settings

FETCH_WAIT_MS = 50
GATHER_STEP_S = 0.01
"""Pause between two looks at what librdkafka has fetched."""


class ExampleReader:
    """Reads examples after a checkpoint; `losses` counts those that were deleted before.

    It joins no consumer group and commits no offset: where to continue is in the checkpoint itself, so that
    the model and its place in `examples` can never differ.  `KafkaException` if Kafka cannot be reached.
    """

    def __init__(self, settings: Settings, checkpoint: Checkpoint, losses: Losses) -> None:
        self._consumer = Consumer(
            consumer_config(
                settings,
                FETCH_WAIT_MS,
                **{"isolation.level": "read_committed", "enable.partition.eof": True},
            )
        )
        self._losses = losses
        self._ended: dict[int, int] = {}
        """Offset up to which everything was read, by partition whose end was reached: a partition may end
        with the marker of a transaction, which is no record."""
        losses.expect(checkpoint.positions)
        topic = settings.topic("examples")
        partitions = self._consumer.list_topics(topic, METADATA_TIMEOUT_S).topics[topic].partitions
        self._consumer.assign(
            [
                TopicPartition(topic, partition, checkpoint.positions.get(partition, OFFSET_BEGINNING))
                for partition in sorted(partitions)
            ]
        )

    def poll(self, count: int, gather_s: float, stop: threading.Event) -> list[ExampleRecord]:
        """The next records: what comes within `gather_s` or until `stop` is set, up to `count`.

        They are gathered, because a step of torch costs a millisecond for one example as for a hundred.

        librdkafka waits until a time of the wall clock (its issue 2145): when that is set back by an hour, a
        wait takes an hour longer.  So the waiting is done here, and librdkafka is asked for what it has.
        """
        end = time.monotonic() + gather_s
        messages = self._consumer.consume(count, 0)
        while len(messages) < count and (left := end - time.monotonic()) > 0:
            if stop.wait(min(left, GATHER_STEP_S)):
                break
            messages += self._consumer.consume(count - len(messages), 0)
        return self._records(messages)

    def lag(self, checkpoint: Checkpoint) -> int:
        """Examples published after the checkpoint, as far as the consumer knows without asking Kafka.

        Call it once all that `poll` returned is in the checkpoint.
        """
        total = 0
        for assigned in self._consumer.assignment():
            low, high = self._consumer.get_watermark_offsets(assigned, cached=True)
            read = checkpoint.positions.get(assigned.partition, 0)
            total += max(high - max(read, self._ended.get(assigned.partition, 0), low), 0)
        return total

    def close(self) -> None:
        """Close the consumer."""
        self._consumer.close()

    def _records(self, messages: list[Message]) -> list[ExampleRecord]:
        records = []
        runs: dict[int, tuple[int, int]] = {}  # the latest offsets without a gap, by partition
        for message in messages:
            partition, offset = message.partition() or 0, message.offset() or 0
            if is_no_record(message):
                if is_end(message):
                    self._ended[partition] = offset
                continue
            first, after = runs.get(partition, (offset, offset))
            if offset != after:
                self._losses.read(partition, first, after)
                first = offset
            runs[partition] = first, offset + 1
            records.append(ExampleRecord(partition, offset, message.value()))
        for partition, (first, after) in runs.items():
            self._losses.read(partition, first, after)
        return records
