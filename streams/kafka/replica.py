"""The replica of the model in a serving worker: read in the background, applied between micro-batches.

A thread reads the `model` topic with a plain read-committed consumer (Faust's table over a topic that is
written in transactions never becomes ready: the last offset is a commit marker), sorts the rows of each
checkpoint, and queues them; `advance`, called between two micro-batches, applies what is queued.  So a
micro-batch sees one model, and always a whole checkpoint.

Rows are kept on disk with their offset, hence a restart reads the tail only.
"""

import shutil
import threading
import time
from collections import deque
from collections.abc import Iterable
from itertools import islice

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition
from rocksdict import AccessType, Options, Rdict, WriteBatch

from models.learning import CHECKPOINT_KEY, Checkpoint
from models.model import Model, Prepared
from streams.kafka.client import consumer_config, is_no_record
from streams.settings import Settings
from streams.topics import START_ANEW

CACHE_INTERVAL_S = 5.0
"""Between writes to disk: rows that change at every click are written once."""
BATCH = 500
"""Messages made at once: the interpreter lock is held meanwhile, and serving waits for it."""
SLICE = 100
"""Rows written to disk at once: a fifth of a millisecond."""
_NEXT = b"__next offset"


class BeganAnew(Exception):
    """A topic was deleted and made again, and no longer fits what is held; the message says which."""


class Replica:
    """Keeps `model` up to date, `start` to `stop`."""

    def __init__(self, settings: Settings, model: Model) -> None:
        self.model = model
        self.current = Checkpoint()
        """The checkpoint that `model` is at; number 0 before the first."""
        self.torn = 0
        """Checkpoints that came with another number of rows than they say.  Stays 0."""
        self.error: BaseException | None = None
        """Why the thread ended, if it did."""
        self._settings, self._topic = settings, settings.topic("model")
        self._path = settings.data_dir / "model-cache"
        self._queue: deque[tuple[Checkpoint | None, Prepared]] = deque()
        self._caught_up, self._stopping = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="replica", daemon=True)

    def start(self) -> None:
        """Begin reading; a second call does nothing (Faust announces a worker twice)."""
        if not self._thread.is_alive():
            self._thread.start()

    def stop(self) -> None:
        """End the thread; what it read is on disk."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(10)

    @property
    def ready(self) -> bool:
        """Whether everything published before the start is applied."""
        return self._caught_up.is_set() and not self._queue

    def advance(self) -> None:
        """Apply the checkpoints read since the last call.  Raises what ended the thread."""
        while self._queue:
            checkpoint, rows = self._queue.popleft()
            self.model.apply(rows)
            if checkpoint is not None:
                self.current = checkpoint
        if self.error is not None:
            raise self.error

    def _run(self) -> None:
        try:
            self._follow()
        except BaseException as error:
            self.error = error

    def _follow(self) -> None:
        cache = self._open()
        consumer = Consumer(
            consumer_config(
                self._settings, **{"isolation.level": "read_committed", "enable.partition.eof": True}
            )
        )
        try:
            low, end = consumer.get_watermark_offsets(TopicPartition(self._topic, 0), 30)
            latest, position = self._from_cache(cache)
            if position is not None and not low <= position <= end:
                cache, latest, position = self._forget(cache), Checkpoint(), None
            start = OFFSET_BEGINNING if position is None else position
            consumer.assign([TopicPartition(self._topic, 0, start)])
            self._read(consumer, cache, latest)
        finally:
            consumer.close()
            cache.close()

    def _read(self, consumer: Consumer, cache: Rdict, latest: Checkpoint) -> None:
        rows: list[tuple[bytes, bytes | None]] = []
        unsaved: dict[bytes, bytes | None] = {}
        saved_at = time.monotonic()
        while not self._stopping.is_set():
            first = consumer.poll(0.05)
            messages = [] if first is None else [first, *consumer.consume(BATCH, 0)]
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
                    self._stopping.set()
                    shutil.rmtree(self._path, ignore_errors=True)
                    raise BeganAnew(
                        f"{self._topic}: checkpoint {checkpoint.number} came after {latest.number}: restart"
                    )
                self.torn += self._caught_up.is_set() and checkpoint.rows != len(rows)
                latest = checkpoint
                self._queue.append((checkpoint, self.model.prepare(rows)))
                unsaved.update(rows)
                unsaved[CHECKPOINT_KEY] = value
                unsaved[_NEXT] = str((message.offset() or 0) + 1).encode()
                rows = []
            if unsaved and time.monotonic() - saved_at > CACHE_INTERVAL_S:
                _save(cache, unsaved)
                unsaved, saved_at = {}, time.monotonic()
        if unsaved:
            _save(cache, unsaved)

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

    def _open(self) -> Rdict:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        options = Options(raw_mode=True)
        options.create_if_missing(True)
        options.set_write_buffer_size(8 * 1024 * 1024)
        return Rdict(str(self._path), options, access_type=AccessType.read_write())

    def _from_cache(self, cache: Rdict) -> tuple[Checkpoint, int | None]:
        """Queue what is on disk; its checkpoint and the offset to go on from, if it is of use."""
        saved = cache.get(CHECKPOINT_KEY)
        if saved is None:
            return Checkpoint(), None
        rows = [(k, v) for k, v in cache.items() if k not in (CHECKPOINT_KEY, _NEXT)]
        try:
            prepared = self.model.prepare(rows)
        except ValueError:  # written by a version with other rows
            return Checkpoint(), -1
        checkpoint = Checkpoint.decode(saved)
        self._queue.append((checkpoint, prepared))
        return checkpoint, int(cache.get(_NEXT))

    def _forget(self, cache: Rdict) -> Rdict:
        """Start from nothing: what is on disk is not of this topic."""
        cache.close()
        shutil.rmtree(self._path)
        self._queue.clear()
        return self._open()


def _save(cache: Rdict, rows: dict[bytes, bytes | None]) -> None:
    """Write the rows, and after them how far that is: a kill leaves an older state, whose tail has the rest.

    In slices, because RocksDB is called with the interpreter lock held, and serving waits for it.
    """
    state = {name: rows[name] for name in (CHECKPOINT_KEY, _NEXT)}
    upcoming = (item for item in rows.items() if item[0] not in state)
    while part := list(islice(upcoming, SLICE)):
        _write(cache, part)
        time.sleep(0)  # whoever waits for the lock gets it now
    _write(cache, state.items())


def _write(cache: Rdict, rows: Iterable[tuple[bytes, bytes | None]]) -> None:
    batch = WriteBatch(raw_mode=True)
    for key, value in rows:
        if value is None:
            batch.delete(key)
        else:
            batch.put(key, value)
    cache.write(batch)
