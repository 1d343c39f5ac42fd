"""95 % intervals of what is kept as sums only, as on the stream; an evaluation resamples users instead.

They take predictions for independent, which those for one user are not: read them as too narrow rather than
too wide.
"""

from math import sqrt

Z = 1.96


def share(hits: float, count: float) -> tuple[float, float]:
    """Of a share (Wilson 1927, "Probable inference, the law of succession, and statistical inference").

    >>> [round(end, 3) for end in share(30, 100)], share(0, 0)
    ([0.219, 0.396], (0.0, 1.0))
    """
    if not count:
        return 0.0, 1.0
    p, z = hits / count, Z * Z / count
    middle, half = p + z / 2, Z * sqrt(p * (1 - p) / count + z / (4 * count))
    return (middle - half) / (1 + z), (middle + half) / (1 + z)


def mean(total: float, squares: float, count: float) -> tuple[float, float]:
    """Of a mean, from the sum and the sum of squares: ± 1.96 standard errors.

    >>> [round(end, 3) for end in mean(20, 30, 100)]
    [0.1, 0.3]
    """
    if not count:
        return 0.0, 0.0
    average = total / count
    half = Z * sqrt(max(squares / count - average**2, 0.0) / count)
    return average - half, average + half
