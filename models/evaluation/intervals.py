"""95 % confidence intervals from sums alone, as the stream has them; an evaluation resamples users instead.

They take predictions for independent, which those for one user are not, so that they are rather too narrow
than too wide.
"""

from math import sqrt

Z = 1.96
"""The standard normal quantile of a two-sided 95 % interval."""


def wilson_interval(hits: float, count: float) -> tuple[float, float]:
    """The Wilson score interval of the share hits / count; 0 to 1 where the count is 0.

    Wilson 1927, "Probable inference, the law of succession, and statistical inference".

    >>> [round(end, 3) for end in wilson_interval(30, 100)], wilson_interval(0, 0)
    ([0.219, 0.396], (0.0, 1.0))
    """
    if not count:
        return 0.0, 1.0
    p, z = hits / count, Z * Z / count
    middle, half = p + z / 2, Z * sqrt(p * (1 - p) / count + z / (4 * count))
    return (middle - half) / (1 + z), (middle + half) / (1 + z)


def mean_interval(total: float, squares: float, count: float) -> tuple[float, float]:
    """A mean ± 1.96 standard errors, from the sum of the values and the sum of their squares.

    >>> [round(end, 3) for end in mean_interval(20, 30, 100)]
    [0.1, 0.3]
    """
    if not count:
        return 0.0, 0.0
    mean = total / count
    half = Z * sqrt(max(squares / count - mean**2, 0.0) / count)
    return mean - half, mean + half
