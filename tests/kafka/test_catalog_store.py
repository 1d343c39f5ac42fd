"""The catalog on disk."""

from streams.kafka.catalog_store import CatalogStore


def test_it_has_the_latest_records_and_its_offset_after_a_restart(tmp_path):
    store = CatalogStore(tmp_path / "catalog", "id", 9)
    store.write({b"a": b"1", b"b": b"2", b"never there": None}, 5)
    store.write({b"a": b"3", b"b": None, b"size": b"4"}, 8)
    assert (len(store), store.next_offset) == (2, 8)
    store.close()
    store = CatalogStore(tmp_path / "catalog", "id", 9)
    assert (len(store), store.next_offset) == (2, 8)
    assert [store.get(item) for item in (b"a", b"b", b"size", b"next offset")] == [b"3", None, b"4", None]
    assert dict(store.records()) == {b"a": b"3", b"size": b"4"}
    store.close()


def test_records_that_are_written_again_count_once(tmp_path):
    store = CatalogStore(tmp_path / "catalog", "id", 9)
    for _ in range(2):
        store.write({b"%d" % n: b"x" for n in range(250)}, 5)
    assert len(store) == 250
    store.close()


def test_the_copy_of_another_topic_is_dropped(tmp_path):
    for topic_id, end, kept in (("id", 9, 0), ("id", 9, 1), ("another", 9, 0), ("another", 4, 0)):
        store = CatalogStore(tmp_path / "catalog", topic_id, end)
        assert len(store) == kept
        store.write({b"a": b"1"}, 5)
        store.close()


def test_a_damaged_copy_is_set_aside(tmp_path):
    store = CatalogStore(tmp_path / "catalog", "id", 9)
    store.write({b"a": b"1"}, 5)
    store.close()
    (tmp_path / "catalog" / "CURRENT").unlink()
    store = CatalogStore(tmp_path / "catalog", "id", 9)
    assert (len(store), store.next_offset) == (0, 0)
    assert (tmp_path / "catalog.aside").is_dir()
    store.close()
