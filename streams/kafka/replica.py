"""The replica of the model in a serving worker: read beside the stream, applied between micro-batches.

A micro-batch sees one model, and always a whole checkpoint: rows are applied between two micro-batches, once
their checkpoint is whole.

What was published before the start may take seconds to read: a thread reads it.  From then on the loop that
serves reads, for a share of its time and in slices of less than a millisecond: a thread would take the
interpreter's lock each time that a kernel releases it, and all its work would come between the events of one
micro-batch.

Rows are kept on disk with their offset (streams/kafka/replica_store.py), so a restart reads the tail only.

A checkpoint has the layouts of its rows.  Components that this worker does not understand keep their last
understood state (models/parts.py); a model with more items than there is room for is not updated at all.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Generator
from pathlib import Path

from confluent_kafka import OFFSET_BEGINNING

from models.checkpoint import Checkpoint
from models.layouts import differences
from models.model import Model
from models.published import Prepared
from streams.errors import UserError
from streams.kafka.admin import START_OVER
from streams.kafka.damage import StoreDamaged
from streams.kafka.local_state import MODEL_CACHE
from streams.kafka.model_reader import ModelReader, last_checkpoint
from streams.kafka.repairs import Repairs
from streams.kafka.replica_queue import Queued, ReplicaQueue
from streams.kafka.replica_store import ReplicaStore
from streams.settings import Settings

log = logging.getLogger(__name__)

HERE, THERE = "this worker", "the learner"

SLICE = 200
"""Messages read at once: half a millisecond."""
CATCH_UP_WAIT_S = 0.05
SHARE = 0.25
"""Share of its time for which the loop reads, at most; a thousand clicks a second take a twentieth."""
LONGEST_S = 0.05
"""Time for which the loop reads at once, at most, however long it did other things."""
QUEUED_ROWS = 200_000
"""Rows that wait to be applied, at most, while the thread reads ahead: about 100 MB."""
JOIN_TIMEOUT_S = 10


class TopicRecreated(UserError):
    """A topic was deleted and created again, and no longer fits what is held; the message says which."""


class Replica:
    """Keeps `model` up to date, from `start` to `stop`."""

    def __init__(self, settings: Settings, model: Model, repairs: Repairs | None = None) -> None:
        self.model = model
        self._repairs = repairs or Repairs()
        self._folder = settings.data_dir
        self.current = Checkpoint()
        """The checkpoint that `model` is at; number 0 before the first."""
        self.error: BaseException | None = None
        """Why the reading ended, if it did."""
        self.differences: list[str] = []
        """How the published model differs from what this worker is set to, in words."""
        self.held_back = False
        """Whether the model is not updated any more, because it has more items than there is room for."""
        self._layouts_of = self.current
        self._incomplete = False
        """Whether rows are applied whose checkpoint follows, which happens before the worker serves."""
        self._settings, self._topic = settings, settings.topic("model")
        self._reader: ModelReader | None = None
        self._queue = ReplicaQueue()
        self._caught_up, self._stopping = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._catch_up, name="replica", daemon=True)
        self._reading: Generator[bool] | None = None
        """The reading, which the loop continues after the thread."""
        self._left_at = 0.0

    @property
    def torn(self) -> int:
        """Checkpoints that came with another number of rows than they say; stays 0."""
        return self._reader.torn if self._reader else 0

    @property
    def ready(self) -> bool:
        """Whether everything published before the start is applied."""
        return self._caught_up.is_set() and not self._queue

    @property
    def not_updated(self) -> list[str]:
        """Components that are not updated."""
        parts = self.model.parts
        return list(parts.layouts) if self.held_back else parts.not_understood

    @property
    def started(self) -> bool:
        """Whether it has begun to read."""
        return self._thread.ident is not None

    def start(self, folder: Path | None = None) -> None:
        """Begin reading; a second call does nothing (Faust announces a worker twice).

        The rows are kept in `folder`, by default the data folder.
        """
        if not self.started:
            self._folder = folder or self._folder
            self._thread.start()

    async def stop(self) -> None:
        """End the reading; what was read is on disk."""
        self._stopping.set()
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join, JOIN_TIMEOUT_S)
        if self._reading is not None:
            self._reading.close()
            self._reading = None

    def advance(self) -> None:
        """Read for a while, and apply what may be applied.

        Called every few milliseconds, between micro-batches.  Raises what ended the reading.
        """
        if self.error is not None:
            raise self.error
        try:
            self._apply()
            if self._reading is not None:
                began = time.perf_counter()
                until = began + min((began - self._left_at) * SHARE / (1 - SHARE), LONGEST_S)
                while next(self._reading) and time.perf_counter() < until:
                    self._apply()
                self._apply()
                self._left_at = time.perf_counter()
        except BaseException as error:
            self.error = error
            raise

    def _apply(self) -> None:
        while self._queue:
            if not self.held_back:
                self._apply_rows(self._queue.first())
            self._queue.take()

    def _apply_rows(self, queued: Queued) -> None:
        parts, before, layouts_of = self.model.parts, self.not_updated, queued.layouts_of
        changed = layouts_of.number > 0 and _settings_of(layouts_of) != _settings_of(self._layouts_of)
        if changed:
            parts.follow(layouts_of.layouts)
            self._layouts_of = layouts_of
        if queued.prepared.highest >= self.model.items.capacity:
            self.held_back = True
            if self._incomplete:
                self.model.clear()
                self.current = Checkpoint()
        else:
            self.model.apply(queued.prepared)
            self._incomplete = queued.checkpoint is None
            self.current = queued.checkpoint or self.current
        if changed or self.not_updated != before:
            self.differences = self._describe(layouts_of)
            for text in self.differences:
                log.warning("model: %s", text)

    def _describe(self, checkpoint: Checkpoint) -> list[str]:
        parts, room = self.model.parts, self.model.items.capacity
        if checkpoint.layouts is None:
            texts = [
                f"{name} is not updated: its rows are of another version" for name in parts.not_understood
            ]
        else:
            texts = [each.text(HERE, THERE) for each in differences(parts.layouts, checkpoint.layouts)]
        sizes = f"max_items: {HERE} has {room}, {THERE} {checkpoint.max_items or 'more'}"
        if self.held_back:
            texts.append(f"nothing is updated: {sizes}; a restart takes the learner's")
        elif checkpoint.max_items not in (0, room):
            texts.append(f"lists may differ: {sizes}; a restart takes the learner's")
        return texts

    def _enqueue(
        self, checkpoint: Checkpoint | None, prepared: Prepared, rows: int, layouts_of: Checkpoint
    ) -> None:
        self._queue.put(Queued(checkpoint, prepared, rows, layouts_of))

    def _catch_up(self) -> None:
        reading = self._read()
        try:
            for _ in reading:
                if self._stopping.is_set():
                    reading.close()
                    return
                if self._caught_up.is_set():
                    self._reading = reading
                    return
                self._queue.wait_for_room(QUEUED_ROWS, self._stopping)
        except BaseException as error:  # noqa: BLE001  raised again by `advance`, on the loop
            self.error = error

    def _read(self) -> Generator[bool]:
        """Read slice by slice, and yield after each whether there was something to do."""
        store = ReplicaStore(self._folder / MODEL_CACHE, self._repairs)
        self._reader = reader = ModelReader(self._settings, self.model.prepare)
        try:
            last = last_checkpoint(self._settings) or Checkpoint()
            latest, offset = Checkpoint(), OFFSET_BEGINNING
            saved = store.saved
            if saved is not None:
                low, end = reader.bounds(self._topic, 0)
                if low <= saved.next_offset <= end:
                    try:  # else the topic is read from its beginning
                        yield from self._load(store, last)
                        latest, offset = Checkpoint.decode(saved.checkpoint), saved.next_offset
                    except StoreDamaged:
                        store.set_aside()
            if offset == OFFSET_BEGINNING:
                store.clear()
            self._enqueue(latest, self.model.prepare(()), 0, last)
            reader.start(offset, last.number if latest.number < last.number else 0)
            yield from self._follow(reader, store, latest, last)
        finally:
            reader.close()
            store.close()

    def _load(self, store: ReplicaStore, last: Checkpoint) -> Generator[bool]:
        for rows in store.slices():
            self._enqueue(None, self.model.prepare(rows), len(rows), last)
            yield True

    def _follow(
        self, reader: ModelReader, store: ReplicaStore, latest: Checkpoint, last: Checkpoint
    ) -> Generator[bool]:
        """Read on from `latest`; `last` was the last checkpoint on the topic at the start."""
        rows = 0  # read and not queued yet
        while True:
            parts = reader.read(SLICE, 0 if self._caught_up.is_set() else CATCH_UP_WAIT_S)
            for part in parts:
                store.add(part.rows)
                if part.checkpoint is not None:
                    if part.checkpoint.number < latest.number:
                        store.clear()
                        raise TopicRecreated(
                            f"{self._topic}: checkpoint {part.checkpoint.number} came after {latest.number}:"
                            " restart this worker"
                        )
                    store.reached(part.checkpoint.encode(), part.next_offset)
                    latest = part.checkpoint
                rows += len(part.rows)
                if part.ready is not None:
                    self._enqueue(part.checkpoint, part.ready, rows, max(latest, last, key=_number))
                    rows = 0
            if reader.caught_up and not self._caught_up.is_set():
                self._require_events(reader, latest)
                self._caught_up.set()
            saved = store.save()
            while saved and not self._caught_up.is_set():  # here nobody waits for the interpreter
                saved = store.save()
            yield saved or bool(parts)

    def _require_events(self, reader: ModelReader, latest: Checkpoint) -> None:
        """Raise unless the events exist that the model was learnt from.

        Users would take the events of a recreated topic, whose offsets start at 0 again, for replayed ones.
        """
        events = self._settings.topic("events")
        for partition, learnt_to in latest.learnt_to.items():
            _, end = reader.bounds(events, partition)
            if learnt_to >= end:
                raise TopicRecreated(
                    f"{events} was recreated: the model learnt event {learnt_to} of partition {partition},"
                    f" which has {end}; {START_OVER}"
                )


def _number(checkpoint: Checkpoint) -> int:
    return checkpoint.number


def _settings_of(checkpoint: Checkpoint) -> tuple[object, ...]:
    """What a checkpoint says of the learner's settings."""
    return checkpoint.number > 0, checkpoint.layouts, checkpoint.max_items
