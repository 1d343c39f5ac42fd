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

ShopName = Annotated[str, Meta(min_length=1, max_length=300)]
Names = Annotated[list[ShopName], Meta(min_length=1, max_length=100)]
Values = Annotated[list[ShopName | float], Meta(min_length=1, max_length=100)]


class PastEvent(Struct, frozen=True, array_like=True, gc=False):
    """An event of a history that moves to another user."""

    item: Id
    type: Name
    time: Milliseconds


class Range(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Numbers that a request allows, both ends included."""

    from_: float | None = msgspec.field(default=None, name="from")
    to: float | None = None


class Where(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Conditions on the catalog's fields, all of which the items of a list meet."""

    category: Annotated[
        ShopName | Names | None, Meta(description="a path; items of the categories below it are meant, too")
    ] = None
    brand: ShopName | Names | None = None
    author: ShopName | Names | None = None
    group: ShopName | Names | None = None
    currency: ShopName | Names | None = None
    price: float | Range | None = None
    tags: ShopName | Names | None = None
    attributes: Annotated[
        dict[Name, ShopName | float | Values | Range],
        Meta(max_length=32, description="a condition by attribute: a value, values of which one, or a range"),
    ] = {}


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
    placement: Annotated[
        Name | None, Meta(description="of a request: the list that is asked for; without one the default")
    ] = None
    items: Annotated[
        tuple[Id, ...], Meta(max_length=32, description="of a request: items to start from, latest last")
    ] = ()
    k: Annotated[
        Annotated[int, Meta(ge=1, le=200)] | None, Meta(description="of a request: items in the list")
    ] = None
    where: Annotated[Where | None, Meta(description="of a request: which items may be listed")] = None
    exclude: Annotated[
        tuple[Id, ...], Meta(max_length=200, description="of a request: items that may not be listed")
    ] = ()
    brand: Annotated[
        ShopName | None,
        Meta(description="of `hide` and `unhide`: a brand, instead of an item"),
    ] = None
    attributes: Annotated[Context, Meta(description="of a profile: country, language, age band ...")] = {}
    profiling: Annotated[
        bool | None, Meta(description="of a profile: false ends everything personal, true begins it again")
    ] = None
    alias: Annotated[Id | None, Meta(description="of an alias: the user who this one turned out to be")] = (
        None
    )
    moved: Annotated[
        tuple[PastEvent, ...], Meta(max_length=1000, description="of a `merge`: events to be put in place")
    ] = ()
    hidden: Annotated[tuple[Id, ...], Meta(max_length=1000, description="of a `merge`: hidden items")] = ()
    schema: Annotated[int, Meta(ge=1, description="version of the record")] = msgspec.field(
        default=1, name="version"
    )

    @property
    def time_ms(self) -> int:
        """Time that the event carries, in ms since the epoch, whichever way it was written."""
        return self.time if isinstance(self.time, int) else round(self.time.timestamp() * 1000)


ITEMLESS = frozenset({"request", "profile", "merge"})
"""Types of events that need no item; `alias`, `hide` and `unhide` need something instead of one."""
CONTROL = frozenset({"request", "hide", "unhide", "profile", "alias", "merge"})
"""Types of events that say what a user wants or is, and so teach nothing, whatever their weight."""
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
    streams.messages.Malformed: missing-field: item: only request, profile, alias and merge have none
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
    if event.item is None:
        _check_itemless(event)
    if event.value is not None and not math.isfinite(event.value):
        raise Malformed("out-of-range", "value is not finite")
    if not isinstance(event.time, int) and event.time < _EPOCH:
        raise Malformed("time-out-of-range", f"time is before 1970 - at `$.time`: {event.time}")
    if not value.isascii() or b"\\u" in value:  # else characters are bytes, and the decoder counted them
        _check_bytes(event)
    if "" in event.context.values():
        event = replace(event, context={name: v for name, v in event.context.items() if v != ""})
    return event


_OPTIONAL = frozenset(field.encode_name for field in fields(Event) if not field.required) - {"profiling"}


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


def _check_itemless(event: Event) -> None:
    """Raise `Malformed` if an event without an item needs one, or the field that its type is about."""
    if event.type in ("hide", "unhide"):
        if event.brand is None:
            raise Malformed("missing-field", f"{event.type} needs an item or a brand")
    elif event.type == "alias":
        if event.alias is None:
            raise Malformed("missing-field", "alias: an event of this type says who the user is")
        if event.alias == event.user:
            raise Malformed("out-of-range", "alias: a user cannot be an alias of themself")
    elif event.type not in ITEMLESS:
        raise Malformed("missing-field", "item: only request, profile, alias and merge have none")


def _check_bytes(event: Event) -> None:
    ids = (event.event_id, event.user, event.item, event.session, event.recommendation_id, event.alias)
    for text in (*ids, *event.items, *event.exclude, *event.hidden, *(past.item for past in event.moved)):
        if text is not None and len(text.encode()) > MAX_ID_BYTES:
            raise Malformed("out-of-range", f"an id of more than {MAX_ID_BYTES} bytes")
