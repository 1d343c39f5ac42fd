"""One clock decides: event time, made safe.

Phones lie about the time, and a few events stamped weeks ahead would make every other count decay
to nothing.  So an event is believed only near its *arrival*: the broker's timestamp, or, for a log
that is replayed, the arrival that the publisher put into the `replay` header (Kafka's retention would
delete records stamped years back, hence records keep the broker's time).
"""

from collections.abc import Iterable

REPLAY_HEADER = "replay"


def arrival(timestamp: int, headers: Iterable[tuple[str, bytes]]) -> int:
    """When the event arrived, ms: from the `replay` header if it has a usable one, else the broker's.

    A log that is replayed arrived before it was: a header later than the broker's time is cut to that.

    >>> arrival(1_700_000_000_000, [("replay", b"86400000")])
    86400000
    """
    for name, value in headers:
        if name == REPLAY_HEADER and value and value.isdigit() and len(value) <= 15:
            return min(int(value), timestamp)
    return timestamp


def safe_time(time: int, arrived: int, max_ahead_ms: int, grace_ms: int) -> int:
    """Event time in ms, believed between `grace_ms` behind its arrival and `max_ahead_ms` ahead.

    Further ahead it is no time at all, and the arrival stands in; further behind it is cut.

    >>> safe_time(2_000, arrived=1_000, max_ahead_ms=500, grace_ms=500)
    1000
    >>> safe_time(100, arrived=1_000, max_ahead_ms=500, grace_ms=500)
    500
    """
    if time > arrived + max_ahead_ms:
        return arrived
    return max(time, arrived - grace_ms)
