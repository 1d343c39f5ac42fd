"""What a dead letter keeps of its record: all of it, or as much as fits."""

import gzip

import pytest

from streams.event_messages import Event
from streams.messages import DeadLetter, encode
from streams.settings import Settings
from streams.step.dead_letters import CUT_BYTES, WHOLE_BYTES, fitted, own_headers
from streams.topics import topics
from tests.step.test_serve import NOW, POLICY, Record, step

LIMIT = 1_048_588
"""Kafka's own `max.message.bytes`, which a topic has that was not created by `freshet topics`."""


def letters(*records):
    written = step(records).dead_letters
    return [(key, value, headers, DeadLetter.from_headers(headers)) for key, value, headers in written]


def size(key, value, headers):
    return len(key or b"") + len(value or b"") + sum(len(n.encode()) + len(v or b"") + 16 for n, v in headers)


def test_a_record_up_to_a_megabyte_is_kept_as_it_is():
    value = b"x" * (WHOLE_BYTES - 100)
    ((key, kept, _, letter),) = letters(Record(b"ann", value, 1))
    assert (key, kept, letter.reason, letter.cut) == (b"ann", value, "too-large", "")
    assert letter.value_bytes == len(value)


@pytest.mark.parametrize(
    ("key", "value", "headers", "reason", "cut"),
    [
        (b"ann", b"x" * 13_000_000, (), "too-large", "value"),
        (b"ann", b'{"item": "' + b"x" * 14_000_000 + b'"}', (), "too-large", "value"),
        (b"k" * 13_000_000, b"{", (), "malformed-json", "key"),
        (b"k" * 13_000_000, b"x" * 13_000_000, (), "too-large", "key, value"),
        (b"ann", b"{", (("h", b"x" * 13_000_000),), "malformed-json", "headers"),
        (b"ann", b"{", (("a", b"1"), *(("h", None),) * 100_000), "malformed-json", "headers"),
        (None, None, (("é" * 1_000_000, b""),), "empty", "headers"),
    ],
)  # fmt: skip
def test_a_larger_one_is_cut_and_has_its_size_and_place(key, value, headers, reason, cut):
    ((kept_key, kept, kept_headers, letter),) = letters(Record(key, value, 7, headers=headers))
    assert size(kept_key, kept, kept_headers) < LIMIT
    assert (letter.reason, letter.cut, letter.topic, letter.offset) == (reason, cut, "events", 7)
    assert letter.value_bytes == len(value or b"")
    assert kept == (value and value[:CUT_BYTES])
    assert kept_key == (key and key[:CUT_BYTES])
    own = own_headers(kept_headers)
    assert own == list(headers[: len(own)])


def test_an_event_that_may_be_larger_is_kept_whole_where_it_is_allowed():
    (_, value, _), cut = fitted(b"ann", b"x" * 9_000_000, [], 10_000_000)
    assert (len(value), cut) == (9_000_000, "")
    largest = int(topics(Settings())["dead-letter"].config["max.message.bytes"])
    assert size(*fitted(b"a" * 256, b"x" * 9_999_000, [], 10_000_000)[0]) + 10_000 < largest


def test_a_large_event_is_not_decoded(monkeypatch):
    """JSON of 14 MB takes half a second of the loop that serves."""
    monkeypatch.setattr("streams.event_messages._decode_event", lambda value: pytest.fail("decoded"))
    value = encode(Event(event_id="1", user="ann", type="view", item="a" * 14_000_000, time=5))
    assert len(gzip.compress(value)) < 20_000, "any broker takes it"
    assert letters(Record(b"ann", value, 1))[0][3].reason == "too-large"


def test_the_headers_of_the_record_stay_and_ours_come_last():
    own = (("replay", b"%d" % NOW), ("reason", b"sale"), ("cut", b"value"), ("trace", None), ("replay", b"5"))
    ((_, _, headers, letter),) = letters(Record(b"ann", b"{", 1, headers=own))
    assert tuple(headers[: len(own)]) == own
    assert (letter.reason, letter.cut, letter.value_bytes) == ("malformed-json", "", 1)
    assert tuple(own_headers(headers)) == own
    assert POLICY.max_event_bytes < WHOLE_BYTES
