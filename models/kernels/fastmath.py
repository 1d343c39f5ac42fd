"""Logarithm and exponential of float32 that a compiler can run along a whole vector.

The library's take 5 ns each and are called one by one; a ranking needs thousands.  Polynomials fitted by
Chebyshev interpolation; learner and replicas use the same.
"""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, inline="always")
def log(x):  # type: ignore[no-untyped-def]
    """Ln x of a positive, normal float32, to 1e-5.

    >>> bool(abs(log(np.float32(10.0)) - np.log(10.0)) < 1e-5)
    True
    """
    bits = np.float32(x).view(np.int32)
    exponent = np.float32((bits >> 23) - 127)
    m = np.int32((bits & 0x7FFFFF) | 0x3F800000).view(np.float32)
    p = np.float32(-0.0239795731)
    p = p * m + np.float32(0.221397913)
    p = p * m + np.float32(-0.856089612)
    p = p * m + np.float32(1.80497223)
    p = p * m + np.float32(-2.30674201)
    p = p * m + np.float32(2.16043288)
    return exponent * np.float32(0.6931471805599453) + p * (m - np.float32(1.0))


@njit(cache=True, nogil=True, inline="always")
def exp(x):  # type: ignore[no-untyped-def]
    """e^x of a float32 at most 88, to a relative 4e-6; 0 below -87.

    >>> bool(abs(exp(np.float32(-3.0)) / np.exp(-3.0) - 1) < 4e-6), float(exp(np.float32(-200.0)))
    (True, 0.0)
    """
    y = np.float32(max(x, np.float32(-88.0)) * np.float32(1.4426950408889634))
    whole = np.floor(y)
    m = np.float32(y - whole)
    p = np.float32(0.0136839829)
    p = p * m + np.float32(0.0517177355)
    p = p * m + np.float32(0.241621323)
    p = p * m + np.float32(0.692969551)
    p = p * m + np.float32(1.0000036)
    bits = np.int32((np.int32(whole) + np.int32(127)) << 23)
    return p * bits.view(np.float32) if x > np.float32(-87.0) else np.float32(0.0)
