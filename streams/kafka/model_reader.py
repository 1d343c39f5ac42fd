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
from models.model import Model
from models.published import Prepared, Row
from streams.kafka.client import METADATA_TIMEOUT_S, consumer_config, is_end, is_no_record
from streams.kafka.unread_rows import UnreadRows
from streams.settings import Settings

HELD_ROWS = 20_000
"""Rows of an incomplete checkpoint that are held before they are applied in parts, while catching up."""
RESTORE_SLICE = 2_000
TAIL = 1_000
"""Offsets at the end of the topic in which the last checkpoint is looked for first; then ten times as many,
and so on."""
IDLE_TIMEOUT_S = 60.0
"""Time without a message from Kafka after which a restore fails."""

NO_ROWS = Prepared([], [], {}, -1)

CONFIG: dict[str, Any] = {"isolation.level": "read_committed", "enable.partition.eof": True}

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
        self._held_rows = self._rows = self._last = 0
        self._consumer = Consumer(consumer_config(settings, **CONFIG))

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """First offset and end offset of a partition, of a topic by its full name."""
        low, high = self._consumer.get_watermark_offsets(TopicPartition(topic, partition), METADATA_TIMEOUT_S)
        return low, high

    def start(self, offset: int = OFFSET_BEGINNING, last: int = 0) -> None:
        """Read from this offset on.

        `last` is the number of the last checkpoint.  Up to it the layouts of rows are known before their
        checkpoint is read, so that long checkpoints may be applied in parts.
        """
        self._last = last
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
        if checkpoint is not None or (self._held_rows >= HELD_ROWS and self._last > 0):
            ready = Prepared.joined(self._held)
            self._held, self._held_rows = [], 0
        if checkpoint is not None:
            if checkpoint.number >= self._last:
                self._last = 0
            self.torn += self.caught_up and checkpoint.rows != self._rows
            self._rows = 0
        return Part(rows, checkpoint, next_offset, ready)

    def close(self) -> None:
        """Close the consumer."""
        self._consumer.close()


def last_checkpoint(settings: Settings) -> Checkpoint | None:
    """The checkpoint that was published last; None if there is none.  Blocks.

    `KafkaException` when Kafka does not answer.
    """
    reader, tail = ModelReader(settings, lambda rows: NO_ROWS), TAIL
    try:
        low, end = reader.bounds(settings.topic("model"), 0)
        while low < end:
            start = max(end - tail, low)
            last = _last_from(reader, start)
            if last is not None or start == low:
                return last
            tail *= 10
        return None
    finally:
        reader.close()


def _last_from(reader: ModelReader, offset: int) -> Checkpoint | None:
    """The last checkpoint from this offset on; None if there is none."""
    last, last_message = None, time.monotonic()
    reader.caught_up = False
    reader.start(offset)
    while not reader.caught_up:
        for part in reader.read(RESTORE_SLICE, 0.2):
            last, last_message = part.checkpoint or last, time.monotonic()
        _require_messages(last_message)
    return last


def _require_messages(last_message: float) -> None:
    if time.monotonic() - last_message > IDLE_TIMEOUT_S:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))


class Restored(NamedTuple):
    """What a learner that takes over has read."""

    checkpoint: Checkpoint
    unread: UnreadRows
    """Rows that none of its components reads."""


def restore(settings: Settings, models: Sequence[Model], stop: threading.Event) -> Restored:
    """Read the published model into `models`, which are all alike; blocks.

    Components whose published layouts they do not understand stay empty.  `KafkaException` when nothing came
    for `IDLE_TIMEOUT_S`; `ValueError` if the model has more items than there is room for.  Ends early, with
    what was read, when `stop` is set.
    """
    last = last_checkpoint(settings)
    if last is not None:
        for model in models:
            model.parts.follow(last.layouts)
    checkpoint, unread = Checkpoint(), UnreadRows(models[0].parts.sizes())
    reader = ModelReader(settings, models[0].prepare)
    try:
        reader.start(last=last.number if last else 0)
        last_message = time.monotonic()
        while not reader.caught_up and not stop.is_set():
            parts = reader.read(RESTORE_SLICE, 0.2)
            for part in parts:
                unread.add(part.rows)
                if part.ready is not None:
                    _require_room(part.ready, models[0])
                    for model in models:
                        model.apply(part.ready)
                checkpoint = part.checkpoint or checkpoint
            if parts:
                last_message = time.monotonic()
            _require_messages(last_message)
        return Restored(checkpoint, unread)
    finally:
        reader.close()


def _require_room(rows: Prepared, model: Model) -> None:
    if rows.highest >= model.items.capacity:
        raise ValueError(
            f"the model has more than max_items={model.items.capacity} rows: raise max_items here"
        )
