"""The catalog on disk: the latest record of each item, and where in the topic to continue from.

Before each record are its columns (`models.catalog.record_type`), so that a restart parses nothing.
"""

import logging
import shutil
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path

from rocksdict import WriteBatch

from models.catalog import RECORD_ALONE, Kept, record_type
from streams.kafka.damage import failure, items, open_rocksdb, open_store
from streams.kafka.repairs import CATALOG, Repairs

log = logging.getLogger(__name__)

FOLDER = "catalog"
"""The folder of the catalog, in a process's folder."""
SLICE = 100
"""Records written at once, in a fifth of a millisecond, for which RocksDB holds the interpreter's lock."""
BUFFER_BYTES = 16 * 1024 * 1024
_ITEM = b"item/"
"""Prefix of an item's key: no id is one of the keys below."""
_NEXT, _SIZE, _TOPIC = b"next offset", b"size", b"topic id"


class CatalogStore:
    """A RocksDB in the folder `path`, of the topic with this id, with the columns of `kept`.

    A damaged one is set aside, and begins empty; one of another topic or of other columns, or that ends after
    `end_offset`, begins empty, too.
    """

    def __init__(
        self,
        path: Path,
        topic_id: str,
        end_offset: int,
        repairs: Repairs | None = None,
        kept: Kept = RECORD_ALONE,
    ) -> None:
        self._path, record = path, record_type(kept)
        self._columns_size = record.itemsize
        self._open(repairs)
        topic = f"{topic_id} {record}".encode()
        if self._store.get(_TOPIC) not in (None, topic) or self.next_offset > end_offset:
            log.warning("the topic catalog was recreated, or its columns changed: it is read again")
            self._store.close()
            shutil.rmtree(path)
            self._open(repairs)
        self._store.put(_TOPIC, topic)

    def _open(self, repairs: Repairs | None) -> None:
        path = self._path
        self._store, damage = open_store(
            path, partial(open_rocksdb, buffer_bytes=BUFFER_BYTES), (_NEXT, _SIZE, _TOPIC)
        )
        if damage is not None:
            (repairs or Repairs()).add(CATALOG, f"{path}: {damage}")
        self._size = int(self._store.get(_SIZE) or 0)

    def __len__(self) -> int:
        """Number of items."""
        return self._size

    @property
    def next_offset(self) -> int:
        """Offset of the first record that was not written; 0 if none was."""
        return int(self._store.get(_NEXT) or 0)

    def get(self, item: bytes) -> tuple[bytes, bytes] | None:
        """The columns and the record of an item; None if it is not in the catalog."""
        try:
            value: bytes | None = self._store.get(_ITEM + item)
        except Exception as error:  # noqa: BLE001  rocksdict has no class of its own
            raise failure(self._path, error) from None
        return None if value is None else (value[: self._columns_size], value[self._columns_size :])

    def columns(self) -> Iterator[tuple[bytes, bytes]]:
        """Id and columns of all items."""
        try:
            for key, value in items(self._store):
                if key.startswith(_ITEM):
                    yield key.removeprefix(_ITEM), value[: self._columns_size]
        except Exception as error:  # noqa: BLE001  rocksdict has no class of its own
            raise failure(self._path, error) from None

    def write(self, records: Mapping[bytes, tuple[bytes, bytes] | None], next_offset: int) -> None:
        """Write columns and records that come before `next_offset`, by item; None: it is withdrawn.

        The offset comes last: after a kill some records are read and written again.
        """
        upcoming = iter(records.items())
        while part := list(islice(upcoming, SLICE)):
            batch = WriteBatch(raw_mode=True)
            for item, value in part:
                self._size += (value is not None) - (self.get(item) is not None)
                if value is None:
                    batch.delete(_ITEM + item)
                else:
                    batch.put(_ITEM + item, b"".join(value))
            batch.put(_SIZE, b"%d" % self._size)
            self._write(batch)
        batch = WriteBatch(raw_mode=True)
        batch.put(_NEXT, b"%d" % next_offset)
        self._write(batch)

    def _write(self, batch: WriteBatch) -> None:
        try:
            self._store.write(batch)
        except Exception as error:  # noqa: BLE001  rocksdict has no class of its own
            raise failure(self._path, error) from None

    def close(self) -> None:
        """Close the files."""
        self._store.close()
