"""Damaged RocksDB folders, of the users and of the copy of the model: set aside, counted, and empty after."""

from collections.abc import Callable
from pathlib import Path

import faust
import pytest

from streams import topics
from streams.kafka.damage import StoreDamaged
from streams.kafka.local_state import MODEL_CACHE
from streams.kafka.replica_store import ReplicaStore
from streams.kafka.table import ChunkTable

ROWS = 10_000
"""Enough for several SST files."""
VALUE = bytes(range(256)) * 4


def flip(path: Path, whole: bool) -> None:
    """Flip bytes of an SST file: all over it, or in its first block only."""
    file = max(path.glob("*.sst"), key=lambda file: file.stat().st_size)
    content = bytearray(file.read_bytes())
    for at in range(0, len(content) if whole else 100, 97):
        content[at] ^= 0xFF
    file.write_bytes(content)


def cut_manifest(path: Path) -> None:
    manifest = next(path.glob("MANIFEST-*"))
    manifest.write_bytes(manifest.read_bytes()[: manifest.stat().st_size // 2])


DAMAGES: dict[str, Callable[[Path], None]] = {
    "an SST file is flipped all over": lambda path: flip(path, whole=True),
    "an SST file is gone": lambda path: max(path.glob("*.sst")).unlink(),
    "the MANIFEST is cut": cut_manifest,
    "the MANIFEST is gone": lambda path: next(path.glob("MANIFEST-*")).unlink(),
    "CURRENT is gone": lambda path: (path / "CURRENT").unlink(),
    "CURRENT is empty": lambda path: (path / "CURRENT").write_bytes(b""),
}


def users(folder: Path) -> ChunkTable:
    app = faust.App("test", store="rocksdb://?driver=rocksdict", datadir=str(folder / "data"))
    app.conf.tabledir.mkdir(parents=True, exist_ok=True)
    return ChunkTable(app, name="users", key_type=bytes, value_type=bytes, options=dict(topics.ROCKSDB))


def close(table: ChunkTable) -> None:
    for store in table.data._dbs.values():
        store.close()
    table.data._dbs.clear()


def filled_users(folder: Path) -> Path:
    table = users(folder)
    for start in range(0, ROWS, 1000):
        table.store(0, {b"u%d" % n: VALUE for n in range(start, start + 1000)}, start)
    path: Path = table.data.partition_path(0)
    close(table)
    return path


def filled_model(folder: Path) -> Path:
    path = folder / MODEL_CACHE
    store = ReplicaStore(path)
    store._store.set_options({"write_buffer_size": str(1024 * 1024)})
    store.add((b"next/%d" % n, VALUE) for n in range(ROWS))
    store.reached(b"first", 7)
    store.close()
    return path


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_store_of_users_is_set_aside_and_begins_empty(tmp_path, damage):
    path = filled_users(tmp_path)
    damage(path)
    table = users(tmp_path)
    assert table.offset(0) is None
    assert list(table.users(0)) == []
    assert table.repairs.counts()["repairs:users"] == 1
    assert path.with_name(path.name + ".aside").is_dir()


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_copy_of_the_model_is_set_aside_and_begins_empty(tmp_path, damage):
    path = filled_model(tmp_path)
    damage(path)
    table = users(tmp_path)
    store = ReplicaStore(path, table.repairs)
    assert store.saved is None
    assert list(store.slices()) == []
    assert table.repairs.counts()["repairs:model"] == 1


def test_a_healthy_store_is_kept(tmp_path):
    filled_users(tmp_path)
    filled_model(tmp_path)
    table, store = users(tmp_path), ReplicaStore(tmp_path / MODEL_CACHE)
    assert sum(1 for _ in table.users(0)) == ROWS
    assert sum(len(rows) for rows in store.slices()) == ROWS
    assert sum(table.repairs.counts().values()) == 0


def test_damage_that_is_met_while_reading_is_noted_for_the_next_start(tmp_path):
    path = filled_users(tmp_path)
    flip(path, whole=False)
    table = users(tmp_path)
    damaged = []
    for n in range(ROWS):
        try:
            assert table.stored(0, b"u%d" % n) == VALUE
        except StoreDamaged as error:
            damaged.append(str(error))
    assert damaged
    assert all(message.startswith(f"data_dir: {path} is damaged") for message in damaged)
    with pytest.raises(StoreDamaged):  # RocksDB's own iterator ends as at the end
        list(table.users(0))
    table.data._dbs.clear()
    again = users(tmp_path)
    assert again.offset(0) is None
    assert again.repairs.counts()["repairs:users"] == 1


def test_a_copy_of_the_model_that_is_damaged_inside_is_not_loaded_in_part(tmp_path):
    path = filled_model(tmp_path)
    flip(path, whole=False)
    table = users(tmp_path)
    store = ReplicaStore(path, table.repairs)
    with pytest.raises(StoreDamaged):
        list(store.slices())
    store.set_aside()
    assert store.saved is None
    assert table.repairs.counts()["repairs:model"] == 1


def test_a_store_whose_offset_cannot_be_read_is_set_aside_at_once(tmp_path):
    path = filled_users(tmp_path)
    for file in path.glob("*.sst"):
        content = bytearray(file.read_bytes())
        content[0] ^= 0xFF  # the offset's key comes first
        file.write_bytes(content)
    table = users(tmp_path)
    assert table.offset(0) is None
    assert table.repairs.counts()["repairs:users"] == 1
