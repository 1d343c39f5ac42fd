"""What users hide and say of themselves, and users who do not want to be profiled."""

import json

import pytest

from streams.event_messages import Event, decode_event
from streams.messages import Malformed, encode
from streams.settings import Settings
from streams.step.policy import ServingPolicy
from streams.step.preferences import MOST_HIDDEN
from streams.step.serve import serve
from streams.step.users import User, decode_user
from tests.step.test_answers import Asked
from tests.step.test_serve import NOW, POLICY, Record


class Person:
    """A user whose events are served one after the other."""

    def __init__(self, policy=POLICY):
        self.stored, self.policy, self.offset, self.examples = {}, policy, -1, []

    def does(self, type, item=None, time=None, **fields):
        self.offset += 1
        when = NOW + self.offset if time is None else time
        event = Event(event_id=f"e{self.offset}", user="u", type=type, item=item, time=when, **fields)
        asked = Asked()
        writes = serve(
            [Record(b"u", encode(event), self.offset)], "events", lambda _, key: self.stored.get(key), asked,
            self.policy, lambda: NOW,
        )  # fmt: skip
        self.stored |= writes.users[3]
        self.examples += writes.outputs["examples"].get(3, [])
        return asked.queries[0] if asked.queries else None

    @property
    def record(self) -> User:
        return decode_user(self.stored[b"u"])


def test_what_is_hidden_stays_hidden_until_it_is_unhidden():
    ann = Person()
    ann.does("view", "tent")
    query = ann.does("hide", "tent")
    assert query.profile.hidden == ("tent",)
    assert ann.does("hide", brand="Fjell").profile.hidden_brands == ("Fjell",)
    ann.does("hide", "stove")
    assert ann.does("unhide", "tent").profile.hidden == ("stove",)
    ann.does("unhide", brand="Fjell")
    assert ann.record.hidden_brands == ()
    assert ann.record.items == ("tent",), "hiding is not history"
    assert len(ann.examples) == 1, "and teaches nothing"


def test_only_so_many_items_stay_hidden():
    ann = Person()
    for n in range(MOST_HIDDEN + 5):
        ann.does("hide", f"i{n}")
    assert ann.record.hidden == tuple(f"i{n}" for n in range(5, MOST_HIDDEN + 5))


def test_a_late_hide_acts():
    ann = Person()
    ann.does("view", "tent")
    assert ann.does("hide", "tent", time=NOW - 10**8) is None, "late events are not answered"
    assert ann.record.hidden == ("tent",)


def test_hiding_teaches_nothing_whatever_the_weights_say():
    weights = ServingPolicy.from_settings(
        Settings(event_weights={"view": 1.0, "hide": 3.0}, accept_unknown_types=False)
    )
    ann = Person(weights)
    ann.does("hide", "tent")
    ann.does("profile", attributes={"country": "NO"})
    assert ann.examples == []
    assert ann.record.items == ()
    assert ann.record.attributes == {"country": "NO"}


def test_attributes_add_up_and_an_empty_one_goes():
    ann = Person()
    ann.does("profile", attributes={"country": "NO", "age": 31})
    query = ann.does("profile", attributes={"country": "SE", "segment": "new"})
    assert query.profile.attributes == {"country": "SE", "age": 31, "segment": "new"}


def test_who_does_not_want_a_profile_has_none_from_then_on():
    ann = Person()
    ann.does("view", "tent", session="s")
    ann.does("profile", attributes={"country": "NO"})
    ann.does("hide", "spoon")
    query = ann.does("profile", profiling=False)
    assert (query.history, query.profile.attributes, query.profile.hidden) == ((), {}, ("spoon",))
    for type in ("view", "cart", "purchase"):
        assert ann.does(type, "stove").history == ()
    query = ann.does("profile", attributes={"country": "SE"})
    assert query.profile.attributes == {}
    record = ann.record
    assert (record.items, record.types, record.times, record.session, record.attributes) == (
        (),
        (),
        (),
        None,
        {},
    )
    assert (record.slate, record.slate_id) == ((), "")
    assert len(ann.examples) == 1, "nothing was learnt since"
    ann.does("profile", profiling=True)
    assert ann.does("view", "lamp").history == ("lamp",)
    assert len(ann.examples) == 2


def test_an_opt_out_is_not_lost_where_another_field_says_nothing():
    value = {"event_id": "1", "user": "u", "type": "profile", "time": NOW, "profiling": False, "item": False}
    assert decode_event(json.dumps(value).encode()).profiling is False


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"type": "hide"}, "missing-field: hide needs an item or a brand"),
        ({"type": "alias"}, "missing-field: alias: "),
        ({"type": "alias", "alias": "u"}, "out-of-range: alias: a user cannot"),
        ({"type": "profile", "profiling": "no"}, "wrong-type: "),
        ({"type": "profile", "attributes": {"a": ["b"]}}, "wrong-type: "),
    ],
)
def test_wrong_events_say_what_is_wrong(fields, reason):
    with pytest.raises(Malformed) as error:
        decode_event(json.dumps({"event_id": "1", "user": "u", "time": NOW} | fields).encode())
    assert str(error.value).startswith(reason)
