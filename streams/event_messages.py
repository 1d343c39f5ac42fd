"""Records of the topic `events`: what users do and ask for, and how bytes become one or `Malformed`."""

import math
from datetime import UTC, datetime
from typing import Annotated

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import fields, replace

from streams.absent_fields import without_absent
from streams.messages import (
    MAX_ID_BYTES,
    Context,
    Id,
    Malformed,
    Milliseconds,
    Name,
    Timestamp,
    malformed,
    unreadable,
)


class Event(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """On `events`, key = user id: something that a user did, or a `request` to recommend now."""

    event_id: Annotated[Id, Meta(description="identifies the event: published again, it counts once")]
    user: Id
    type: Annotated[
        Name, Meta(description="click, view, purchase, impression, cart, favorite, rating, request ...")
    ]
    time: Milliseconds | Timestamp
    item: Id | None = None
    session: Annotated[
        Id | None, Meta(description="a new id ends the session before it; without ids inactivity does")
    ] = None
    value: Annotated[float | None, Meta(description="price × quantity, or the rating")] = None
    recommendation_id: Annotated[
        Id | None, Meta(description="the recommendation that the event came from")
    ] = None
    context: Context = {}
    schema: Annotated[int, Meta(ge=1, description="version of the record")] = msgspec.field(
        default=1, name="version"
    )

    @property
    def time_ms(self) -> int:
        """Time that the event carries, in ms since the epoch, whichever way it was written."""
        return self.time if isinstance(self.time, int) else round(self.time.timestamp() * 1000)


_decode_event = msgspec.json.Decoder(Event).decode
_EPOCH = datetime.fromtimestamp(0, UTC)


def decode_event(value: bytes | None, max_bytes: int = 65_536) -> Event:
    """The event of a record's value; `Malformed` with the reason if it is not a valid event.

    Optional fields and entries of the context that are null, true, false or "" are as good as absent.

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
        event = _decode_without_absent(value, error)
    except UnicodeDecodeError as error:
        raise Malformed("invalid-utf8", str(error)) from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise Malformed(unreadable(value), str(error)) from None
    if event.item is None and event.type != "request":
        raise Malformed("missing-field", "only a request has no item")
    if event.value is not None and not math.isfinite(event.value):
        raise Malformed("out-of-range", "value is not finite")
    if not isinstance(event.time, int) and event.time < _EPOCH:
        raise Malformed("time-out-of-range", f"time is before 1970 - at `$.time`: {event.time}")
    if not value.isascii() or b"\\u" in value:  # else characters are bytes, and the decoder counted them
        _check_bytes(event)
    if "" in event.context.values():
        event = replace(event, context={name: v for name, v in event.context.items() if v != ""})
    return event


_OPTIONAL = frozenset(field.encode_name for field in fields(Event) if not field.required)


def _decode_without_absent(value: bytes, error: msgspec.ValidationError) -> Event:
    """The event of a value that failed with `error`, without fields that are as good as absent."""
    try:
        received = msgspec.json.decode(value)
        if (event := without_absent(received, _OPTIONAL)) != received:
            return msgspec.convert(event, Event)
    except msgspec.ValidationError as remaining:
        error = remaining
    except (ValueError, RecursionError):
        pass  # it is malformed behind the place of the error, too
    raise malformed(error) from None


def _check_bytes(event: Event) -> None:
    for text in (event.event_id, event.user, event.item, event.session, event.recommendation_id):
        if text is not None and len(text.encode()) > MAX_ID_BYTES:
            raise Malformed("out-of-range", f"an id of more than {MAX_ID_BYTES} bytes")
