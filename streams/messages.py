"""The record on each topic: its fields, and how bytes become a record or `Malformed`.

Everything is JSON in UTF-8, so that any language can publish and subscribe; `freshet schema NAME` prints the
JSON Schema generated from these classes.  Records only ever gain optional fields: a reader ignores fields
that it does not know and takes the default of missing ones, so that old and new producers and consumers run
side by side.

A record holds no cycle, so the garbage collector need not walk those that a step creates by the thousand
(`gc=False`).
"""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from models.core import Example
from streams.wall_clock import CLOCK

MAX_ID_BYTES = 256
MAX_TIME_MS = 253_402_300_799_999
"""The last millisecond of the year 9999."""


def now_ms() -> int:
    """Wall time as records carry it, ms since the epoch; only the outermost layers ask for it."""
    return CLOCK.now_ms()


Id = Annotated[str, Meta(min_length=1, max_length=MAX_ID_BYTES, description="at most 256 bytes of UTF-8")]
Name = Annotated[str, Meta(min_length=1, max_length=64)]
Milliseconds = Annotated[int, Meta(ge=0, le=MAX_TIME_MS, description="milliseconds since the epoch")]
Timestamp = Annotated[datetime, Meta(tz=True, description="RFC 3339 with an offset: 2026-01-31T12:00:00Z")]
Context = Annotated[
    dict[Name, Annotated[str, Meta(max_length=256)] | float],
    Meta(max_length=32, description="device, place, page ...: short strings or numbers"),
]


class Malformed(Exception):
    """A record that cannot be used: `reason` is one of `REASONS`, `detail` says what is wrong and where."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


REASONS = {
    "empty": "the record has no value",
    "too-large": "more bytes than max_event_bytes, or part of a compressed batch that is not read",
    "invalid-utf8": "bytes that are not UTF-8",
    "malformed-json": "not one JSON value; NaN and Infinity are not JSON",
    "missing-field": "a required field is missing",
    "wrong-type": "a field has another type, or the record is not an object",
    "out-of-range": "an id or string is too short or too long, or a number outside its range",
    "time-out-of-range": "a time before 1970 or after 9999, or not a time",
    "time-in-seconds": "a time in seconds since the epoch: expected milliseconds",
    "wrong-key": "the record's key is not the id of its user, or of its item in the catalog",
    "wrong-length": "a vector of another length than catalog_vectors says; the item is used without it",
    "unknown-type": "an event type not in event_weights, with accept_unknown_types off",
    "unknown-placement": "a request names a placement that is not in the setting placements",
    "unknown-filter": "a request filters by an attribute, or by tags, that are not in catalog_filters",
    "wrong-partition": "an alias whose key is not partitioned by murmur2: the other user is not found by it",
    "unprocessable": "a valid event that made the serving step fail; the detail is the error",
}


class Recommended(Struct, frozen=True, gc=False):
    """One item of a recommendation."""

    item: str
    score: float
    reason: Annotated[str, Meta(description="why it is shown, in words")]


class Recommendation(Struct, frozen=True, kw_only=True, gc=False):
    """On `recommendations`, key = user id, compacted: a user's latest one is the current one."""

    recommendation_id: Annotated[
        str, Meta(description="the same if an event is answered twice after a crash")
    ]
    user: str
    time: Annotated[int, Meta(description="time at which it was made, ms since the epoch")]
    event_id: Annotated[str, Meta(description="the event that caused it")]
    event_type: str
    offset: Annotated[
        int,
        Meta(
            description="offset of that event in its partition of `events`: of two recommendations for a"
            " user, the one with the higher offset is the newer; -1: an earlier version did not say it"
        ),
    ] = -1
    placement: Annotated[str, Meta(description="the list that this is; empty: the default one")] = ""
    items: Annotated[list[Recommended], Meta(description="best first")]
    short: Annotated[
        bool, Meta(description="whether it has fewer items than were asked for: nothing more is allowed")
    ] = False
    checkpoint: Annotated[
        int, Meta(description="checkpoint of the model that it came from; 0: nothing learnt yet")
    ]
    age_ms: Annotated[int, Meta(description="ms from the event's arrival in Kafka to this recommendation")]
    model_age_ms: Annotated[
        int | None, Meta(description="age of the checkpoint, ms; null: nothing learnt yet")
    ]
    schema: int = msgspec.field(default=1, name="version")


class DeadLetter(Struct, frozen=True, kw_only=True):
    """The last headers of a record on `dead-letter`; before them are those that the rejected record had."""

    reason: Annotated[str, Meta(description=", ".join(REASONS))]
    detail: str
    topic: str
    partition: int
    offset: int
    time: Annotated[int, Meta(description="Kafka's timestamp of the record, ms since the epoch")]
    value_bytes: Annotated[int | None, Meta(description="size of the rejected record's value")] = None
    cut: Annotated[str, Meta(description="which of key, value and headers were cut as too large")] = ""

    def headers(self) -> list[tuple[str, bytes]]:
        """Kafka headers, each value UTF-8 text; empty for what is not known."""
        values = [(name, getattr(self, name)) for name in self.__struct_fields__]
        return [(n, b"" if v is None else str(v).encode(errors="backslashreplace")) for n, v in values]

    @classmethod
    def from_headers(cls, headers: Sequence[tuple[str, bytes | None]]) -> "DeadLetter":
        """The dead letter of Kafka headers, the inverse of `headers`; of one name the last one counts.

        Unknown and empty headers are ignored.  `ValueError` if one is missing or is not what it should be.
        """
        known = {name: value for name, value in headers if name in cls.__struct_fields__}
        texts = {name: value.decode() for name, value in known.items() if value}
        return msgspec.convert({"detail": ""} | texts, cls, strict=False)


class Process(Struct, frozen=True, kw_only=True):
    """Identity and state of a process, in its row `now` on `metrics`."""

    kind: Annotated[str, Meta(description="serving or learning")]
    url: Annotated[str, Meta(description="address of its pages")]
    started: Annotated[int, Meta(description="start of the process, ms since the epoch")]
    ready: bool
    waiting_for: Annotated[list[str], Meta(description="why it is not ready, in words")] = []
    partitions: Annotated[list[int], Meta(description="partitions of events assigned to it")] = []
    problems: Annotated[list[str], Meta(description="what an operator has to set right, in words")] = []
    differences: Annotated[list[str], Meta(description="how model and settings differ, in words")] = []


class MetricsRow(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """On `metrics`, key = process/span/slot, or process/now: what a process counted in an interval."""

    time: Annotated[int, Meta(description="start of the interval, ms since the epoch")]
    until: Annotated[int, Meta(description="end of what is counted, ms since the epoch")]
    counts: Annotated[
        dict[str, int | float], Meta(description="count by name or name:label; counts of several rows add up")
    ] = {}
    gauges: Annotated[dict[str, int | float], Meta(description="latest value by name or name:label")] = {}
    process: Annotated[Process | None, Meta(description="present in a row `now`")] = None


class SettingChange(Struct, frozen=True, kw_only=True):
    """On `settings`, key = the setting's name, compacted: its value as changed while workers run."""

    setting: str
    value: Annotated[Any, Meta(description="the new value; null: as each process is configured")]
    old: Annotated[Any, Meta(description="the value before")]
    who: Annotated[str, Meta(description="who changed it, as they gave it", min_length=1, max_length=100)]
    time: Annotated[int, Meta(description="time of the change, ms since the epoch")]


encode = msgspec.json.Encoder().encode
decode_recommendation = msgspec.json.Decoder(Recommendation).decode
decode_example = msgspec.json.Decoder(Example).decode
decode_change = msgspec.json.Decoder(SettingChange).decode
decode_metrics = msgspec.json.Decoder(MetricsRow).decode


def malformed(error: msgspec.ValidationError) -> Malformed:
    """What is wrong with a record that is JSON, with the reason that msgspec's message stands for."""
    return Malformed(_invalid(str(error)), str(error))


_OUT_OF_RANGE = re.compile(r" of length |Expected `(int|float)` |out of range")
_TIME = re.compile(r"`\$\.(time|from|until)`")


def _invalid(message: str) -> str:
    if _TIME.search(message) and "Object missing" not in message:
        return "wrong-type" if message.startswith("Expected `int | datetime") else "time-out-of-range"
    if "missing required field" in message:
        return "missing-field"
    if _OUT_OF_RANGE.search(message):
        return "out-of-range"
    return "wrong-type"


def unreadable(value: bytes) -> str:
    """The reason why bytes are not JSON."""
    try:
        value.decode()
    except UnicodeDecodeError:
        return "invalid-utf8"
    return "malformed-json"
