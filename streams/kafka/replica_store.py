"""What a replica keeps on disk: the rows of the model, and where in the topic it goes on from there.

Written in slices, for RocksDB is called with the interpreter's lock held and serving waits for it.  The place
comes last, so that a kill leaves an older one, from which on the topic has the rest.
"""

import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from rocksdict import AccessType, Options, Rdict, WriteBatch

from models.checkpoint import CHECKPOINT_KEY

INTERVAL_S = 5.0
"""Between two writings: rows that change at every click are written once."""
BUFFER_BYTES = 32 * 1024 * 1024
"""Held in memory before it is sorted to disk: the smaller, the more often a row that changes is merged."""
SLICE = 100
"""Rows written at once: a fifth of a millisecond."""
_NEXT = b"__next offset"

Row = tuple[bytes, bytes | None]
"""Key and value on the `model` topic; None deletes."""


class Saved(NamedTuple):
    """A model as it was saved."""

    checkpoint: bytes
    next_offset: int
    """Of the topic: what comes after it."""
    rows: list[Row]


class ReplicaStore:
    """A RocksDB in the folder `path`, of one topic."""

    def __init__(self, path: Path) -> None:
        self._path, self._store = path, _open(path)
        self._unsaved: dict[bytes, bytes | None] = {}
        self._place: dict[bytes, bytes | None] = {}
        self._writing: Iterator[None] = iter(())
        self._due = time.monotonic() + INTERVAL_S
        self._failed = False
        """Whether rows are missing: no later place may be written."""

    def load(self) -> Saved | None:
        """All of it; None if nothing was saved."""
        checkpoint = self._store.get(CHECKPOINT_KEY)
        if checkpoint is None:
            return None
        rows = [(key, value) for key, value in self._store.items() if key not in (CHECKPOINT_KEY, _NEXT)]
        return Saved(checkpoint, int(self._store.get(_NEXT)), rows)

    def add(self, rows: Iterable[Row]) -> None:
        """To be saved; they may be of a checkpoint that is not whole yet."""
        self._unsaved.update(rows)

    def reached(self, checkpoint: bytes, next_offset: int) -> None:
        """What was added is whole up to there."""
        self._place = {CHECKPOINT_KEY: checkpoint, _NEXT: str(next_offset).encode()}

    def save(self) -> bool:
        """Write a slice, if it is time to; whether there was one."""
        try:
            for _ in self._writing:
                return True
        except Exception:
            self._failed = True
            raise
        if self._failed or not self._place or time.monotonic() < self._due:
            return False
        self._writing = _write(self._store, self._unsaved, self._place)
        self._unsaved, self._place, self._due = {}, {}, time.monotonic() + INTERVAL_S
        return True

    def clear(self) -> None:
        """Forget what was saved and what was to be."""
        self._unsaved, self._place, self._writing = {}, {}, iter(())
        self._store.close()
        shutil.rmtree(self._path)
        self._store = _open(self._path)

    def close(self) -> None:
        """Write what is left, unless a writing failed."""
        self._due = 0.0
        while self.save():
            pass
        self._store.close()


def _open(path: Path) -> Rdict:
    path.parent.mkdir(parents=True, exist_ok=True)
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_write_buffer_size(BUFFER_BYTES)
    return Rdict(str(path), options, access_type=AccessType.read_write())


def _write(
    store: Rdict, rows: Mapping[bytes, bytes | None], place: Mapping[bytes, bytes | None]
) -> Iterator[None]:
    """Yields after each slice."""
    upcoming = iter(rows.items())
    while part := list(islice(upcoming, SLICE)):
        _put(store, part)
        yield
    _put(store, place.items())


def _put(store: Rdict, rows: Iterable[Row]) -> None:
    batch = WriteBatch(raw_mode=True)
    for key, value in rows:
        if value is None:
            batch.delete(key)
        else:
            batch.put(key, value)
    store.write(batch)
