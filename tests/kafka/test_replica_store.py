"""What a replica keeps on disk, also when it is killed while it writes."""

import subprocess
import sys

import pytest

from streams.kafka import replica_store
from streams.kafka.replica_store import SLICE, ReplicaStore, Row

ROWS = 3 * SLICE + 1


def rows(version: int) -> list[Row]:
    return [(b"next/%d" % row, b"%d" % version) for row in range(ROWS)]


def test_what_was_saved_is_loaded(tmp_path):
    store = ReplicaStore(tmp_path / "store")
    assert store.saved is None
    store.add(rows(1))
    store.reached(b"first", 7)
    store.add([(b"next/7", None), (b"next/8", b"2")])
    store.reached(b"second", 9)
    store.add([(b"next/8", b"3")])  # of a checkpoint that never came whole: the topic has it once more
    store.close()

    store = ReplicaStore(tmp_path / "store")
    assert store.saved == (b"second", 9)
    stored_rows = [row for rows in store.slices() for row in rows]
    of_first = {key: value for key, value in rows(1) if key != b"next/7"}
    assert dict(stored_rows) == of_first | {b"next/8": b"3"}


def test_nothing_is_written_before_its_time(tmp_path):
    store = ReplicaStore(tmp_path / "store")
    store.add(rows(1))
    store.reached(b"first", 7)
    assert not store.save()
    assert store.saved is None


def test_the_position_is_not_written_before_its_checkpoint_is_whole(tmp_path, monkeypatch):
    """Rows are, once they are many: they are read again after a restart."""
    monkeypatch.setattr(replica_store, "UNSAVED_ROWS", ROWS)
    store = ReplicaStore(tmp_path / "store")
    save(store, 1)
    store.add(rows(2))
    while store.save():
        pass
    assert store.saved == (b"1", 1)
    assert {value for part in store.slices() for _, value in part} == {b"2"}


def test_nothing_is_written_of_a_checkpoint_that_is_not_whole(tmp_path):
    store = ReplicaStore(tmp_path / "store")
    store.add(rows(1))
    store._due = 0.0
    assert not store.save()
    assert store.saved is None


def test_it_is_written_in_slices_and_once(tmp_path):
    store = ReplicaStore(tmp_path / "store")
    store.add(rows(1))
    store.reached(b"first", 7)
    store._due = 0.0
    slices = 0
    while store.save():
        slices += 1
    assert slices == 1 + 4
    assert store.saved.checkpoint == b"first"


def test_what_is_cleared_does_not_come_back(tmp_path):
    store = ReplicaStore(tmp_path / "store")
    store.add(rows(1))
    store.reached(b"first", 7)
    store._due = 0.0
    store.save(), store.save()
    store.add(rows(2))
    store.reached(b"second", 8)
    store.clear()
    store.close()
    assert ReplicaStore(tmp_path / "store").saved is None


@pytest.mark.parametrize("slices", range(5))
def test_a_failed_write_leaves_the_position_before_it(tmp_path, monkeypatch, slices):
    """Else a restart would continue after rows that are missing."""
    store = ReplicaStore(tmp_path / "store")
    save(store, 1)
    put, left = replica_store._put, slices

    def full(*written):
        nonlocal left
        left -= 1
        if left == -1:
            raise OSError("no space left on device")
        put(*written)

    monkeypatch.setattr(replica_store, "_put", full)
    with pytest.raises(OSError, match="no space left"):
        save(store, 2)
    store.add(rows(3))
    store.reached(b"3", 3)
    store.close()

    store = ReplicaStore(tmp_path / "store")
    saved, loaded = store.saved, [row for slice in store.slices() for row in slice]
    assert (saved.checkpoint, saved.next_offset) == (b"1", 1)
    assert len(loaded) == ROWS
    newer = sum(value == b"2" for _, value in loaded)
    assert newer == min(slices * SLICE, ROWS)


KILLED = """
import os, sys
from pathlib import Path
from streams.kafka.replica_store import ReplicaStore
from tests.kafka.test_replica_store import save

store = ReplicaStore(Path(sys.argv[1]))
save(store, 1)
save(store, 2)
os._exit(9)
"""


def test_what_was_written_outlives_a_kill(tmp_path):
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "store")], check=False)
    assert killed.returncode == 9
    store = ReplicaStore(tmp_path / "store")
    saved, loaded = store.saved, [row for slice in store.slices() for row in slice]
    assert (saved.checkpoint, saved.next_offset) == (b"2", 2)
    assert {value for _, value in loaded} == {b"2"}


def save(store: ReplicaStore, version: int) -> None:
    store.add(rows(version))
    store.reached(b"%d" % version, version)
    store._due = 0.0
    while store.save():
        pass
