"""From the rows of a log to events: defaults, times, values, and the checks of a worker."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from streams.clients.log_errors import BadRow
from streams.clients.log_ids import NO_VALUE
from streams.clients.log_rows import Row
from streams.clients.log_times import Times
from streams.event_messages import Event
from streams.messages import Malformed, encode

DEFAULT_TYPE = "view"


def events(
    rows: Iterable[Row],
    run: str,
    times: Times,
    type_column: str,
    decode: Callable[[bytes], Event],
    on_bad: Callable[[BadRow], None],
) -> Iterator[Event]:
    """The event of each row; `on_bad` is called with a row that is not a valid event.

    run: an event without an id gets `<run>-<line>`.
    type_column: `=purchase` is the type of rows without one; otherwise that is `DEFAULT_TYPE`.
    decode: of a record's value, as a worker does; `Malformed` where it would refuse the event.
    """
    default_type = type_column[1:] if type_column.startswith("=") else DEFAULT_TYPE
    for line, (user, item, kind, event_id, session, recommendation_id), time, factors, context in rows:
        kind = kind or default_type
        try:
            if not user:
                raise ValueError("has no user")
            if not item and kind != "request":
                raise ValueError("has no item")
            event = Event(
                event_id=event_id or f"{run}-{line}",
                user=user,
                item=item,
                type=kind,
                time=times.ms(time),
                session=session,
                value=_value(factors) if factors else None,
                recommendation_id=recommendation_id,
                context=context,
            )
            event = decode(encode(event))
        except (ValueError, Malformed) as error:
            on_bad(BadRow(line, str(error)))
        else:
            yield event


def _value(factors: Sequence[Any]) -> float | None:
    """The product of the factors; None where one is absent."""
    if any(factor is None or isinstance(factor, bool) or factor in NO_VALUE for factor in factors):
        return None
    try:
        value = math.prod(float(factor) for factor in factors)
    except (ValueError, TypeError):
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"invalid value '{'*'.join(map(str, factors))}': expected a finite number")
    return value
