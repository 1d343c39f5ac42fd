"""Logarithm and exponential of float32 that a compiler can vectorise.

Those of the C library take 5 ns each and are called one by one; a ranking needs thousands.  The polynomials
were fitted by Chebyshev interpolation; learner and replicas use the same ones.
"""

import numpy as np

from models.kernels.jit import kernel


@kernel(inline="always")
def log(x: np.float32) -> np.float32:
    """Natural logarithm of a positive, normal float32, to 1e-5.

    >>> round(float(log(np.float32(10.0))), 4)
    2.3026
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


@kernel(inline="always")
def exp(x: np.float32) -> np.float32:
    """Exponential of a float32 of at most 88, to a relative 4e-6; 0 below -87.

    >>> round(float(exp(np.float32(-3.0))), 5), float(exp(np.float32(-200.0)))
    (0.04979, 0.0)
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
