"""The record on each topic: bytes in, record or `Malformed` out.

Everything is JSON in UTF-8, so that any language can publish and subscribe; `freshet schema NAME`
prints the JSON Schema made from these classes.  Records only ever gain optional fields: a reader
ignores what it does not know and takes the default of what is missing, so that old and new producers
and consumers run side by side.

A record holds no cycle, so the garbage collector need not walk those that a step makes by the thousand
(`gc=False`).
"""

import math
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from models.core import Example

MAX_ID_BYTES = 256
MAX_TIME_MS = 253_402_300_799_999
"""The last millisecond of the year 9999."""

Id = Annotated[str, Meta(min_length=1, max_length=MAX_ID_BYTES, description="at most 256 bytes of UTF-8")]
Name = Annotated[str, Meta(min_length=1, max_length=64)]
Milliseconds = Annotated[int, Meta(ge=0, le=MAX_TIME_MS, description="milliseconds since the epoch")]
Timestamp = Annotated[datetime, Meta(tz=True, description="RFC 3339 with an offset: 2026-01-31T12:00:00Z")]
Context = Annotated[
    dict[Name, Annotated[str, Meta(max_length=256)] | float],
    Meta(max_length=32, description="device, place, page ...: short strings or numbers"),
]


class Malformed(Exception):
    """A record that cannot be used: `reason` is one of `REASONS`, `detail` says what and where."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


REASONS = {
    "empty": "no bytes at all",
    "too-large": "more bytes than max_event_bytes",
    "invalid-utf8": "bytes that are no UTF-8",
    "malformed-json": "not one JSON value; NaN and Infinity are no JSON",
    "missing-field": "a required field is not there",
    "wrong-type": "a field of another type, or the record is no object",
    "out-of-range": "an id or string too short or too long, a number outside its range",
    "time-out-of-range": "a time before 1970, after 9999, or that is none",
    "wrong-key": "the record's key is not the user's id",
    "unknown-type": "an event type not in event_weights, with accept_unknown_types off",
}


class Event(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """On `events`, key = user id: something that a user did, or a `request` to recommend now."""

    event_id: Annotated[Id, Meta(description="says which event it is: sent again, it counts once")]
    user: Id
    type: Annotated[
        Name, Meta(description="click, view, purchase, impression, cart, favorite, rating, request ...")
    ]
    time: Milliseconds | Timestamp
    item: Id | None = None
    session: Annotated[
        Id | None, Meta(description="ends the session before it; without: inactivity does")
    ] = None
    value: Annotated[float | None, Meta(description="price × quantity, or the rating")] = None
    recommendation_id: Annotated[Id | None, Meta(description="the recommendation that it came from")] = None
    context: Context = {}
    schema: Annotated[int, Meta(ge=1, description="version of the record")] = msgspec.field(
        default=1, name="version"
    )

    @property
    def time_ms(self) -> int:
        """The event's own time in ms since the epoch, whichever way it was written."""
        return self.time if isinstance(self.time, int) else round(self.time.timestamp() * 1000)


class Recommended(Struct, frozen=True, gc=False):
    """One item of a recommendation."""

    item: str
    score: float
    reason: Annotated[str, Meta(description="why it is shown, in words")]


class Recommendation(Struct, frozen=True, kw_only=True, gc=False):
    """On `recommendations`, key = user id, compacted: the last one is the current one."""

    recommendation_id: Annotated[
        str, Meta(description="the same when an event is answered twice after a crash")
    ]
    user: str
    time: Annotated[int, Meta(description="when it was made, ms since the epoch")]
    event_id: Annotated[str, Meta(description="the event that caused it")]
    event_type: str
    items: Annotated[list[Recommended], Meta(description="best first")]
    checkpoint: Annotated[int, Meta(description="of the model that it came from; 0: nothing learnt yet")]
    age_ms: Annotated[int, Meta(description="from the event in Kafka to this recommendation")]
    model_age_ms: Annotated[int | None, Meta(description="age of the checkpoint; null: nothing learnt yet")]
    schema: int = msgspec.field(default=1, name="version")


class DeadLetter(Struct, frozen=True, kw_only=True):
    """The headers of a record on `dead-letter`; its key and value are the bytes as they came."""

    reason: Annotated[str, Meta(description=", ".join(REASONS))]
    detail: str
    topic: str
    partition: int
    offset: int
    time: Annotated[int, Meta(description="Kafka's timestamp of the record, ms since the epoch")]

    def headers(self) -> list[tuple[str, bytes]]:
        """As Kafka headers, each value UTF-8 text."""
        return [(name, str(getattr(self, name)).encode()) for name in self.__struct_fields__]

    @classmethod
    def from_headers(cls, headers: list[tuple[str, bytes]]) -> "DeadLetter":
        """The inverse of `headers`; unknown headers are ignored."""
        return msgspec.convert({name: value.decode() for name, value in headers}, cls, strict=False)


class Process(Struct, frozen=True, kw_only=True):
    """What a process is, in its row `now` on `metrics`."""

    kind: Annotated[str, Meta(description="serving or learning")]
    url: Annotated[str, Meta(description="of its pages")]
    started: Annotated[int, Meta(description="ms since the epoch")]
    ready: bool
    waiting_for: Annotated[list[str], Meta(description="why it is not ready, in words")] = []
    partitions: Annotated[list[int], Meta(description="of events, that it has")] = []


class MetricsRow(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """On `metrics`, key = process/span/slot, or process/now: what a process counted in a stretch of time."""

    time: Annotated[int, Meta(description="start of the stretch, ms since the epoch")]
    until: Annotated[int, Meta(description="what is counted came before, ms since the epoch")]
    counts: Annotated[
        dict[str, int | float], Meta(description="name or name:label ▶ count; they add up")
    ] = {}
    gauges: Annotated[dict[str, int | float], Meta(description="name or name:label ▶ last value")] = {}
    process: Annotated[Process | None, Meta(description="in a row `now`")] = None


class SettingChange(Struct, frozen=True, kw_only=True):
    """On `settings`, key = the setting's name, compacted: what it was changed to while workers run."""

    setting: str
    value: Annotated[Any, Meta(description="null: as each worker is configured")]
    old: Annotated[Any, Meta(description="what it was before")]
    who: Annotated[str, Meta(description="as they said", min_length=1, max_length=100)]
    time: Annotated[int, Meta(description="ms since the epoch")]


RECORDS: dict[str, Any] = {
    "events": Event,
    "recommendations": Recommendation,
    "examples": Example,
    "dead-letter": DeadLetter,
    "metrics": MetricsRow,
    "settings": SettingChange,
}

encode = msgspec.json.Encoder().encode
decode_recommendation = msgspec.json.Decoder(Recommendation).decode
decode_example = msgspec.json.Decoder(Example).decode
decode_change = msgspec.json.Decoder(SettingChange).decode
decode_metrics = msgspec.json.Decoder(MetricsRow).decode
_decode_event = msgspec.json.Decoder(Event).decode


def decode_event(value: bytes | None, max_bytes: int = 65_536) -> Event:
    """An event from the bytes of a record; `Malformed` with its reason where they are none.

    >>> decode_event(b'{"event_id":"1","user":"u","type":"click","item":"i","time":5}').time_ms
    5
    >>> decode_event(b'{"event_id":"1","user":"u","type":"click","time":5}')
    Traceback (most recent call last):
    ...
    streams.messages.Malformed: missing-field: only a request has no item
    """
    if not value:
        raise Malformed("empty", "the record has no value")
    if len(value) > max_bytes:
        raise Malformed("too-large", f"{len(value)} bytes, at most {max_bytes}")
    try:
        event = _decode_event(value)
    except msgspec.ValidationError as error:
        raise Malformed(_invalid(str(error)), str(error)) from None
    except UnicodeDecodeError as error:
        raise Malformed("invalid-utf8", str(error)) from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise Malformed(_unreadable(value), str(error)) from None
    if event.item is None and event.type != "request":
        raise Malformed("missing-field", "only a request has no item")
    if event.value is not None and not math.isfinite(event.value):
        raise Malformed("out-of-range", "value is not finite")
    if not isinstance(event.time, int) and event.time < _EPOCH:
        raise Malformed("time-out-of-range", f"time is before 1970 - at `$.time`: {event.time}")
    if not value.isascii() or b"\\u" in value:  # else characters are bytes, and the decoder counted them
        _check_bytes(event)
    return event


def _check_bytes(event: Event) -> None:
    for text in (event.event_id, event.user, event.item, event.session, event.recommendation_id):
        if text is not None and len(text.encode()) > MAX_ID_BYTES:
            raise Malformed("out-of-range", f"an id of more than {MAX_ID_BYTES} bytes")


_EPOCH = datetime.fromtimestamp(0, UTC)


def _invalid(message: str) -> str:
    """The reason behind a message of msgspec's."""
    if "`$.time`" in message and "Object missing" not in message:
        return "wrong-type" if message.startswith("Expected `int | datetime`") else "time-out-of-range"
    if "missing required field" in message:
        return "missing-field"
    if " of length " in message or "Expected `int` " in message or "out of range" in message:
        return "out-of-range"
    return "wrong-type"


def _unreadable(value: bytes) -> str:
    try:
        value.decode()
    except UnicodeDecodeError:
        return "invalid-utf8"
    return "malformed-json"


def schema(name: str) -> dict[str, Any]:
    """The JSON Schema (2020-12) of the record on a topic.  `KeyError` for a topic that has none."""
    made = msgspec.json.schema(RECORDS[name])
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": name, **made}
