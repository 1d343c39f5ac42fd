"""Intervals by resampling users: a user's predictions are not independent of one another.

Each of B resamples gives every user a Poisson(1) weight (Oza & Russell 2001, "Online bagging and boosting";
for many users the same as drawing with replacement), and the interval is the percentiles of the weighted
means (Efron 1979, "Bootstrap methods").  All columns share the weights, so that the difference of two is
paired.  Cost: B × users draws; memory: `CHUNK` × users.
"""

import numpy as np
from numpy.typing import NDArray

from models.evaluation.metrics import Values

RESAMPLES = 1000
CHUNK = 20


def resampled_means(
    users: NDArray[np.int64], values: Values, seed: int, resamples: int = RESAMPLES
) -> Values:
    """Means of the columns of `values`, float64[n, m], in each resample: float64[resamples, m]."""
    _, codes = np.unique(users, return_inverse=True)
    count = int(codes.max()) + 1 if len(codes) else 0
    sums = np.stack([np.bincount(codes, column, count) for column in values.T], axis=1)
    numbers = np.bincount(codes, minlength=count).astype(np.float64)
    rng = np.random.default_rng(seed)
    means = np.zeros((resamples, values.shape[1]))
    for start in range(0, resamples, CHUNK):
        weights = rng.poisson(1.0, (min(CHUNK, resamples - start), count)).astype(np.float64)
        total = np.maximum(weights @ numbers, 1e-9)
        means[start : start + CHUNK] = (weights @ sums) / total[:, None]
    return means


def interval(means: Values, level: float = 0.95) -> tuple[float, float]:
    """Lower and upper end of what the resamples' means span, but for the outermost 1 − level."""
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
