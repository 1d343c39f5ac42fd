"""Event time, made safe: the one clock that sessions, decay and half-lives use.

Devices report wrong times, and a few events stamped weeks ahead would make all other counts decay to nothing.
So an event's time is accepted only near its *arrival*: the broker's timestamp or, for a log that is replayed,
the arrival that the publisher put into the `replay` header.  (Kafka's retention would delete records stamped
years back, hence a replayed record carries the broker's time.)
"""

from collections.abc import Iterable

REPLAY_HEADER = "replay"


def arrival(timestamp: int, headers: Iterable[tuple[str, bytes]]) -> int:
    """Arrival time of an event in ms: from a usable `replay` header, else the broker's timestamp.

    A replayed event cannot arrive after it was replayed: a header later than the broker's time is cut to it.

    >>> arrival(1_700_000_000_000, [("replay", b"86400000")])
    86400000
    """
    for name, value in headers:
        if name == REPLAY_HEADER and value and value.isdigit() and len(value) <= 15:
            return min(int(value), timestamp)
    return timestamp


def is_replayed(timestamp: int, headers: Iterable[tuple[str, bytes]]) -> bool:
    """Whether a record is of a log that is replayed: its arrival is not the broker's timestamp.

    >>> is_replayed(1_700_000_000_000, [("replay", b"86400000")])
    True
    """
    return arrival(timestamp, headers) != timestamp


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
