"""What if: another history is made as the stream would have made it, and the one that is stays."""

import random

import pytest

from streams.event_messages import Event
from streams.step.policy import SessionLimits
from streams.step.users import User, advance
from streams.step.whatif import STEP_MS, Counterfactual, changed, effective
from streams.web.problem import Problem
from streams.web.user_page import counterfactual

RULES = SessionLimits(session_gap_ms=60_000, history_length=10)
NOW = 1_700_000_000_000


def remembers(type: str) -> bool:
    return type != "impression"


def did(events: list[tuple[str, str]], user: User | None = None, start: int = NOW) -> User:
    """A user who really did these, a second apart."""
    user = user or User()
    for n, (type, item) in enumerate(events):
        time = start + n * STEP_MS
        event = Event(event_id=f"{start}-{n}", user="u", type=type, item=item, time=time)
        user = advance(user, event, time, time, user.offset + 1, remembers(type), RULES).user
    return user


def remembered(user: User) -> tuple:
    return user.items, user.types, user.times, user.session_size, user.sessions


def test_what_is_added_is_as_if_it_had_happened():
    rng = random.Random(4)
    for _ in range(200):
        events = [
            (rng.choice(["view", "cart", "impression"]), rng.choice("abcde"))
            for _ in range(rng.randrange(14))
        ]
        at = rng.randrange(len(events) + 1)
        real = did(events)
        before = did(events[:at])
        if before.last + STEP_MS != NOW + at * STEP_MS:
            continue  # nothing happened yet
        other = changed(before, Counterfactual(added=tuple(events[at:])), remembers, RULES)
        assert remembered(other) == remembered(real)


def test_what_is_dropped_or_retyped_is_as_if_it_had_been_so():
    user = did([("view", "a"), ("view", "b")])
    user = did([("view", "c"), ("cart", "d"), ("view", "e")], user, NOW + 10 * 60_000)
    assert user.session_items() == ("c", "d", "e")
    other = changed(user, Counterfactual(frozenset({2, 4})), remembers, RULES)
    assert other.items == ("a", "c", "e")
    assert other.session_items() == ("c", "e")
    other = changed(user, Counterfactual(retyped={1: "impression", 3: "cart"}), remembers, RULES)
    assert other.items == ("a", "b", "c", "d")
    assert other.types == ("view", "view", "cart", "cart")
    assert changed(user, Counterfactual(frozenset(range(1, 6))), remembers, RULES).items == ()
    assert changed(User(), Counterfactual(added=(("view", "x"),)), remembers, RULES).session_items() == ("x",)


def test_what_changes_nothing_is_no_change():
    user = did([("view", "a"), ("cart", "b")])
    changes = Counterfactual(frozenset({2, 3, 99}), {1: "cart", 2: "view", 7: "view"})
    assert effective(changes, user) == Counterfactual(frozenset({2}), {})
    assert not any(effective(Counterfactual(frozenset({9}), {1: "cart"}), user))


def test_a_form_without_script_is_understood():
    changes = counterfactual(
        [("id", "u"), ("add_type", "cart"), ("add_item", "x:y"), ("add_type", "view"), ("add_item", ""),
         ("as", "1:view"), ("drop", "3"), ("context", "device=tv, page = search")],
        "click",
    )  # fmt: skip
    assert changes == Counterfactual(
        frozenset({3}), {1: "view"}, (("cart", "x:y"),), {"device": "tv", "page": "search"}
    )
    assert counterfactual([("add", "plain")], "click").added == (("click", "plain"),)


@pytest.mark.parametrize(
    "query",
    [("drop", "-1"), ("drop", "x"), ("drop", "99999"), ("drop", "²"), ("as", "x:view"), ("add", ":x"),
     ("add", "view:"), ("add", "view:" + "x" * 257), ("add", "t" * 65 + ":x"), ("context", "device"),
     ("context", "=tv"), ("context", "a=" + "x" * 257)],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_is_refused(query):
    with pytest.raises(Problem) as refused:
        counterfactual([query], "view")
    assert refused.value.status == 400
    with pytest.raises(Problem):
        counterfactual([("add", "view:x")] * 51, "view")
