"""The single writer of the model: rows and checkpoint become visible together, and once.

Rows go to a compacted topic in a transaction; a read-committed replica sees a whole checkpoint or nothing
of it.  A successor with the same transactional id fences this process, and its `init_transactions` aborts
what was open.  The fence is the only safety needed, hence `assign` and no consumer group: where to go on
reading `examples` is in the checkpoint itself.
"""

from collections.abc import Mapping

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)

from models.learning import CHECKPOINT_KEY, Checkpoint
from models.model import Model
from streams.kafka.client import confluent, consumer_config
from streams.settings import Settings

TRANSACTION_TIMEOUT_MS = 10_000


class Fenced(Exception):
    """Another learner took over; stop, and publish nothing more."""


class Publisher:
    """Reads `examples`, publishes the model.  Made, it is the only writer.

    `Fenced` if another took over meanwhile, `KafkaException` if Kafka cannot be reached.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._model_topic, self._examples = settings.topic("model"), settings.topic("examples")
        self._producer = Producer(
            confluent(
                settings,
                **{
                    "transactional.id": settings.topic("freshet-learner"),
                    "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS,
                    "linger.ms": 5,
                    "queue.buffering.max.messages": 1_000_000,
                    "queue.buffering.max.kbytes": 1_048_576,
                },
            )
        )
        self._producer.init_transactions(30)  # fences the predecessor, aborts its rows
        self._consumer = Consumer(
            consumer_config(
                settings, 50, **{"isolation.level": "read_committed", "enable.partition.eof": True}
            )
        )

    def restore(self, model: Model) -> Checkpoint:
        """Read the published model into `model`; its checkpoint, and `poll` goes on from there."""
        checkpoint = Checkpoint()
        self._consumer.assign([TopicPartition(self._model_topic, 0, OFFSET_BEGINNING)])
        rows: list[tuple[bytes, bytes | None]] = []
        ended = False
        while not ended:
            for message in self._consumer.consume(10_000, 1.0):
                if error := message.error():
                    if error.code() == KafkaError._PARTITION_EOF:
                        ended = True
                    elif not error.retriable():
                        raise KafkaException(error)
                elif message.key() == CHECKPOINT_KEY:
                    model.apply(model.prepare(rows))
                    rows, checkpoint = [], Checkpoint.decode(message.value() or b"{}")
                else:
                    rows.append((message.key() or b"", message.value()))
        partitions = self._consumer.list_topics(self._examples, 30).topics[self._examples].partitions
        self._consumer.assign(
            [
                TopicPartition(self._examples, p, checkpoint.positions.get(p, OFFSET_BEGINNING))
                for p in sorted(partitions)
            ]
        )
        return checkpoint

    def poll(self, count: int, timeout_s: float) -> list[Message]:
        """The next examples: what is there, up to `count`; waits `timeout_s` if there is nothing."""
        first = self._consumer.poll(timeout_s)
        messages = [] if first is None else [first, *self._consumer.consume(count - 1, 0)]
        return [message for message in messages if not message.error()]

    def lag(self, checkpoint: Checkpoint) -> int:
        """Examples published and not learnt, as far as this consumer knows without asking."""
        total = 0
        for partition in self._consumer.assignment():
            low, high = self._consumer.get_watermark_offsets(partition, cached=True)
            total += max(high - checkpoint.positions.get(partition.partition, max(low, 0)), 0)
        return total

    def publish(self, rows: Mapping[bytes, bytes | None], checkpoint: Checkpoint) -> None:
        """Publish rows and checkpoint in one transaction."""
        producer = self._producer
        try:
            producer.begin_transaction()
            for key, value in rows.items():
                self._produce(key, value)
            self._produce(CHECKPOINT_KEY, checkpoint.encode())
            producer.commit_transaction(30)
        except KafkaException as error:
            if error.args[0].fatal():
                raise Fenced(f"another learner took over ({error.args[0].str()})") from error
            raise  # not published: the caller starts again from the published model

    def _produce(self, key: bytes, value: bytes | None) -> None:
        try:
            self._producer.produce(self._model_topic, value, key, partition=0)
        except BufferError:
            self._producer.poll(1.0)
            self._producer.produce(self._model_topic, value, key, partition=0)

    def close(self) -> None:
        """Leave; an open transaction is aborted by Kafka."""
        self._consumer.close()
