"""Send single records, and wait until Kafka has them."""

import threading
from collections.abc import Sequence

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from streams.kafka.client import producer_config
from streams.settings import Settings

TIMEOUT_S = 5.0
BY_KEY = -1
"""The partition that lets librdkafka choose one by the key."""


class Sender:
    """Sends one record at a time; connects when the first one is sent."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._producer: Producer | None = None
        self._lock = threading.Lock()  # else one thread's flush could run the delivery report of another

    def send(
        self,
        topic: str,
        key: bytes,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes | None]] = (),
        partition: int | None = None,
    ) -> int:
        """Send a record to a topic (short name) and return its offset; blocks.

        Without `partition` the key decides, as it does for Java's producers.  `KafkaException` if Kafka does
        not acknowledge it within `TIMEOUT_S`.
        """
        with self._lock:
            return self._send(topic, key, value, headers, partition)

    def _send(
        self,
        topic: str,
        key: bytes,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes | None]],
        partition: int | None,
    ) -> int:
        if self._producer is None:
            self._producer = Producer(
                producer_config(self._settings, **{"message.timeout.ms": int(TIMEOUT_S * 1000)})
            )
        delivered: list[tuple[KafkaError | None, Message]] = []
        self._producer.produce(
            self._settings.topic(topic),
            value,
            key,
            BY_KEY if partition is None else partition,
            headers=list(headers),
            on_delivery=lambda error, message: delivered.append((error, message)),
        )
        self._producer.flush(2 * TIMEOUT_S)
        error, message = delivered[0] if delivered else (KafkaError(KafkaError._TIMED_OUT), None)
        if error is not None or message is None:
            raise KafkaException(error)
        return message.offset() or 0
