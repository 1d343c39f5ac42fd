"""What a replica keeps on disk, also when it is killed while it writes."""

import subprocess
import sys

from streams.kafka.replica_store import SLICE, ReplicaStore, Row

ROWS = 3 * SLICE + 1


def rows(version: int) -> list[Row]:
    return [(b"next/%d" % row, b"%d" % version) for row in range(ROWS)]


def test_what_was_saved_is_loaded(tmp_path):
    store = ReplicaStore(tmp_path / "store")
    assert store.load() is None
    store.add(rows(1))
    store.reached(b"first", 7)
    store.add([(b"next/7", None), (b"next/8", b"2")])
    store.reached(b"second", 9)
    store.add([(b"next/8", b"3")])  # of a checkpoint that never came whole: the topic has it once more
    store.close()

    checkpoint, offset, found = ReplicaStore(tmp_path / "store").load()
    assert (checkpoint, offset) == (b"second", 9)
    of_first = {key: value for key, value in rows(1) if key != b"next/7"}
    assert dict(found) == of_first | {b"next/8": b"3"}


def test_nothing_is_written_before_its_time_or_of_no_checkpoint(tmp_path):
    store = ReplicaStore(tmp_path / "store")
    store.add(rows(1))
    store.reached(b"first", 7)
    assert not store.save()
    store._due, store._place = 0.0, {}
    assert not store.save()


def test_it_is_written_in_slices_and_once(tmp_path):
    store = ReplicaStore(tmp_path / "store")
    store.add(rows(1))
    store.reached(b"first", 7)
    store._due = 0.0
    slices = 0
    while store.save():
        slices += 1
    assert slices == 1 + 4
    assert store.load().checkpoint == b"first"


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
    assert ReplicaStore(tmp_path / "store").load() is None


WRITER = """
import sys
from pathlib import Path
from streams.kafka import replica_store
from tests.test_replica_store import rows

replica_store.BUFFER_BYTES = 64 * 1024  # a few versions fill it
store = replica_store.ReplicaStore(Path(sys.argv[1]))
for version in range(1, 1_000_000):
    store.add(rows(version))
    store.reached(b"%d" % version, version)
    store._due = 0.0
    while store.save():
        pass
    print(version, flush=True)
"""


def test_a_kill_leaves_no_row_older_than_the_place(tmp_path):
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path / "s")], stdout=subprocess.PIPE)
    written = 0
    for line in writer.stdout:
        written = int(line)
        if written == 200:
            writer.kill()
    writer.wait()

    checkpoint, offset, found = ReplicaStore(tmp_path / "s").load()
    assert checkpoint == b"%d" % offset and 100 < offset <= written + 1
    assert len(found) == ROWS
    assert all(int(value) >= offset for _, value in found)
