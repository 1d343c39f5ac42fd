"""The replica of the model in a serving worker: read beside the stream, applied between micro-batches.

A micro-batch sees one model, and always a whole checkpoint: rows are applied between two micro-batches, once
their checkpoint is whole.

What was published before the start may take seconds to read: a thread reads it.  From then on the loop that
serves reads, for a share of its time and in slices of less than a millisecond: a thread would take the
interpreter's lock each time that a kernel releases it, and all its work would come between the events of one
micro-batch.

Rows are kept on disk with their offset (streams/kafka/replica_store.py), so a restart reads the tail only.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Generator
from pathlib import Path
from typing import NamedTuple

from confluent_kafka import OFFSET_BEGINNING

from models.checkpoint import Checkpoint
from models.model import Model, Prepared
from streams.errors import UserError
from streams.kafka.admin import START_OVER
from streams.kafka.damage import StoreDamaged
from streams.kafka.local_state import MODEL_CACHE
from streams.kafka.model_reader import ModelReader
from streams.kafka.repairs import Repairs
from streams.kafka.replica_store import ReplicaStore
from streams.settings import Settings

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


class _Queued(NamedTuple):
    checkpoint: Checkpoint | None
    """The checkpoint that is complete with these rows; None: more of it follows."""
    prepared: Prepared
    rows: int


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
        self._settings, self._topic = settings, settings.topic("model")
        self._reader: ModelReader | None = None
        self._queue: deque[_Queued] = deque()
        self._queued_rows = 0
        self._applied = threading.Condition()
        """Guards `_queued_rows`, and wakes the thread when rows were applied."""
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

    def start(self, folder: Path | None = None) -> None:
        """Begin reading; a second call does nothing (Faust announces a worker twice).

        The rows are kept in `folder`, by default the data folder.
        """
        if self._thread.ident is None:
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
            checkpoint, prepared, rows = self._queue[0]
            self.model.apply(prepared)
            self.current = checkpoint or self.current
            self._queue.popleft()
            with self._applied:
                self._queued_rows -= rows
                self._applied.notify()

    def _enqueue(self, checkpoint: Checkpoint | None, prepared: Prepared, rows: int) -> None:
        with self._applied:
            self._queued_rows += rows
        self._queue.append(_Queued(checkpoint, prepared, rows))

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
                with self._applied:
                    while self._queued_rows > QUEUED_ROWS and not self._stopping.is_set():
                        self._applied.wait(CATCH_UP_WAIT_S)
        except BaseException as error:  # noqa: BLE001  raised again by `advance`, on the loop
            self.error = error

    def _read(self) -> Generator[bool]:
        """Read slice by slice, and yield after each whether there was something to do."""
        store = ReplicaStore(self._folder / MODEL_CACHE, self._repairs)
        self._reader = reader = ModelReader(self._settings, self.model.prepare)
        try:
            latest, offset = Checkpoint(), OFFSET_BEGINNING
            saved = store.saved
            if saved is not None:
                low, end = reader.bounds(self._topic, 0)
                if low <= saved.next_offset <= end:
                    try:  # else the topic is read from its beginning
                        yield from self._load(store)
                        latest, offset = Checkpoint.decode(saved.checkpoint), saved.next_offset
                    except ValueError:  # rows of another layout
                        pass
                    except StoreDamaged:
                        store.set_aside()
            if offset == OFFSET_BEGINNING:
                store.clear()
            self._enqueue(latest, self.model.prepare(()), 0)
            reader.start(offset)
            yield from self._follow(reader, store, latest)
        finally:
            reader.close()
            store.close()

    def _load(self, store: ReplicaStore) -> Generator[bool]:
        for rows in store.slices():
            self._enqueue(None, self.model.prepare(rows), len(rows))
            yield True

    def _follow(self, reader: ModelReader, store: ReplicaStore, latest: Checkpoint) -> Generator[bool]:
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
                    self._enqueue(part.checkpoint, part.ready, rows)
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
