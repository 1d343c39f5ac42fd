"""Read the checkpoints that were published to a `model` topic."""

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

from models.checkpoint import CHECKPOINT_KEY, Checkpoint
from streams.kafka.client import confluent
from streams.settings import Settings


def checkpoints(settings: Settings) -> list[Checkpoint]:
    """The checkpoints that the topic has now, in order; compaction may have removed old ones."""
    consumer = Consumer(
        confluent(
            settings,
            **{
                "group.id": "freshet-bench",  # never joined nor committed
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
            },
        )
    )
    consumer.assign([TopicPartition(settings.topic("model"), 0, OFFSET_BEGINNING)])
    published = []
    try:
        while True:
            for message in consumer.consume(10_000, 0.2):
                if error := message.error():
                    if error.code() == KafkaError._PARTITION_EOF:
                        return published
                elif message.key() == CHECKPOINT_KEY:
                    published.append(Checkpoint.decode(message.value() or b"{}"))
    finally:
        consumer.close()
