"""Confidence intervals by resampling users, because the predictions for one user are not independent.

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
"""Resamples whose weights are in memory at a time."""


def resampled_means(
    users: NDArray[np.int64], values: Values, seed: int, resamples: int = RESAMPLES
) -> Values:
    """Mean of each column of `values`, float64[n, m], in each resample: float64[resamples, m].

    users: int64[n], the user of each row; a resample draws all rows of a user together.

    >>> users, hits = np.array([0, 0, 1, 1, 2, 2]), np.array([[1.0], [1.0], [0.0], [1.0], [0.0], [0.0]])
    >>> resampled_means(users, hits, seed=0, resamples=3).round(2).tolist()
    [[1.0], [0.64], [0.5]]
    """
    _, codes = np.unique(users, return_inverse=True)
    user_count = int(codes.max()) + 1 if len(codes) else 0
    user_sums = np.stack([np.bincount(codes, column, user_count) for column in values.T], axis=1)
    user_sizes = np.bincount(codes, minlength=user_count).astype(np.float64)
    rng = np.random.default_rng(seed)
    means = np.zeros((resamples, values.shape[1]))
    for start in range(0, resamples, CHUNK):
        weights = rng.poisson(1.0, (min(CHUNK, resamples - start), user_count)).astype(np.float64)
        totals = np.maximum(weights @ user_sizes, 1e-9)
        means[start : start + CHUNK] = (weights @ user_sums) / totals[:, None]
    return means


def percentile_interval(means: Values, level: float = 0.95) -> tuple[float, float]:
    """Lower and upper end of the interval that holds a share of `level` of the resampled means, float64[n].

    >>> percentile_interval(np.arange(101.0), level=0.5)
    (25.0, 75.0)
    """
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
