"""Follow a compacted topic of one partition from its beginning, in a thread."""

import logging
import threading
from collections.abc import Callable
from typing import Any

from confluent_kafka import (
    OFFSET_BEGINNING,
    TIMESTAMP_LOG_APPEND_TIME,
    Consumer,
    KafkaException,
    TopicPartition,
)

from streams.kafka.client import consumer_config, is_end, is_no_record
from streams.settings import Settings
from streams.wall_clock import CLOCK

log = logging.getLogger(__name__)

RETRY_S = 5.0
"""Pause after an error that stays: the topic does not exist, or may not be read."""
BATCH = 1000
JOIN_TIMEOUT_S = 5

Begin = Callable[[Consumer], int]
"""Called in the thread before the first record: the offset to begin at."""
Take = Callable[[bytes, bytes | None, int, int], None]
"""Called in the thread with key, value, offset and Kafka's timestamp in ms; what it raises is logged."""


class Follower:
    """Passes every record of a topic to `take`, from `start` to `stop`.

    `on_caught_up` is called in the thread once everything written before the start was passed on, and
    `after_batch` several times a second with the offset after what was passed on.  What it and `begin` raise
    ends the reading, unless Kafka failed.
    """

    def __init__(
        self,
        settings: Settings,
        topic: str,
        take: Take,
        on_caught_up: Callable[[], None] = lambda: None,
        begin: Begin = lambda consumer: OFFSET_BEGINNING,
        after_batch: Callable[[int], None] = lambda position: None,
    ) -> None:
        self._settings, self._topic, self._take = settings, settings.topic(topic), take
        self._on_caught_up, self._begin, self._after_batch = on_caught_up, begin, after_batch
        self.error: Exception | None = None
        """Why the reading ended, if it did."""
        self._caught_up, self._stopping = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name=topic, daemon=True)

    @property
    def caught_up(self) -> bool:
        """Whether everything written before the start was passed on."""
        return self._caught_up.is_set()

    def start(self) -> None:
        """Begin reading; a second call does nothing (Faust announces a worker twice)."""
        if not self._thread.is_alive():
            self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(JOIN_TIMEOUT_S)

    def _run(self) -> None:
        try:
            self._follow()
        except Exception as error:  # noqa: BLE001  for who started the thread
            self.error = error

    def _follow(self) -> None:
        position: int | None = None
        while not self._stopping.is_set():
            consumer = Consumer(consumer_config(self._settings, **{"enable.partition.eof": True}))
            try:
                position = self._begin(consumer) if position is None else position
                consumer.assign([TopicPartition(self._topic, 0, position)])
                while not self._stopping.is_set():
                    position = self._read(consumer, position)
                    self._after_batch(position)
            except KafkaException as error:
                log.warning("cannot read topic %s: %s", self._topic, error.args[0].str())
                self._stopping.wait(RETRY_S)
            finally:
                consumer.close()

    def _read(self, consumer: Consumer, position: int) -> int:
        """Pass on the records that came; returns the position after them."""
        first = consumer.poll(0.2)
        for message in [] if first is None else [first, *consumer.consume(BATCH, 0)]:
            if is_no_record(message):
                if is_end(message) and not self._caught_up.is_set():
                    self._caught_up.set()
                    self._call(self._on_caught_up)
                continue
            offset = message.offset() or 0
            position = offset + 1
            kind, stamp = message.timestamp()
            if kind == TIMESTAMP_LOG_APPEND_TIME and self.caught_up:
                CLOCK.kafka_stamped(stamp)
            self._call(self._take, message.key() or b"", message.value(), offset, stamp)
        return position

    def _call(self, callback: Callable[..., None], *args: Any) -> None:
        try:
            callback(*args)
        except Exception as error:  # noqa: BLE001  a record of another version or producer; continue
            log.warning("topic %s: %r: %s", self._topic, args[:1], error)
