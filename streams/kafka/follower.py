"""Reads a compacted topic of one partition from its beginning, and then follows it, in a thread."""

import logging
import threading
from collections.abc import Callable

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from streams.kafka.client import consumer_config, is_no_record
from streams.settings import Settings

log = logging.getLogger(__name__)

AGAIN_S = 5.0
"""After an error that stays: the topic is not there, or may not be read."""
BATCH = 1000

Take = Callable[[bytes, bytes | None, int], None]
"""Called in the thread with key, value and Kafka's timestamp in ms; what it raises is logged."""


class Follower:
    """Gives every record of a topic to `take`, `start` to `stop`."""

    def __init__(self, settings: Settings, topic: str, take: Take) -> None:
        self._settings, self._topic, self._take = settings, settings.topic(topic), take
        self._caught_up, self._stopping = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name=topic, daemon=True)

    @property
    def caught_up(self) -> bool:
        """Whether everything written before the start is read."""
        return self._caught_up.is_set()

    def start(self) -> None:
        """Begin reading; a second call does nothing (Faust announces a worker twice)."""
        if not self._thread.is_alive():
            self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(5)

    def _run(self) -> None:
        position = OFFSET_BEGINNING
        while not self._stopping.is_set():
            consumer = Consumer(consumer_config(self._settings, **{"enable.partition.eof": True}))
            try:
                consumer.assign([TopicPartition(self._topic, 0, position)])
                while not self._stopping.is_set():
                    position = self._read(consumer, position)
            except KafkaException as error:
                log.warning("%s cannot be read: %s", self._topic, error.args[0].str())
                self._stopping.wait(AGAIN_S)
            finally:
                consumer.close()

    def _read(self, consumer: Consumer, position: int) -> int:
        """Take what came; the position after it."""
        first = consumer.poll(0.2)
        for message in [] if first is None else [first, *consumer.consume(BATCH, 0)]:
            if is_no_record(message):
                if message.error().code() == KafkaError._PARTITION_EOF:
                    self._caught_up.set()
                continue
            position = (message.offset() or 0) + 1
            try:
                self._take(message.key() or b"", message.value(), message.timestamp()[1])
            except Exception as error:  # of another version, or anybody's: the rest is still of use
                log.warning("%s, offset %s: %s", self._topic, message.offset(), error)
        return position
