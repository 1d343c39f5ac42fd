"""Fast logarithm and exponential against numpy's."""

import numpy as np

from models.kernels.fastmath import exp, log


def test_fast_logarithm_and_exponential():
    x = np.geomspace(1e-30, 1e30, 5000).astype(np.float32)
    assert max(abs(log(v) - np.log(v)) for v in x) < 1e-4
    y = np.linspace(-86, 80, 5000).astype(np.float32)
    assert max(abs(exp(v) / np.exp(np.float64(v)) - 1) for v in y) < 1e-5
