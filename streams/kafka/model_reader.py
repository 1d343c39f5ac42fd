"""Read the `model` topic: what a worker's replica follows, and what a learner that takes over restores from.

A plain read-committed consumer reads it.  (Faust's table over a topic that is written in transactions never
becomes ready: the last offset is a commit marker.)  Rows are sorted into arrays slice by slice, so that no
more than a slice is held as Python objects.  They may be applied once their checkpoint is whole.  While what
was published before the start is being read, the model is not used yet, and long checkpoints (a compacted
topic is one) are applied in parts.
"""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from models.checkpoint import CHECKPOINT_KEY, Checkpoint
from models.model import Model, Prepared
from streams.kafka.client import METADATA_TIMEOUT_S, consumer_config, is_end, is_no_record
from streams.settings import Settings

HELD_ROWS = 20_000
"""Rows of an incomplete checkpoint that are held before they are applied in parts, while catching up."""
RESTORE_SLICE = 2_000
IDLE_TIMEOUT_S = 60.0
"""Time without a message from Kafka after which a restore fails."""

CONFIG: dict[str, Any] = {"isolation.level": "read_committed", "enable.partition.eof": True}

Row = tuple[bytes, bytes | None]
"""Key and value on the `model` topic; a value of None deletes."""
Prepare = Callable[[Iterable[Row]], Prepared]


class Part(NamedTuple):
    """Rows of one slice that belong to one checkpoint."""

    rows: list[Row]
    checkpoint: Checkpoint | None
    """The checkpoint that these rows complete; None: more of it follows."""
    next_offset: int
    """Offset in the topic after the last row."""
    ready: Prepared | None
    """What may be applied now: these rows and those held before them; None: nothing yet."""


class ModelReader:
    """Reads the rows of the `model` topic in their order, a slice at a time.

    `prepare` sorts rows for `Model.apply`.
    """

    def __init__(self, settings: Settings, prepare: Prepare) -> None:
        self.caught_up = False
        """Whether everything published before the start was read."""
        self.torn = 0
        """Checkpoints that came with another number of rows than they say; stays 0."""
        self._topic, self._prepare = settings.topic("model"), prepare
        self._held: list[Prepared] = []
        self._held_rows = self._rows = 0
        self._consumer = Consumer(consumer_config(settings, **CONFIG))

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """First offset and end offset of a partition, of a topic by its full name."""
        low, high = self._consumer.get_watermark_offsets(TopicPartition(topic, partition), METADATA_TIMEOUT_S)
        return low, high

    def start(self, offset: int = OFFSET_BEGINNING) -> None:
        """Read from this offset on."""
        self._consumer.assign([TopicPartition(self._topic, 0, offset)])

    def read(self, count: int, timeout_s: float) -> list[Part]:
        """The next messages, up to `count`, as parts; empty if none came within `timeout_s`."""
        parts: list[Part] = []
        rows: list[Row] = []
        next_offset = 0
        for message in self._consumer.consume(count, timeout_s):
            if is_no_record(message):
                if is_end(message):
                    self.caught_up = True
                continue
            key, value, next_offset = message.key() or b"", message.value(), (message.offset() or 0) + 1
            if key == CHECKPOINT_KEY:
                parts.append(self._part(rows, Checkpoint.decode(value or b"{}"), next_offset))
                rows = []
            else:
                rows.append((key, value))
        if rows:
            parts.append(self._part(rows, None, next_offset))
        return parts

    def _part(self, rows: list[Row], checkpoint: Checkpoint | None, next_offset: int) -> Part:
        self._held.append(self._prepare(rows))
        self._held_rows += len(rows)
        self._rows += len(rows)
        ready = None
        if checkpoint is not None or (self._held_rows >= HELD_ROWS and not self.caught_up):
            ready = Prepared.joined(self._held)
            self._held, self._held_rows = [], 0
        if checkpoint is not None:
            self.torn += self.caught_up and checkpoint.rows != self._rows
            self._rows = 0
        return Part(rows, checkpoint, next_offset, ready)

    def close(self) -> None:
        """Close the consumer."""
        self._consumer.close()


def restore(settings: Settings, models: Sequence[Model], stop: threading.Event) -> Checkpoint:
    """Read the published model into `models`, which are all alike, and return its checkpoint; blocks.

    `KafkaException` when nothing came for `IDLE_TIMEOUT_S`.  Ends early, with what was read, when `stop` is
    set.
    """
    checkpoint = Checkpoint()
    reader = ModelReader(settings, models[0].prepare)
    try:
        reader.start()
        last_message = time.monotonic()
        while not reader.caught_up and not stop.is_set():
            parts = reader.read(RESTORE_SLICE, 0.2)
            for part in parts:
                if part.ready is not None:
                    for model in models:
                        model.apply(part.ready)
                checkpoint = part.checkpoint or checkpoint
            if parts:
                last_message = time.monotonic()
            elif time.monotonic() - last_message > IDLE_TIMEOUT_S:
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        return checkpoint
    finally:
        reader.close()
