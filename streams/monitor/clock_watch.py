"""Say when this machine's clock is wrong."""

import logging

from streams.wall_clock import CLOCK, TOLERANCE_S, WallClock

log = logging.getLogger(__name__)


class ClockWatch:
    """Compares the clock at each call, and logs when it becomes wrong and right again."""

    def __init__(self, clock: WallClock = CLOCK) -> None:
        self._clock, self._wrong = clock, False

    def skew_s(self) -> float:
        """How far the clock is ahead, s; negative when it is behind."""
        return round(self._clock.skew_s, 1)

    def problems(self) -> list[str]:
        """What is wrong with the clock and what to do; empty while it is right."""
        skew = self.skew_s()
        wrong = abs(skew) > TOLERANCE_S
        lines = [self._problem(skew)] if wrong else []
        if wrong and not self._wrong:
            log.warning("%s", lines[0])
        elif self._wrong and not wrong:
            log.warning("the clock of this machine is right again")
        self._wrong = wrong
        return lines

    def _problem(self, skew: float) -> str:
        direction = "ahead of" if skew > 0 else "behind"
        if self._clock.measured:
            return (
                f"the clock of this machine is {abs(skew):.0f} s {direction} Kafka's: set it (NTP); until"
                " then times and ages are by Kafka's clock"
            )
        return (
            f"the clock of this machine was set, and is {abs(skew):.0f} s {direction} the time since this"
            " process started: set it right (NTP), or restart the process if it is right now"
        )
