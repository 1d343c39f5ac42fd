"""Exponential decay by event time, independent of the clock's origin.

A decayed count is a pair (value, time of the latest event).  An event older than that time adds less, so the
order of events does not matter, and nothing grows with time as it does under forward decay.
"""

import math

from models.kernels.jit import kernel

LN2 = math.log(2.0)


@kernel
def decayed(value: float, elapsed_ms: float, half_life_ms: float) -> float:
    """`value` after `elapsed_ms`: value × 2^(−elapsed_ms / half_life_ms).

    >>> decayed(8.0, 2000.0, 1000.0)
    2.0
    """
    return value * math.exp(-LN2 * elapsed_ms / half_life_ms)
