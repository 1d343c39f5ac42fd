"""A Faust table of raw bytes that is restored chunk by chunk, each in one RocksDB batch.

Faust replays a changelog record by record, at 9,000 a second; this does 140,000 to 260,000.  High watermarks,
standbys and the end of recovery stay Faust's.
"""

from typing import Any

import faust
from faust.types import TP
from rocksdict import WriteBatch

from streams.messages import MAX_ID_BYTES

OFFSET_KEY = b"changelog offset".ljust(MAX_ID_BYTES + 1, b"\0")
"""The key under which a partition's store keeps the changelog offset that it includes.

It is longer than any user id, and so no user's key; Faust's own, `FAUST_OFFSET_KEY`, is a valid user id.
"""
FAUST_OFFSET_KEY = b"__faust\0offset__"


class ChunkTable(faust.Table):
    """A table of bytes by bytes, written by `BatchWriter` and never by item assignment."""

    def __init__(self, *args: Any, recovery_buffer_size: int = 2, **kwargs: Any) -> None:
        # a size of 1 has a special meaning to Faust
        super().__init__(*args, recovery_buffer_size=recovery_buffer_size, **kwargs)

    def persisted_offset(self, tp: TP) -> int | None:
        """The changelog offset that a partition's store includes; None: restore it from the beginning.

        A store of a version that kept the offset under Faust's key is restored once, without that key, which
        may be a user's by now.
        """
        database = self.data._db_for_partition(tp.partition)
        offset: bytes | None = database.get(OFFSET_KEY)
        if offset is None:
            database.delete(FAUST_OFFSET_KEY)
        return None if offset is None else int(offset)

    def open_partitions(self) -> list[int]:
        """The partitions whose stores are open here."""
        return sorted(self.data._dbs)

    def stored(self, partition: int, key: bytes) -> bytes | None:
        """The value of a key in a partition's store; None if it has none."""
        value: bytes | None = self.data._db_for_partition(partition).get(key)
        return value

    def store(self, partition: int, values: dict[bytes, bytes], changelog_offset: int) -> None:
        """Write values, and the changelog offset that includes them, in one batch."""
        batch = WriteBatch(raw_mode=True)
        for key, value in values.items():
            batch.put(key, value)
        batch.put(OFFSET_KEY, str(changelog_offset).encode())
        self.data._db_for_partition(partition).write(batch)

    def snapshot(self, partition: int) -> Any:
        """A partition's store as it is now, with `keys()`, `items()` and `[key]`."""
        return self.data._db_for_partition(partition).snapshot()

    def apply_changelog_batch(self, batch: Any) -> None:
        """Write records of the changelog to the store; called by Faust while it restores."""
        for event in batch:
            message, writes = event.message, WriteBatch(raw_mode=True)
            for record in message.chunk:
                if record.value is None:
                    writes.delete(record.key)
                else:
                    writes.put(record.key, record.value)
            writes.put(OFFSET_KEY, str(message.offset).encode())
            self.data._db_for_partition(message.partition).write(writes)
