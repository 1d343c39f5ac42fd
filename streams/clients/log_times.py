"""Times of a log: numbers in some unit, or RFC 3339 and what is close to it."""

import re
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from streams.messages import MAX_TIME_MS

UNITS: dict[str, float] = {"s": 1000, "ms": 1, "us": 1e-3, "ns": 1e-6}
"""Milliseconds of each unit."""
RANGES = {
    "s": range(10**8, 10**11),
    "ms": range(10**11, 10**14),
    "us": range(10**14, 10**17),
    "ns": range(10**17, 10**20),
}
"""Numbers that are likely to be times in each unit: from 1973 to 5138.  Smaller ones, such as positions, say
nothing about their unit."""


def likely_unit(number: float) -> str | None:
    """The unit in which a number is a time between 1973 and 5138; None if there is none.

    >>> likely_unit(1769860800), likely_unit(1769860800000000), likely_unit(17)
    ('s', 'us', None)
    """
    return next((unit for unit, usual in RANGES.items() if usual.start <= number < usual.stop), None)


LEAP = 1000
"""A number that is so many times as large as those before it is of a time, and they were not."""


class Times:
    """Reads the times of one log.

    Without a `unit`, the first number that is likely to be of one tells it, `remark` is called with it, and a
    later number that is likely to be of another is refused.  Until then, as for positions, numbers are ms; in
    a log that counts from its own beginning, and so gets to such a number without a leap, all are.

    >>> times = Times(None, print)
    >>> [times.ms(number) for number in (4_275, 99_999_000, 100_002_000)]
    [4275, 99999000, 100002000]
    """

    def __init__(self, unit: str | None, remark: Callable[[str], None]) -> None:
        self._unit, self._remark = unit, remark
        self._unit_ms = UNITS[unit or "ms"]
        self._first: str | None = None
        """Likely unit of the first number that has one."""
        self._usual = range(0)
        """Numbers that are of that unit without a question."""
        self._smaller = 0.0
        """The largest number so far that says nothing about its unit."""

    def ms(self, value: Any) -> int:
        """A time in ms since the epoch.  `ValueError` if it is not one."""
        number = _number(value)
        if number is None:
            time = _parsed_ms(value)
        else:
            self._check_unit(number, value)
            time = round(number * self._unit_ms)
        if not 0 <= time <= MAX_TIME_MS:
            raise ValueError(f"time {value} is before 1970 or after 9999")
        return time

    def _check_unit(self, number: float, value: Any) -> None:
        if self._usual.start <= number < self._usual.stop:
            return  # as nearly all
        likely = likely_unit(number)
        if likely is None:
            self._smaller = max(self._smaller, number)
            return
        if self._first is not None:
            if self._unit is None:
                raise ValueError(f"time {value} is in {likely}, and those before it are in {self._first}")
            return
        if self._unit is None and number < LEAP * self._smaller:
            self._first, self._usual = "ms", range(MAX_TIME_MS)
            return
        self._first, self._usual = likely, RANGES[likely]
        if self._unit is None:
            self._unit_ms = UNITS[likely]
            first = datetime.fromtimestamp(number * self._unit_ms / 1000, UTC)
            self._remark(f"times are read as {likely}: {value} is {first:%Y-%m-%d %H:%M:%S} UTC")
        elif likely != self._unit:
            self._remark(f"times look like {likely}, not {self._unit}: {value}; is --time-unit right?")


def is_time(text: str) -> bool:
    """Whether a text is a time, and so not the name of a column.

    >>> [is_time(text) for text in ("1769860800", "2026-01-31T12:00:00Z", "timestamp")]
    [True, True, False]
    """
    try:
        return _number(text) is not None or _parsed_ms(text) >= 0
    except ValueError:
        return False


def _number(value: Any) -> float | None:
    """The number that a value is; whole ones stay exact.  None if it is not a finite number."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            pass  # not a whole number
    try:
        number = float(value)
    except (ValueError, TypeError, OverflowError):
        return None
    if isinstance(value, int):
        return value
    return number if abs(number) < float("inf") else None


def _parsed_ms(value: Any) -> int:
    with suppress(ValueError, TypeError):
        try:
            time = datetime.fromisoformat(value)
        except ValueError:
            time = datetime.fromisoformat(_ZONE.sub(_offset, value.strip()))
        return round((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000)
    raise ValueError(
        f"invalid time {value!r}: expected a number, or RFC 3339 such as 2026-01-31T12:00:00Z"
    ) from None


_ZONE = re.compile(r" (UTC|GMT|Z|[+-]\d\d:?\d\d)$")
"""Zone after a blank, as BigQuery, Ruby and Go write it."""


def _offset(match: re.Match[str]) -> str:
    return match[1] if match[1][0] in "+-" else "+00:00"
