"""RocksDB stores of the users table, one a partition: a damaged one is set aside, and restored from Kafka."""

from pathlib import Path
from typing import Any

from faust.stores.rocksdb import Store

from streams.kafka.changelog import OWN_KEYS
from streams.kafka.damage import StoreFailed, failure, open_store
from streams.kafka.repairs import USERS, Repairs


class UserStore(Store):
    """Faust's store, with errors that say what to do."""

    def __init__(self, *args: Any, repairs: Repairs, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._repairs = repairs

    def _open_for_partition(self, partition: int) -> Any:
        path = self.partition_path(partition)
        store, damage = open_store(path, self.rocksdb_options.open, OWN_KEYS)
        if damage is not None:
            self._repairs.add(USERS, f"{path}: {damage}")
        return store

    def failed(self, partition: int, error: Exception) -> Exception:
        """What to raise for an error of a partition's store; damage is noted, for the next start."""
        path: Path = self.partition_path(partition)
        return error if isinstance(error, StoreFailed) else failure(path, error)
