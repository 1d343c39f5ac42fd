"""How long the next fetch waits, and for how much: a short age for few fetches.  Pure.

A fetch costs client and broker as much as an event does, also an empty one.
"""

from math import exp
from typing import NamedTuple

FETCH_MIN_BYTES = 16 * 1024
"""A fetch returns when it has this many bytes, or after the long poll.  At 1 a broker that gets 1,000 events
a second answers 1,000 fetches a second with one event each, and is busy with nothing else."""
SPARSE = 0.5
"""Records that arrive during a long poll below which a fetch ends with the first one: most long polls would
bring nothing, and a record would wait for the end of its own."""
SPARSE_WAITS = 5
"""Long polls for which such a fetch waits.  No more, because a partition that is drained while a fetch is in
flight waits for it."""
QUIET_WAIT_MS = 50
"""After a tenth of a second without a record, a fetch returns with the first one or after this long: an idle
worker should cost little."""
MEMORY_S = 0.25
"""Time constant of the rate of arrivals."""


class Wait(NamedTuple):
    """What a fetch asks the broker for."""

    wait_ms: int
    min_bytes: int


class FetchWaits:
    """Decides from what the latest fetches returned; `wait_ms` is the long poll.

    >>> waits = FetchWaits(wait_ms=2)
    >>> waits.after(300, more=False, now=0.1)
    Wait(wait_ms=2, min_bytes=16384)
    >>> waits.after(0, more=False, now=0.2)
    Wait(wait_ms=50, min_bytes=1)
    """

    def __init__(self, wait_ms: int) -> None:
        self._wait_ms = wait_ms
        self._per_s, self._at = 0.0, 0.0

    def after(self, records: int, more: bool, now: float) -> Wait:
        """The next wait, after a fetch that returned so many records; `now` is monotonic, s.

        `more`: whether it left records.  A real broker returns all that fits.  The embedded one returns a
        batch of each partition: at once if that is enough, else after the full wait, so that what it left
        must not wait again.
        """
        self._per_s = self._per_s * exp((self._at - now) / MEMORY_S) + records / MEMORY_S
        self._at = now
        if not records:
            return Wait(max(QUIET_WAIT_MS, self._wait_ms), 1)
        if self._per_s * self._wait_ms / 1000 < SPARSE:
            return Wait(SPARSE_WAITS * self._wait_ms, 1)
        return Wait(self._wait_ms, 1 if more else FETCH_MIN_BYTES)
