"""The single writer of the model: rows and checkpoint become visible together, and once.

Rows go to a compacted topic in a transaction; a read-committed replica sees a whole checkpoint or nothing
of it.  A successor with the same transactional id fences this process, and its `init_transactions` aborts
what was open.  The fence is the only safety needed, hence `assign` and no consumer group: where to go on
reading `examples` is in the checkpoint itself.
"""

import threading
import time
from collections.abc import Mapping, Sequence

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)

from models.checkpoint import CHECKPOINT_KEY, Checkpoint
from models.model import Model
from streams.kafka.client import confluent, consumer_config, is_no_record
from streams.settings import Settings

TRANSACTION_TIMEOUT_MS = 60_000
SILENCE_S = 60.0
"""Of Kafka, while the model is read, until we give up."""


class Fenced(Exception):
    """Another learner took over; stop, and publish nothing more."""


class ModelWriter:
    """Reads `examples`, publishes the model.  Made, it is the only writer.

    `KafkaException` if Kafka cannot be reached.
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

    def restore(self, models: Sequence[Model], stop: threading.Event) -> Checkpoint:
        """Read the published model into `models`, all alike; its checkpoint, and `poll` goes on from there.

        `KafkaException` when nothing came for `SILENCE_S`.  Ends early, with what was read, when `stop` is
        set.
        """
        checkpoint = Checkpoint()
        self._consumer.assign([TopicPartition(self._model_topic, 0, OFFSET_BEGINNING)])
        rows: list[tuple[bytes, bytes | None]] = []
        heard, ended = time.monotonic(), False
        while not ended and not stop.is_set():
            first = self._consumer.poll(0.2)
            messages = [] if first is None else [first, *self._consumer.consume(10_000, 0)]
            if messages:
                heard = time.monotonic()
            elif time.monotonic() - heard > SILENCE_S:
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
            for message in messages:
                if is_no_record(message):
                    ended = ended or message.error().code() == KafkaError._PARTITION_EOF
                elif message.key() == CHECKPOINT_KEY:
                    prepared = models[0].prepare(rows)
                    for model in models:
                        model.apply(prepared)
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

    def poll(self, count: int, gather_s: float) -> list[Message]:
        """The next examples: what comes within `gather_s`, up to `count`.

        Gathered, because a step of torch costs a millisecond for one example as for a hundred.
        """
        return [m for m in self._consumer.consume(count, gather_s) if not is_no_record(m)]

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
            cause = error.args[0]  # of a produce after the fatal error: _FATAL, not marked as fatal itself
            if cause.fatal() or cause.code() == KafkaError._FATAL:
                raise Fenced(f"another learner took over ({cause.str()})") from error
            raise  # not published: the caller starts again from the published model

    def _produce(self, key: bytes, value: bytes | None) -> None:
        while True:
            try:
                self._producer.produce(self._model_topic, value, key, partition=0)
                return
            except BufferError:  # full: until some of it is delivered
                self._producer.poll(1.0)

    def close(self) -> None:
        """Leave; an open transaction is aborted by Kafka."""
        self._consumer.close()
