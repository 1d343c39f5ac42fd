"""Admission, expiry, and replication."""

import random

from models.rows import ItemRows
from models.units import HOUR_MS


def replica_of(items: ItemRows, replica: ItemRows) -> None:
    rows = items.dump_touched()
    split = [(key.partition(b"/"), value) for key, value in rows.items()]
    replica.apply([(rest, v) for (part, _, rest), v in split if part == b"items" and v is not None])
    replica.apply_waiting([(rest, v) for (part, _, rest), v in split if part == b"waiting"])


def test_an_item_is_admitted_at_its_nth_event():
    items = ItemRows(100, admit_after=3)
    assert [items.admit("a", 0) for _ in range(4)] == [-1, -1, 0, 0]
    assert len(items) == 1
    assert items.row("a") == 0
    assert items.row("b") == -1


def test_waiting_items_are_bounded_and_the_one_unseen_for_longest_goes_first():
    items = ItemRows(50, admit_after=2)  # a tenth of 50: five wait
    for name in "abcdef":
        items.admit(name, 0)
    assert items.admit("a", 0) == -1, "a was dropped, and starts over"
    assert items.admit("f", 0) == 0


def test_the_longest_idle_items_expire_and_rows_are_reused():
    items = ItemRows(200)
    for n in range(200):
        items.admit(f"i{n}", n * HOUR_MS)
    assert items.full
    items.admit("i0", 500 * HOUR_MS)
    freed = items.expire()
    assert freed.tolist() == [1, 2], "one percent, the longest idle, but not i0"
    assert items.row("i1") == -1
    assert not items.full
    assert {items.admit("new", 0), items.admit("newer", 0)} == {1, 2}
    assert items.row("i0") == 0


def test_a_busy_item_is_published_once_an_hour():
    items = ItemRows(10)
    items.admit("a", 0)
    assert len(items.dump_touched()) == 1
    items.admit("a", HOUR_MS - 1)
    assert not items.dump_touched()
    items.admit("a", HOUR_MS)
    assert len(items.dump_touched()) == 1


def test_replica_follows_through_admission_expiry_and_reuse():
    rng = random.Random(1)
    items, replica = ItemRows(40, admit_after=2), ItemRows(40, admit_after=2)
    for step in range(300):
        for _ in range(5):
            if items.full:
                items.expire()
            items.admit(f"ü{rng.randrange(90)}", step * HOUR_MS)
        replica_of(items, replica)
        assert replica.ids == items.ids
        assert [replica.row(i) for i in items.ids if i] == [items.row(i) for i in items.ids if i]
        assert replica._waiting == items._waiting
        assert (replica.last_seen[: len(items.ids)] == items.last_seen[: len(items.ids)]).all()
    names = [f"ü{n}" for n in range(90)]
    for target in (items, replica):  # the replica takes over as a learner
        if target.full:
            target.expire()
    assert [items.admit(n, 10**9) for n in names[:20]] == [replica.admit(n, 10**9) for n in names[:20]]


def test_a_reserved_item_has_a_row_and_is_the_first_to_expire():
    items = ItemRows(100, admit_after=3)
    assert items.admit("seen once", 0) == -1
    for n in range(100):
        assert items.reserve(f"i{n}") == n
    assert items.reserve("one too many") == -1
    assert items.reserve("i3") == 3
    for n in range(99):
        items.admit(f"i{n}", HOUR_MS)
    assert items.expire().tolist() == [99], "the only one without an event"


def test_items_that_got_a_row_are_taken_once():
    items, replica = ItemRows(100), ItemRows(100)
    items.admit("a", 0)
    items.reserve("b")
    assert (items.take_assigned(), items.take_assigned()) == (["a", "b"], [])
    replica_of(items, replica)
    assert (replica.take_assigned(), replica.take_assigned()) == (["a", "b"], [])
    assert replica.row("b") == 1
    assert not items.changed
    items.admit("a", HOUR_MS)
    assert items.changed
