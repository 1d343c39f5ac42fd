"""The users' store: the same suite on a dict and on RocksDB, with the serving step on top."""

import faust
import pytest
from faust.types import TP

from streams import topics
from streams.kafka.changelog import OFFSET_KEY
from streams.kafka.table import ChunkTable
from streams.messages import MAX_ID_BYTES
from streams.step.users import decode_user
from tests.step.test_serve import NOW, record, step


class DictStore:
    """What the tests take for granted, in ten lines."""

    def __init__(self) -> None:
        self._partitions: dict[int, dict[bytes, bytes]] = {}

    def stored(self, partition, key):
        return self._partitions.get(partition, {}).get(key)

    def store(self, partition, values, changelog_offset):
        self._partitions.setdefault(partition, {}).update(values)

    def snapshot(self, partition):
        return self._partitions.get(partition, {})


@pytest.fixture(params=["dict", "rocksdb"])
def store(request, tmp_path):
    if request.param == "dict":
        return DictStore()
    return rocksdb_table(tmp_path)


def rocksdb_table(folder):
    app = faust.App("test", store="rocksdb://?driver=rocksdict", datadir=str(folder / "data"))
    app.conf.tabledir.mkdir(parents=True)
    return ChunkTable(app, name="users", key_type=bytes, value_type=bytes, options=dict(topics.ROCKSDB))


def everything(store, partition):
    """All keys and values of a partition."""
    return [(key, value) for key, value in store.snapshot(partition).items() if key != OFFSET_KEY]


def serve(store, records, partition=0):
    writes = step(records, stored=_Stored(store, partition))
    store.store(partition, writes.users, 7)
    return writes


class _Stored:
    def __init__(self, store, partition):
        self._store, self._partition = store, partition

    def get(self, key):
        return self._store.stored(self._partition, key)


def test_unknown_users_are_none(store):
    assert store.stored(0, b"nobody") is None


def test_users_are_kept_by_partition(store):
    store.store(0, {b"u": b"one", b"\x00\xff": b"odd"}, 1)
    store.store(1, {b"u": b"other"}, 1)
    assert (store.stored(0, b"u"), store.stored(1, b"u"), store.stored(0, b"\x00\xff")) == (
        b"one",
        b"other",
        b"odd",
    )
    assert dict(everything(store, 0)) == {b"u": b"one", b"\x00\xff": b"odd"}


def test_the_last_value_counts(store):
    store.store(0, {b"u": b"1"}, 1)
    store.store(0, {b"u": b"2"}, 2)
    assert store.stored(0, b"u") == b"2"
    assert len(list(everything(store, 0))) == 1


def test_the_serving_step_over_the_store(store):
    serve(store, [record(n, user=f"u{n % 4}", item=f"i{n}", time=NOW + n) for n in range(40)])
    again = serve(store, [record(n, user=f"u{n % 4}", item=f"i{n}", time=NOW + n) for n in range(40)])
    assert again.counts.replayed == 40
    assert not again.recommendations
    users = [decode_user(value) for _, value in everything(store, 0)]
    assert sum(user.events for user in users) == 40
    assert len(users) == 4
    assert decode_user(store.stored(0, b"u3")).items == tuple(f"i{n}" for n in range(3, 40, 4))


def test_rocksdb_keeps_the_changelog_offset_beside_the_values(tmp_path):
    table = rocksdb_table(tmp_path)
    assert table.persisted_offset(TP("changelog", 0)) is None
    table.store(0, {b"u": b"1"}, 41)
    assert table.persisted_offset(TP("changelog", 0)) == 41
    assert table.open_partitions() == [0]


@pytest.mark.parametrize(
    "user", ["__faust\0offset__", OFFSET_KEY[:MAX_ID_BYTES].decode(), "\0", "\0" * 256, "x" * 256, "é" * 128]
)
def test_any_user_id_is_a_key_of_its_own(tmp_path, user):
    table = rocksdb_table(tmp_path)
    for offset in (3, 4):
        assert serve(table, [record(offset, user=user)]).counts.accepted == 1
    assert table.persisted_offset(TP("changelog", 0)) == 7
    assert decode_user(table.stored(0, user.encode())).events == 2
