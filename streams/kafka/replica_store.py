"""The replica's copy on disk: the rows of the model, and where in the topic to continue from.

It is written in slices, because RocksDB is called with the interpreter's lock held and serving waits for it.
The position comes last, so that a kill leaves an older one, after which the topic has the rest.
"""

import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from rocksdict import Rdict, WriteBatch

from models.checkpoint import CHECKPOINT_KEY
from models.published import Row
from streams.kafka.damage import failure, items, open_rocksdb, open_store
from streams.kafka.repairs import MODEL, Repairs

INTERVAL_S = 5.0
"""Interval between writes: a row that changes at every click is written once in it."""
BUFFER_BYTES = 32 * 1024 * 1024
"""Size of RocksDB's write buffer: the smaller, the more often a row that changes is merged."""
SLICE = 100
"""Rows written at once, in a fifth of a millisecond."""
UNSAVED_ROWS = 20_000
"""Rows that wait to be written, at most, as Python objects."""
LOADED_ROWS = 2_000
"""Rows loaded at once: what is held as Python objects."""
_NEXT = b"__next offset"


class Saved(NamedTuple):
    """Where a saved model ends."""

    checkpoint: bytes
    """The encoded checkpoint, as on the topic."""
    next_offset: int
    """Offset in the topic of what comes after it."""


class ReplicaStore:
    """A RocksDB in the folder `path`, of one topic.  A damaged one is set aside, and begins empty."""

    def __init__(self, path: Path, repairs: Repairs | None = None) -> None:
        self._path, self._repairs = path, repairs or Repairs()
        self._store = self._open()
        self._unsaved: dict[bytes, bytes | None] = {}
        self._position: dict[bytes, bytes | None] = {}
        self._writing: Iterator[None] = iter(())
        self._due = time.monotonic() + INTERVAL_S
        self._failed = False
        """Whether rows are missing: no later position may be written."""

    @property
    def saved(self) -> Saved | None:
        """Where the saved model ends; None if nothing was saved."""
        checkpoint = self._store.get(CHECKPOINT_KEY)
        return None if checkpoint is None else Saved(checkpoint, int(self._store.get(_NEXT) or 0))

    def slices(self) -> Iterator[list[Row]]:
        """All saved rows, `LOADED_ROWS` at a time; `StoreDamaged` if some cannot be read."""
        rows: Iterator[Any] = items(self._store)
        rows = ((key, value) for key, value in rows if key not in (CHECKPOINT_KEY, _NEXT))
        try:
            while part := list(islice(rows, LOADED_ROWS)):
                yield part
        except Exception as error:  # noqa: BLE001  rocksdict has no class of its own
            raise failure(self._path, error) from None

    def add(self, rows: Iterable[Row]) -> None:
        """Save these rows later; their checkpoint may be incomplete yet."""
        self._unsaved.update(rows)

    def reached(self, checkpoint: bytes, next_offset: int) -> None:
        """All rows of this checkpoint, which ends before `next_offset`, are added."""
        self._position = {CHECKPOINT_KEY: checkpoint, _NEXT: str(next_offset).encode()}

    def save(self) -> bool:
        """Write a slice if one is due; whether one was.

        Many rows of an incomplete checkpoint are written before its position is known.  A restart then begins
        with some rows that are newer than its position, and reads them again before the model is used.
        """
        try:
            for _ in self._writing:
                return True
        except Exception:
            self._failed = True
            raise
        full = len(self._unsaved) >= UNSAVED_ROWS
        if self._failed or not (full or (self._position and time.monotonic() >= self._due)):
            return False
        self._writing = _write(self._store, self._unsaved, self._position)
        self._unsaved, self._position, self._due = {}, {}, time.monotonic() + INTERVAL_S
        return True

    def clear(self) -> None:
        """Delete what was saved, and drop what was to be saved."""
        self._unsaved, self._position, self._writing = {}, {}, iter(())
        self._store.close()
        shutil.rmtree(self._path)
        self._store = self._open()

    def set_aside(self) -> None:
        """Begin empty, because damage was met and noted."""
        self._unsaved, self._position, self._writing = {}, {}, iter(())
        with suppress(Exception):  # it repeats the damage
            self._store.close()
        self._store = self._open()

    def close(self) -> None:
        """Write the rest, unless a write failed, and close."""
        self._due = 0.0
        while self.save():
            pass
        self._store.close()

    def _open(self) -> Rdict:
        store, damage = open_store(
            self._path, partial(open_rocksdb, buffer_bytes=BUFFER_BYTES), (CHECKPOINT_KEY, _NEXT)
        )
        if damage is not None:
            self._repairs.add(MODEL, f"{self._path}: {damage}")
        return store


def _write(
    store: Rdict, rows: Mapping[bytes, bytes | None], position: Mapping[bytes, bytes | None]
) -> Iterator[None]:
    """Write rows, then the position; yields after each slice."""
    upcoming = iter(rows.items())
    while part := list(islice(upcoming, SLICE)):
        _put(store, part)
        yield
    _put(store, position.items())


def _put(store: Rdict, rows: Iterable[Row]) -> None:
    batch = WriteBatch(raw_mode=True)
    for key, value in rows:
        if value is None:
            batch.delete(key)
        else:
            batch.put(key, value)
    try:
        store.write(batch)
    except Exception as error:  # noqa: BLE001  rocksdict has no class of its own
        raise failure(Path(store.path()), error) from None
