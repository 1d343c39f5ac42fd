"""The replica of the model in a serving worker: read beside the stream, applied between micro-batches.

A plain read-committed consumer reads the `model` topic (Faust's table over a topic that is written in
transactions never becomes ready: the last offset is a commit marker) and sorts the rows of each checkpoint;
once it is whole they are applied between two micro-batches.  So a micro-batch sees one model, and always a
whole checkpoint.

What was published before the start may take seconds: a thread reads it.  From then on the loop that serves
reads, for a part of its time and in slices of less than a millisecond: a thread would take the interpreter's
lock each time that a kernel gives it away, and all its work would come between the events of one micro-batch.

Rows are kept on disk with their offset (streams/kafka/replica_store.py), hence a restart reads the tail only.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Generator
from contextlib import suppress

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

from models.checkpoint import CHECKPOINT_KEY, Checkpoint
from models.model import Model, Prepared
from streams.kafka.client import consumer_config, is_no_record
from streams.kafka.replica_store import ReplicaStore, Row
from streams.settings import Settings
from streams.topics import START_ANEW

SLICE = 200
"""Messages read at once: half a millisecond."""
SHARE = 0.25
"""Of its time that the loop reads, at most; a thousand clicks a second take a twentieth."""
LONGEST_S = 0.05
"""... at a time, however long it did other things."""


class BeganAnew(Exception):
    """A topic was deleted and made again, and no longer fits what is held; the message says which."""


class ModelReader:
    """Keeps `model` up to date, `start` to `stop`."""

    def __init__(self, settings: Settings, model: Model) -> None:
        self.model = model
        self.current = Checkpoint()
        """The checkpoint that `model` is at; number 0 before the first."""
        self.torn = 0
        """Checkpoints that came with another number of rows than they say.  Stays 0."""
        self.error: BaseException | None = None
        """Why the reading ended, if it did."""
        self._settings, self._topic = settings, settings.topic("model")
        self._path = settings.data_dir / "model-cache"
        self._queue: deque[tuple[Checkpoint, Prepared]] = deque()
        self._caught_up, self._stopping = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._catch_up, name="replica", daemon=True)
        self._reading: Generator[bool] | None = None
        """What the thread left to the loop."""
        self._left_at = 0.0

    def start(self) -> None:
        """Begin reading; a second call does nothing (Faust announces a worker twice)."""
        if self._thread.ident is None:
            self._thread.start()

    async def stop(self) -> None:
        """End the reading; what was read is on disk."""
        self._stopping.set()
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join, 10)
        if self._reading is not None:
            self._reading.close()
            self._reading = None

    @property
    def ready(self) -> bool:
        """Whether everything published before the start is applied."""
        return self._caught_up.is_set() and not self._queue

    def advance(self) -> None:
        """Read on for a while and apply the checkpoints that are whole.

        To be called every few milliseconds, between micro-batches.  Raises what ended the reading.
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
            self.current, rows = self._queue.popleft()
            self.model.apply(rows)

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
        except BaseException as error:
            self.error = error

    def _read(self) -> Generator[bool]:
        """Yields after each slice: whether there was something to do."""
        store = ReplicaStore(self._path)
        consumer = Consumer(
            consumer_config(
                self._settings, **{"isolation.level": "read_committed", "enable.partition.eof": True}
            )
        )
        try:
            low, end = consumer.get_watermark_offsets(TopicPartition(self._topic, 0), 30)
            latest, position = self._saved(store, low, end)
            consumer.assign([TopicPartition(self._topic, 0, position)])
            yield from self._follow(consumer, store, latest)
        finally:
            consumer.close()
            store.close()

    def _saved(self, store: ReplicaStore, low: int, end: int) -> tuple[Checkpoint, int]:
        """Queue what is on disk; its checkpoint, and the offset to go on from."""
        saved = store.load()
        if saved is not None and low <= saved.next_offset <= end:
            with suppress(ValueError):  # written by a version with other rows
                prepared = self.model.prepare(saved.rows)
                checkpoint = Checkpoint.decode(saved.checkpoint)
                self._queue.append((checkpoint, prepared))
                return checkpoint, saved.next_offset
        if saved is not None:
            store.clear()
        return Checkpoint(), OFFSET_BEGINNING

    def _follow(self, consumer: Consumer, store: ReplicaStore, latest: Checkpoint) -> Generator[bool]:
        parts: list[Prepared] = []
        count = 0
        while True:
            rows: list[Row] = []
            messages = consumer.consume(SLICE, 0 if self._caught_up.is_set() else 0.05)
            for message in messages:
                if is_no_record(message):
                    if message.error().code() == KafkaError._PARTITION_EOF and not self._caught_up.is_set():
                        self._require_its_events(consumer, latest)
                        self._caught_up.set()
                    continue
                key, value = message.key() or b"", message.value()
                if key != CHECKPOINT_KEY:
                    rows.append((key, value))
                    continue
                checkpoint = Checkpoint.decode(value or b"{}")
                if checkpoint.number < latest.number:
                    store.clear()
                    raise BeganAnew(
                        f"{self._topic}: checkpoint {checkpoint.number} came after {latest.number}: restart"
                    )
                store.add(rows)
                store.reached(value or b"{}", (message.offset() or 0) + 1)
                parts.append(self.model.prepare(rows))
                count += len(rows)
                self.torn += self._caught_up.is_set() and checkpoint.rows != count
                latest = checkpoint
                self._queue.append((checkpoint, Prepared.joined(parts)))
                rows, parts, count = [], [], 0
            if rows:
                store.add(rows)
                parts.append(self.model.prepare(rows))
                count += len(rows)
            yield store.save() or bool(messages)

    def _require_its_events(self, consumer: Consumer, latest: Checkpoint) -> None:
        """The model was learnt from events that must have been: else users would skip new ones as old."""
        events = self._settings.topic("events")
        for partition, learnt_to in latest.learnt_to.items():
            _, end = consumer.get_watermark_offsets(TopicPartition(events, partition), 30)
            if learnt_to >= end:
                raise BeganAnew(
                    f"{events} was made anew: the model learnt event {learnt_to} of partition {partition},"
                    f" which has {end}; {START_ANEW}"
                )
