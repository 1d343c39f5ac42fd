"""SplitMix64's finaliser: random bits from a counter or a key.

Steele, Lea and Flood 2014, "Fast Splittable Pseudorandom Number Generators".
"""

from typing import Any

import numpy as np
from numba.extending import register_jitable

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""2^64 over the golden ratio: increment of SplitMix64's counter, factor of multiplicative hashing."""
GOLDEN_32 = np.uint32(GOLDEN >> np.uint64(32))
"""2^32 over the golden ratio."""


@register_jitable
def mixed(z: Any) -> Any:
    """Hash of uint64, a number or an array: any change of `z` flips half of the bits."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
