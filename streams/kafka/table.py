"""A Faust table of raw bytes that is restored chunk by chunk, each in one RocksDB batch.

Faust replays a changelog record by record, at 9,000 a second; this does 140,000 to 260,000.  High watermarks,
standbys and the end of recovery stay Faust's.
"""

import asyncio
from collections.abc import Iterator
from typing import Any

import faust
import msgspec
from faust.types import TP
from rocksdict import WriteBatch

from streams.kafka.changelog import MARK_KEY, OFFSET_KEY, OWN_KEYS, Mark
from streams.kafka.changelog_repair import ChangelogChanged, ChangelogRepair, later
from streams.kafka.damage import items
from streams.kafka.repairs import Repairs
from streams.kafka.user_store import UserStore


class ChunkTable(faust.Table):
    """A table of bytes by bytes, written by `BatchWriter` and never by item assignment."""

    def __init__(self, *args: Any, recovery_buffer_size: int = 2, **kwargs: Any) -> None:
        # a size of 1 has a special meaning to Faust
        super().__init__(*args, recovery_buffer_size=recovery_buffer_size, **kwargs)
        self.repairs = Repairs()
        self.repair: ChangelogRepair | None = None
        """Keeps the stores and the changelog together; None where a broker does not tell topics apart."""
        self._offsets: dict[int, int] = {}
        """Changelog offset written last, by partition."""

    def _new_store_by_url(self, url: Any) -> UserStore:
        return UserStore(
            url, self.app, self, table_name=self.name, key_type=self.key_type,
            key_serializer=self.key_serializer, value_serializer=self.value_serializer,
            value_type=self.value_type, loop=self.loop, options=self.options, repairs=self.repairs,
        )  # fmt: skip

    def open_partitions(self) -> list[int]:
        """The partitions whose stores are open here."""
        return sorted(self.data._dbs)

    def stored(self, partition: int, key: bytes) -> bytes | None:
        """The value of a key in a partition's store; None if it has none."""
        try:
            value: bytes | None = self.data._db_for_partition(partition).get(key)
        except Exception as error:  # noqa: BLE001  rocksdict has no class of its own
            raise self.data.failed(partition, error) from None
        return value

    def store(self, partition: int, values: dict[bytes, bytes], changelog_offset: int) -> None:
        """Write values, and the changelog offset that includes them, in one batch.

        `ChangelogChanged` if the offset is before that of the values before.
        """
        if changelog_offset < self._offsets.get(partition, -1):
            raise ChangelogChanged(self.changelog_topic_name, "was recreated")
        batch = WriteBatch(raw_mode=True)
        for key, value in values.items():
            batch.put(key, value)
        batch.put(OFFSET_KEY, str(changelog_offset).encode())
        self._write(partition, batch)
        self._offsets[partition] = changelog_offset

    def snapshot(self, partition: int) -> Any:
        """A partition's store as it is now, with `keys()`, `items()` and `[key]`."""
        return self.data._db_for_partition(partition).snapshot()

    def users(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        """All users of a partition's store as it is now."""
        try:
            yield from ((key, value) for key, value in items(self.snapshot(partition)) if key not in OWN_KEYS)
        except Exception as error:  # noqa: BLE001  rocksdict has no class of its own
            raise self.data.failed(partition, error) from None

    def offset(self, partition: int) -> int | None:
        """The changelog offset that a partition's store includes; None if it includes none."""
        offset = self.stored(partition, OFFSET_KEY)
        return None if offset is None else int(offset)

    def mark(self, partition: int) -> Mark | None:
        """What the offset of a partition's store is of; None if it has no mark."""
        mark = self.stored(partition, MARK_KEY)
        return None if mark is None else msgspec.json.decode(mark, type=Mark)

    def set_mark(self, partition: int, mark: Mark) -> None:
        """Say what the offset of a partition's store is of."""
        batch = WriteBatch(raw_mode=True)
        batch.put(MARK_KEY, msgspec.json.encode(mark))
        self._write(partition, batch)

    def apply_changelog_batch(self, batch: Any) -> None:
        """Write records of the changelog to the store; called by Faust while it restores."""
        try:
            for event in batch:
                self._apply(event.message)
        except Exception as error:  # Faust would log it, and go on without the records
            self._ending = asyncio.ensure_future(self.app.crash(error))
            raise

    def _apply(self, message: Any) -> None:
        partition, writes = message.partition, WriteBatch(raw_mode=True)
        merges = self.repair is not None and self.repair.merges(partition)
        newest: dict[bytes, bytes] = {}
        for record in message.chunk:
            if record.value is None:
                writes.delete(record.key)
                continue
            if merges:
                own = newest.get(record.key) or self.stored(partition, record.key)
                if later(own, record.value):
                    continue
                newest[record.key] = record.value
            writes.put(record.key, record.value)
        writes.put(OFFSET_KEY, str(message.offset).encode())
        self._write(partition, writes)

    async def on_rebalance(self, *args: Any, **kwargs: Any) -> None:
        """Compare the stores with the changelog before Faust restores them."""
        await super().on_rebalance(*args, **kwargs)
        self._offsets.clear()
        if self.repair is not None:
            await self.repair.begin(self)

    def persisted_offset(self, tp: TP) -> int | None:
        """Where Faust restores from; None: from the beginning."""
        if self.repair is not None and self.repair.merges(tp.partition):
            return None
        return self.offset(tp.partition)

    async def on_recovery_completed(self, *args: Any, **kwargs: Any) -> None:
        """Write to the changelog what it lacks, once the stores are restored and before they serve."""
        if self.repair is not None:
            try:
                await self.repair.finish(self)
            except Exception as error:  # Faust would go on without a word
                await self.app.crash(error)
                raise
        await super().on_recovery_completed(*args, **kwargs)

    def _write(self, partition: int, batch: WriteBatch) -> None:
        try:
            self.data._db_for_partition(partition).write(batch)
        except Exception as error:  # noqa: BLE001  rocksdict has no class of its own
            raise self.data.failed(partition, error) from None
