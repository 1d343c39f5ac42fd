"""Exponential decay by event time, free of the clock's origin.

A decayed count is a pair (value, as of a time); adding an event older than that time adds less, so the
order of events does not matter, and nothing grows with time, as forward decay does.
"""

import math

from numba import njit

HOUR_MS = 3_600_000.0
DAY_MS = 24 * HOUR_MS


@njit(cache=True, nogil=True)
def decayed(value: float, elapsed_ms: float, half_life_ms: float) -> float:
    """`value` after so much time: value × 2^(−elapsed / half-life)."""
    return value * math.exp(-0.6931471805599453 * elapsed_ms / half_life_ms)
