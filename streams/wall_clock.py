"""Wall time that stays right while this machine's clock is wrong.

Every record and every age carries wall time, and clocks are set: back by an hour, ahead by a day.  So the
wall clock is compared with the monotonic one, which nobody sets, and with Kafka's: each record that Kafka
stamped (`LogAppendTime`) and that was read at once tells what time it is there.  Within `TOLERANCE_S` the
wall clock is believed; outside it the time is Kafka's, or that of the clock before it was set.
"""

import time
from collections.abc import Callable

TOLERANCE_S = 5.0
"""Difference from which on the wall clock counts as wrong.  A record may take a second to be read."""
MEASURED_S = 30.0
"""Time for which a measurement of Kafka's clock is kept, where later ones are worse."""
INTERRUPTED_S = 0.1
"""Time between two readings of a clock from which on they do not belong together: the process stood still."""


class WallClock:
    """Wall time of this process; may be asked from several threads.

    >>> wall, monotonic = [1000.0], [50.0]
    >>> clock = WallClock(lambda: wall[0], lambda: monotonic[0])
    >>> monotonic[0] += 1
    >>> wall[0] += 1 - 3600    # set back by an hour
    >>> clock.now_ms(), clock.skew_s
    (1001000, -3600.0)
    >>> clock.kafka_stamped(901_000)    # both were wrong
    >>> clock.now_ms(), clock.skew_s
    (901000, -3500.0)
    """

    def __init__(
        self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.measured = False
        """Whether Kafka's clock is known."""
        self._wall, self._monotonic = wall, monotonic
        self._reference = wall() - monotonic()
        """The right time less the monotonic one, s."""
        self._measured_at = 0.0

    def now_ms(self) -> int:
        """The time, ms since the epoch."""
        wall, skew = self._compared()
        return int((wall if abs(skew) <= TOLERANCE_S else wall - skew) * 1000)

    @property
    def skew_s(self) -> float:
        """How far this machine's clock is ahead of the right time, s; negative when it is behind."""
        return self._compared()[1]

    def kafka_stamped(self, stamp_ms: int) -> None:
        """Learn that Kafka stamped a record with this time, which has just been read.

        Reading can only be late: so the highest of the recent measurements is the best one.
        """
        now = self._monotonic()
        reference = stamp_ms / 1000 - now
        if not self.measured or reference >= self._reference or now - self._measured_at > MEASURED_S:
            self._reference, self._measured_at, self.measured = reference, now, True

    def _compared(self) -> tuple[float, float]:
        """The wall time, and how far it is ahead of the right time, s."""
        before = self._monotonic()
        wall = self._wall()
        monotonic = self._monotonic()
        skew = wall - monotonic - self._reference
        if not self.measured and abs(skew) <= TOLERANCE_S and monotonic - before < INTERRUPTED_S:
            self._reference += skew  # clocks drift apart slowly; only a jump says that one was set
        return wall, skew


CLOCK = WallClock()
"""The clock of this process."""
