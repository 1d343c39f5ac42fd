"""The catalog on disk."""

from models.catalog import Entry, Kept, encode
from streams.kafka.catalog_store import CatalogStore

COLUMNS = encode(Entry(brand="Fjell"))


def record(value: bytes) -> tuple[bytes, bytes]:
    return COLUMNS, value


def test_it_has_the_latest_records_and_its_offset_after_a_restart(tmp_path):
    store = CatalogStore(tmp_path / "catalog", "id", 9)
    store.write({b"a": record(b"1"), b"b": record(b"2"), b"never there": None}, 5)
    store.write({b"a": record(b"3"), b"b": None, b"size": record(b"4")}, 8)
    assert (len(store), store.next_offset) == (2, 8)
    store.close()
    store = CatalogStore(tmp_path / "catalog", "id", 9)
    assert (len(store), store.next_offset) == (2, 8)
    assert [store.get(item) for item in (b"a", b"b", b"size", b"next offset")] == [
        record(b"3"),
        None,
        record(b"4"),
        None,
    ]
    assert dict(store.columns()) == {b"a": COLUMNS, b"size": COLUMNS}
    store.close()


def test_records_that_are_written_again_count_once(tmp_path):
    store = CatalogStore(tmp_path / "catalog", "id", 9)
    for _ in range(2):
        store.write({b"%d" % n: record(b"x") for n in range(250)}, 5)
    assert len(store) == 250
    store.close()


def test_the_copy_of_another_topic_is_dropped(tmp_path):
    for topic_id, end, kept in (("id", 9, 0), ("id", 9, 1), ("another", 9, 0), ("another", 4, 0)):
        store = CatalogStore(tmp_path / "catalog", topic_id, end)
        assert len(store) == kept
        store.write({b"a": record(b"1")}, 5)
        store.close()


def test_a_damaged_copy_is_set_aside(tmp_path):
    store = CatalogStore(tmp_path / "catalog", "id", 9)
    store.write({b"a": record(b"1")}, 5)
    store.close()
    (tmp_path / "catalog" / "CURRENT").unlink()
    store = CatalogStore(tmp_path / "catalog", "id", 9)
    assert (len(store), store.next_offset) == (0, 0)
    assert (tmp_path / "catalog.aside").is_dir()
    store.close()


def test_the_copy_with_other_vectors_is_dropped(tmp_path):
    none, three = Kept(), Kept({"image": 3})
    for kept, size in (
        (none, 0),
        (three, 0),
        (three, 1),
        (Kept({"image": 4}), 0),
        (Kept(filters=("colour",)), 0),
    ):
        store = CatalogStore(tmp_path / "catalog", "id", 9, kept=kept)
        assert len(store) == size
        item = encode(Entry(vectors={"image": [1.0, 2.0, 3.0]}), kept), b"record"
        store.write({b"a": item}, 1)
        assert store.get(b"a") == item
        store.close()
