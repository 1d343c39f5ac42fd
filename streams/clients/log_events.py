"""From the rows of a log to events: ids, times, values."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from streams.clients.log_errors import BadRow
from streams.clients.log_rows import Row
from streams.messages import MAX_TIME_MS, Event

DEFAULT_TYPE = "view"
MAYBE_SECONDS = 10**8, 10**11
"""A first time between these is in 1970 if it is in ms, and between 1973 and 5138 if it is in seconds."""
TIME_UNIT_MS = {"ms": 1, "s": 1000}


def events(
    rows: Iterable[Row], run: str, unit_ms: int, type_column: str, on_bad: Callable[[BadRow], None]
) -> Iterator[Event]:
    """The event of each row; `on_bad` is called with a row that is not a valid event.

    run: an event without an id gets `<run>-<line>`.
    unit_ms: unit of times that are numbers, ms.
    type_column: `=purchase` is the type of rows without one; otherwise that is `DEFAULT_TYPE`.
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
                item=item or None,
                type=kind,
                time=_time_ms(time, unit_ms),
                session=session or None,
                value=_value(factors) if factors else None,
                recommendation_id=recommendation_id or None,
                context=context,
            )
        except ValueError as error:
            on_bad(BadRow(line, str(error)))
        else:
            yield event


def _time_ms(text: Any, unit_ms: int) -> int:
    try:
        time = round(text * unit_ms) if isinstance(text, float) else int(text) * unit_ms
    except (ValueError, TypeError, OverflowError):
        time = _parsed_time_ms(text, unit_ms)
    if not 0 <= time <= MAX_TIME_MS:
        raise ValueError(f"time {text} is before 1970 or after 9999")
    return time


def _parsed_time_ms(text: Any, unit_ms: int) -> int:
    with suppress(ValueError, TypeError, OverflowError):
        return round(float(text) * unit_ms)
    with suppress(ValueError, TypeError):
        time = datetime.fromisoformat(text)
        return round((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000)
    raise ValueError(
        f"invalid time {text!r}: expected a number, or RFC 3339 such as 2026-01-31T12:00:00Z"
    ) from None


def _value(factors: Sequence[Any]) -> float | None:
    """The product of the factors; None where one is empty."""
    if "" in factors:
        return None
    try:
        value = math.prod(float(factor) for factor in factors)
    except (ValueError, TypeError):
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"invalid value '{'*'.join(map(str, factors))}': expected a finite number")
    return value
