"""Publish the model: rows and checkpoint become visible together, by a single writer.

Rows go to the compacted `model` topic in a transaction; a read-committed reader sees a whole checkpoint or
nothing of it.  A successor with the same transactional id fences this process, and its `init_transactions`
aborts what was open.  That fence is all the safety that is needed.
"""

from collections.abc import Mapping

from confluent_kafka import KafkaError, KafkaException, Producer

from models.checkpoint import CHECKPOINT_KEY, Checkpoint
from streams.kafka.client import confluent
from streams.settings import Settings

TRANSACTION_TIMEOUT_MS = 60_000
INIT_TIMEOUT_S = COMMIT_TIMEOUT_S = 30


class Fenced(Exception):
    """Another learner took over: stop, and publish nothing more."""


class ModelWriter:
    """Publishes the model.  Once constructed it is the only writer: it has fenced its predecessor.

    `KafkaException` if Kafka cannot be reached.
    """

    def __init__(self, settings: Settings) -> None:
        self._topic = settings.topic("model")
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
        self._producer.init_transactions(INIT_TIMEOUT_S)

    def publish(self, rows: Mapping[bytes, bytes | None], checkpoint: Checkpoint) -> None:
        """Publish rows and their checkpoint in one transaction.

        `Fenced` if another learner took over; `KafkaException` if they were not published for another reason:
        the caller then starts again from the published model.
        """
        producer = self._producer
        try:
            producer.begin_transaction()
            for key, value in rows.items():
                self._produce(key, value)
            self._produce(CHECKPOINT_KEY, checkpoint.encode())
            producer.commit_transaction(COMMIT_TIMEOUT_S)
        except KafkaException as error:
            cause = self._cause(error)
            # a produce after the fatal error gets _FATAL, which is not marked as fatal itself
            if cause.fatal() or cause.code() == KafkaError._FATAL:
                raise Fenced(f"another learner took over ({cause.str()})") from error
            raise

    def _cause(self, error: KafkaException) -> KafkaError:
        """Why a transaction failed: a produce into one that has failed meanwhile does not say so itself."""
        cause: KafkaError = error.args[0]
        if cause.code() == KafkaError._STATE:
            try:
                self._producer.abort_transaction(COMMIT_TIMEOUT_S)
            except KafkaException as failed:
                cause = failed.args[0]
        return cause

    def _produce(self, key: bytes, value: bytes | None) -> None:
        while True:
            try:
                self._producer.produce(self._topic, value, key, partition=0)
                return
            except BufferError:  # the queue is full: wait until some of it is delivered
                self._producer.poll(1.0)
