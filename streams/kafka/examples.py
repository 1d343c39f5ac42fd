"""Read the `examples` topic, from where the model's checkpoint says."""

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from models.checkpoint import Checkpoint
from models.learning import ExampleRecord
from streams.kafka.client import METADATA_TIMEOUT_S, consumer_config, is_no_record
from streams.settings import Settings

FETCH_WAIT_MS = 50


class ExampleReader:
    """Reads examples after a checkpoint.

    It joins no consumer group and commits no offset: where to continue is in the checkpoint itself, so that
    the model and its place in `examples` can never differ.  `KafkaException` if Kafka cannot be reached.
    """

    def __init__(self, settings: Settings, checkpoint: Checkpoint) -> None:
        self._consumer = Consumer(
            consumer_config(settings, FETCH_WAIT_MS, **{"isolation.level": "read_committed"})
        )
        topic = settings.topic("examples")
        partitions = self._consumer.list_topics(topic, METADATA_TIMEOUT_S).topics[topic].partitions
        self._consumer.assign(
            [
                TopicPartition(topic, partition, checkpoint.positions.get(partition, OFFSET_BEGINNING))
                for partition in sorted(partitions)
            ]
        )

    def poll(self, count: int, gather_s: float) -> list[ExampleRecord]:
        """The next records: what comes within `gather_s`, up to `count`.

        They are gathered, because a step of torch costs a millisecond for one example as for a hundred.
        """
        return [
            ExampleRecord(message.partition() or 0, message.offset() or 0, message.value())
            for message in self._consumer.consume(count, gather_s)
            if not is_no_record(message)
        ]

    def lag(self, checkpoint: Checkpoint) -> int:
        """Examples published after the checkpoint, as far as the consumer knows without asking Kafka."""
        total = 0
        for assigned in self._consumer.assignment():
            low, high = self._consumer.get_watermark_offsets(assigned, cached=True)
            total += max(high - checkpoint.positions.get(assigned.partition, max(low, 0)), 0)
        return total

    def close(self) -> None:
        """Close the consumer."""
        self._consumer.close()
