"""Records are decoded or refused as `Malformed` with the right reason, and match their JSON Schemas."""

import contextlib
import json

import jsonschema
import pytest

from models.core import Example, Shown
from streams import messages
from streams.catalog_messages import CatalogItem
from streams.event_messages import Event, decode_event
from streams.messages import (
    DeadLetter,
    Malformed,
    MetricsRow,
    Process,
    Recommendation,
    Recommended,
    SettingChange,
    encode,
)
from streams.schemas import RECORDS, schema

GOOD = {"event_id": "1", "user": "u", "type": "click", "item": "i", "time": 1_700_000_000_000}


def body(**changes) -> bytes:
    return json.dumps({k: v for k, v in (GOOD | changes).items() if v is not ...}).encode()


@pytest.mark.parametrize(
    "value",
    [
        body(),
        body(time="2026-01-31T12:00:00Z"),
        body(time="2026-01-31T12:00:00.250+02:00"),
        body(type="request", item=...),
        body(type="a type nobody knows"),
        body(session="s", value=-3.5, recommendation_id="0-5", context={"device": "phone", "place": 7}),
        body(user="😀" * 64),
        body(time=0),
    ],
)
def test_good_events(value):
    event = decode_event(value)
    assert decode_event(encode(event)) == event
    jsonschema.validate(json.loads(value), schema("events"))


def test_a_time_in_ms_and_in_rfc_3339_are_the_same():
    assert decode_event(body(time="2023-11-14T22:13:20Z")).time_ms == decode_event(body()).time_ms


BAD = [
    (b"", "empty"),
    (None, "empty"),
    (b"x" * 70_000, "too-large"),
    (b'{"event_id":"\xff\xfe"}', "invalid-utf8"),
    (b"\xff\xfe\x00", "invalid-utf8"),
    (b'{"event_id": ', "malformed-json"),
    (b'{"event_id":"1","user":"u","type":"click","item":"i","time":5,"value":NaN}', "malformed-json"),
    (b'{"event_id":"1","user":"u","type":"click","item":"i","time":5,"value":Infinity}', "malformed-json"),
    (b'{"x":' + b"[" * 30_000, "malformed-json"),
    (b"[1, 2]", "wrong-type"),
    (b"null", "wrong-type"),
    (body(item=5), "wrong-type"),
    (body(value="much"), "wrong-type"),
    (body(context={"a": [1]}), "wrong-type"),
    (body(time=1.5), "wrong-type"),
    (body(time=None), "wrong-type"),
    (body(user=...), "missing-field"),
    (body(time=...), "missing-field"),
    (body(item=...), "missing-field"),
    (body(item=None), "missing-field"),
    (body(user="u" * 257), "out-of-range"),
    (body(user="é" * 129), "out-of-range"),
    (body(event_id=""), "out-of-range"),
    (b'{"event_id":"1","user":"u","type":"click","item":"i","time":5,"value":1e999}', "out-of-range"),
    (body(context={str(n): n for n in range(33)}), "out-of-range"),
    (body(time=-1), "time-out-of-range"),
    (body(time=10**15), "time-out-of-range"),
    (body(time="yesterday"), "time-out-of-range"),
    (body(time="2026-01-31T12:00:00"), "time-out-of-range"),
    (body(time="1960-01-01T00:00:00Z"), "time-out-of-range"),
]


@pytest.mark.parametrize(("value", "reason"), BAD)
def test_invalid_events_have_their_reason(value, reason):
    with pytest.raises(Malformed) as bad:
        decode_event(value)
    assert bad.value.reason == reason, bad.value.detail
    assert reason in messages.REASONS
    assert bad.value.detail


def test_a_field_of_a_wrong_type_raises_only_malformed():
    for name in (*GOOD, "session", "value", "recommendation_id", "context", "version"):
        for wrong in (True, [], [1], {"a": {}}, {}, -1.5, "", "x" * 300):
            with contextlib.suppress(Malformed):
                decode_event(body(**{name: wrong}))


STREAM_VALUES = """\
{"event_id":"1","user":"ann","type":"view","item":"tent","time":1796000000000,"context":null}
{"event_id":"2","user":"ann","type":"view","item":"tent","time":1796000000000,"context":{"campaign":null}}
{"event_id":"3","user":"ann","type":"view","item":"tent","time":1796000000000,"context":{"logged_in":true}}
{"event_id":"4","user":"ann","type":"view","item":"tent","time":1796000000000,"session":""}
{"event_id":"5","user":"ann","type":"view","item":"tent","time":1796000000000,"recommendation_id":""}
""".splitlines()
"""Events as producers write them who have no value for a field."""


@pytest.mark.parametrize("line", STREAM_VALUES)
def test_optional_fields_without_a_value_are_absent(line):
    plain = {"event_id": line[13], "user": "ann", "type": "view", "item": "tent", "time": 1796000000000}
    assert decode_event(line.encode()) == decode_event(json.dumps(plain).encode())


def test_an_id_may_be_an_escape_sequence():
    line = (
        rb'{"event_id":"7","user":"ann","type":"view","item":"\u001b[2J\u001b[31mred","time":1796000000000}'
    )
    assert decode_event(line).item == "\x1b[2J\x1b[31mred"


@pytest.mark.parametrize("nothing", [None, True, False, ""])
def test_what_stands_for_no_value_is_absent_in_every_optional_field(nothing):
    for name in ("session", "value", "recommendation_id", "context", "version"):
        assert decode_event(body(**{name: nothing})) == decode_event(body()), name
    context = {"a": nothing, "b": 0, "c": "x"}
    event = decode_event(body(session=nothing, value=nothing, context=context, time="2026-01-31T12:00:00Z"))
    assert event.context == {"b": 0, "c": "x"}
    assert event.time_ms == 1_769_860_800_000
    assert decode_event(body(type="request", item=nothing)).item is None
    assert decode_event(body(value=0)).value == 0
    assert decode_event(body(value=1, context={"one": 1})).context == {"one": 1}
    for name in GOOD:
        with pytest.raises(Malformed):
            decode_event(body(**{name: nothing}))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (body(context=None, item=5), "wrong-type"),
        (body(context={"a": None, "b": []}), "wrong-type"),
        (body(session="", time="soon"), "time-out-of-range"),
        (body(session="", user=...), "missing-field"),
        (body(session="", user="u" * 257), "out-of-range"),
        (body(session="")[:-1] + b',"value":NaN}', "out-of-range"),
        (body(session="")[:-1] + b',"x":"\xff"}', "out-of-range"),
        (body(session="")[:-1] + b',"x":' + b"[" * 30_000, "out-of-range"),
    ],
)
def test_an_event_with_absent_fields_is_refused_for_what_remains(value, reason):
    with pytest.raises(Malformed) as bad:
        decode_event(value)
    assert bad.value.reason == reason, bad.value.detail


def test_old_and_new_versions_are_read_side_by_side():
    old = {k: GOOD[k] for k in ("event_id", "user", "type", "item", "time")}
    new = GOOD | {"version": 2, "mood": {"of": ["the", "user"]}}
    assert decode_event(json.dumps(old).encode()) == decode_event(body(version=1))
    assert decode_event(json.dumps(new).encode()).schema == 2


@pytest.mark.parametrize("name", RECORDS)
def test_records_match_their_schema(name):
    shown = Shown("0-5", 3)
    records = {
        "events": Event(event_id="1", user="u", type="click", item="i", time=5, context={"a": 1, "b": "c"}),
        "catalog": CatalogItem(
            item="i", title="Tent", categories=["Outdoor/Tents"], price=249.0, since=5, tags=["green"],
            attributes={"persons": 2, "colour": "green"}, vectors={"image": [0.5, -0.5]},
        ),
        "recommendations": Recommendation(
            recommendation_id="0-1", user="u", time=5, event_id="1", event_type="click",
            items=[Recommended("a", 0.5, "often after b")], checkpoint=3, age_ms=4, model_age_ms=None,
        ),
        "examples": Example("u", 7, 5, "click", "i", 1.0, None, ("a", "b"), 1, 3, shown, {"device": "phone"}),
        "dead-letter": DeadLetter(reason="empty", detail="d", topic="events", partition=1, offset=2, time=3),
        "metrics": MetricsRow(
            time=10, until=20, counts={"accepted": 3, "dead_letter:empty": 1}, gauges={"users": 2.5},
            process=Process(kind="serving", url="http://127.0.0.1:6066", started=5, ready=True),
        ),
        "settings": SettingChange(setting="list_length", value=5, old=20, who="ann", time=3),
    }  # fmt: skip
    jsonschema.validate(json.loads(encode(records[name])), schema(name))


def test_dead_letters_travel_in_headers():
    letter = DeadLetter(reason="empty", detail="dé", topic="events", partition=1, offset=2, time=3)
    assert DeadLetter.from_headers([*letter.headers(), ("other", b"x")]) == letter


def test_of_several_headers_with_one_name_the_last_is_the_dead_letters():
    letter = DeadLetter(
        reason="empty", detail="", topic="events", partition=1, offset=2, time=-1, value_bytes=0
    )
    own = [("reason", b"sale"), ("cut", b"value"), ("value_bytes", b"many"), ("trace", None), ("x", b"\xff")]
    assert DeadLetter.from_headers([*own, *letter.headers()]) == letter
    older = [(name, value) for name, value in letter.headers() if name not in ("cut", "value_bytes")]
    assert DeadLetter.from_headers(older).value_bytes is None
    for missing in ("reason", "topic", "partition", "offset", "time"):
        with pytest.raises(ValueError, match=missing):
            DeadLetter.from_headers([(n, None if n == missing else v) for n, v in letter.headers()])


def test_examples_round_trip():
    example = Example(
        "u", 7, 5, "click", "i", 2.0, 3.5, ("a", "b"), 1, 3, Shown("0-5", 3), {"device": "phone"},
        ("view", "cart"), (3, 4), 4,
    )  # fmt: skip
    assert messages.decode_example(encode(example)) == example
    older = json.loads(encode(example))
    for name in ("types", "times", "asked"):
        del older[name]
    read = messages.decode_example(json.dumps(older).encode())
    assert (read.types, read.times, read.asked) == ((), (), None)
    with pytest.raises(ValueError, match="missing required field `user`"):
        messages.decode_example(b"{}")
