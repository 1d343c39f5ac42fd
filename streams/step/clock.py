"""Event time, made safe: the one clock that sessions, decay and half-lives use.

Devices report wrong times, and a few events stamped weeks ahead would make all other counts decay to nothing.
So an event's time is accepted only near its *arrival*: the broker's timestamp or, for a log that is replayed,
the arrival that the publisher put into the `replay` header.  (Kafka's retention would delete records stamped
years back, hence a replayed record carries the broker's time.)
"""

from collections.abc import Iterable

from models.units import DAY_MS

REPLAY_HEADER = "replay"
EARLIEST_MS = 10**11
"""March 1973, ms: no record is older, so that a smaller time is not one in ms."""
SECONDS = range(10**9, 10**10)
"""Times from 2001 to 2286 in seconds: read as ms they are of January to April 1970."""


def arrival(timestamp: int, headers: Iterable[tuple[str, bytes | None]], now: int) -> int:
    """Arrival time of an event in ms: from a usable `replay` header, else Kafka's time of the record.

    A replayed event cannot arrive after it was replayed: a header later than Kafka's time is cut to it.

    >>> arrival(1_700_000_000_000, [("replay", b"86400000")], now=1_700_000_000_500)
    86400000
    """
    stamped = kafka_time(timestamp, now)
    for name, value in headers:
        if name == REPLAY_HEADER and value and value.isdigit() and len(value) <= 15:
            return min(int(value), stamped)
    return stamped


def kafka_time(timestamp: int, now: int) -> int:
    """Kafka's time of a record, ms, made safe; `now`: wall time, ms.

    Where producers stamp their records (`CreateTime`), some do so in seconds, microseconds or nanoseconds,
    and some not at all (-1).  A time before `EARLIEST_MS` or more than a day after `now` is read in these
    units, and if that gives no likely time either, the record arrived now.

    >>> [kafka_time(time, now=1_700_000_000_500) for time in (1_700_000_000, 1_700_000_000_000_000, -1)]
    [1700000000000, 1700000000000, 1700000000500]
    """
    if EARLIEST_MS <= timestamp <= now + DAY_MS:
        return timestamp
    for time in (timestamp * 1000, timestamp // 1000, timestamp // 1_000_000):
        if EARLIEST_MS <= time <= now + DAY_MS:
            return time
    return now


def in_seconds(time: int, arrived: int) -> bool:
    """Whether an event's time is in seconds, not in ms: as ms it is of early 1970, long before the arrival.

    >>> in_seconds(1_700_000_000, arrived=1_700_000_000_500), in_seconds(1_700_000_000, arrived=1_700_000_500)
    (True, False)
    """
    return time in SECONDS and arrived >= EARLIEST_MS


def is_replayed(timestamp: int, headers: Iterable[tuple[str, bytes | None]], now: int) -> bool:
    """Whether a record is of a log that is replayed: its arrival is not Kafka's time of it.

    >>> is_replayed(1_700_000_000_000, [("replay", b"86400000")], now=1_700_000_000_500)
    True
    """
    return arrival(timestamp, headers, now) != kafka_time(timestamp, now)


def safe_time(time: int, arrived: int, max_ahead_ms: int, grace_ms: int) -> int:
    """Event time in ms, accepted from `grace_ms` before the arrival to `max_ahead_ms` after it.

    A later time is invalid, and the arrival is used instead; an earlier one is cut to the bound.

    >>> safe_time(2_000, arrived=1_000, max_ahead_ms=500, grace_ms=500)
    1000
    >>> safe_time(100, arrived=1_000, max_ahead_ms=500, grace_ms=500)
    500
    """
    if time > arrived + max_ahead_ms:
        return arrived
    return max(time, arrived - grace_ms)
