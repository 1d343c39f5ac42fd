"""How an event advances a user: sessions, duplicates, late events, bounds."""

import random
from itertools import pairwise

import pytest

from streams.event_messages import Event
from streams.step.policy import SessionLimits
from streams.step.users import User, Verdict, advance, decode_user, encode_user

MINUTE = 60_000
RULES = SessionLimits()


def event(n: int, time: int, item: str | None = "a", **more) -> Event:
    return Event(event_id=f"e{n}", user="u", type="view" if item else "request", item=item, time=time, **more)


def apply(events, rules=RULES, user=None):
    """Feed events at their own times, offsets counting up; the user and the verdicts."""
    user, verdicts = user or User(), []
    for n, e in enumerate(events):
        step = advance(user, e, e.time_ms, e.time_ms, user.offset + 1 if n else 0, e.item is not None, rules)
        user = step.user
        verdicts.append(step.verdict)
    return user, verdicts


def test_history_keeps_order_and_session_ends_by_inactivity():
    user, _ = apply(
        [event(1, 0, "a"), event(2, MINUTE, "b"), event(3, 40 * MINUTE, "c"), event(4, 41 * MINUTE, "d")]
    )
    assert user.items == ("a", "b", "c", "d")
    assert user.session_items() == ("c", "d")
    assert user.sessions == 2
    assert user.session_start == 40 * MINUTE


def test_a_gap_of_exactly_the_setting_does_not_end_a_session():
    assert apply([event(1, 0), event(2, RULES.session_gap_ms)])[0].sessions == 1
    assert apply([event(1, 0), event(2, RULES.session_gap_ms + 1)])[0].sessions == 2


def test_the_events_own_session_decides_when_it_says():
    events = [event(1, 0, "a", session="s1"), event(2, 90 * MINUTE, "b", session="s1")]
    user, _ = apply(events)
    assert user.session_items() == ("a", "b")
    assert user.sessions == 1
    user, _ = apply([*events, event(3, 90 * MINUTE + 1, "c", session="s2")])
    assert user.session_items() == ("c",)
    assert user.sessions == 2


def test_sessions_that_meet_in_one_millisecond_stay_apart():
    user, _ = apply([event(1, 5000, "a", session="s1"), event(2, 5000, "b", session="s2")])
    assert user.session_items() == ("b",)
    assert user.sessions == 2
    first, _ = apply([event(1, 5000, "a", session="s1")])
    assert advance(first, event(2, 5000, "b", session="s2"), 5000, 5000, 9, True, RULES).before_size == 0


def test_a_request_is_an_activity_without_an_item():
    user, verdicts = apply([event(1, 0, "a"), event(2, 20 * MINUTE, None), event(3, 40 * MINUTE, "b")])
    assert verdicts == [Verdict.ACCEPTED] * 3
    assert user.session_items() == ("a", "b")
    assert user.events == 3


def test_duplicates_count_for_nothing():
    once, _ = apply([event(1, 0), event(2, 5)])
    twice, verdicts = apply([event(1, 0), event(1, 0), event(2, 5), event(2, 5), event(1, 0)])
    assert verdicts.count(Verdict.DUPLICATE) == 3
    assert (twice.items, twice.events, twice.last) == (once.items, once.events, once.last)


def test_a_duplicate_is_forgotten_after_the_ring_is_full():
    rules = SessionLimits(dedupe_events=3)
    events = [event(n, n) for n in (1, 2, 3)]
    assert apply([*events, event(1, 9)], rules)[1][-1] is Verdict.DUPLICATE
    assert apply([*events, event(4, 8), event(1, 9)], rules)[1][-1] is Verdict.ACCEPTED
    assert len(apply([event(n, n) for n in range(20)], rules)[0].seen) == 3 * 8


def test_a_late_event_within_the_grace_period_is_ordered_in():
    user, verdicts = apply(
        [event(1, 10 * MINUTE, "a"), event(2, 12 * MINUTE, "c"), event(3, 11 * MINUTE, "b")]
    )
    assert verdicts[-1] is Verdict.ACCEPTED
    assert user.items == ("a", "b", "c")
    assert user.last == 12 * MINUTE
    step = advance(
        apply([event(1, 10 * MINUTE, "a"), event(2, 12 * MINUTE, "c")])[0],
        event(3, 11 * MINUTE, "b"), 11 * MINUTE, 11 * MINUTE, 9, True, RULES,
    )  # fmt: skip
    assert step.before == ("a",), "what came before it, not what came before it arrived"


def test_an_event_later_than_the_grace_period_is_history_and_nothing_else():
    day = 24 * 60 * MINUTE
    before, _ = apply([event(1, 2 * day, "a")])
    user, verdicts = apply([event(1, 2 * day, "a"), event(2, day, "old")])
    assert verdicts[-1] is Verdict.LATE
    assert user.items == ("old", "a")
    assert (user.last, user.sessions, user.session_start) == (
        before.last,
        before.sessions,
        before.session_start,
    )
    assert user.session_items() == ("a",)


@pytest.mark.parametrize("length", [1, 3, 50])
def test_history_is_bounded_and_ascending(length):
    rng = random.Random(length)
    rules = SessionLimits(history_length=length, grace_ms=10**9)
    events = [event(n, rng.randrange(10**8), str(n)) for n in range(300)]
    user, _ = apply(events, rules)
    assert len(user.items) == len(user.types) == len(user.times) == length
    assert all(a <= b for a, b in pairwise(user.times))


def test_what_the_user_did_before_is_what_the_example_gets():
    user, _ = apply([event(n, n, str(n)) for n in range(1, 41)])
    step = advance(user, event(41, 41, "x"), 41, 41, 99, True, RULES)
    assert step.before == tuple(str(n) for n in range(9, 41)), "the last 32, oldest first"
    assert step.before_size == 32
    later = 41 + RULES.session_gap_ms + 1
    step = advance(user, event(41, later, "x"), later, later, 99, True, RULES)
    assert len(step.before) == 32
    assert step.before_size == 0, "a new session"


def test_records_round_trip_and_old_ones_stay_readable():
    import msgspec

    user, _ = apply([event(1, 5, "a"), event(2, 6, "ü😀")])
    assert decode_user(encode_user(user)) == user
    older = msgspec.msgpack.encode([7, 3, ["a"], ["view"], [5]])  # before sessions and slates were kept
    assert decode_user(older) == User(offset=7, events=3, items=("a",), types=("view",), times=(5,))
    newer = msgspec.msgpack.encode([*msgspec.msgpack.decode(encode_user(user)), "a field of tomorrow"])
    assert decode_user(newer) == user
