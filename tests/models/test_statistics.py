"""Decayed counts of items, by hand."""

import numpy as np
import pytest

from models.statistics import HALF_LIVES_MS, ItemStatistics
from models.units import HOUR_MS
from tests.models.arrays import batch

START = 1_700_000_000_000


def test_counts_are_the_same_in_any_order():
    rng = np.random.default_rng(1)
    items, times = rng.integers(0, 9, 300), rng.integers(START, START + 100 * HOUR_MS, 300)
    order = rng.permutation(300)
    in_order, shuffled = ItemStatistics(9), ItemStatistics(9)
    in_order.learn(batch(items, times=times))
    shuffled.learn(batch(items[order], times=times[order]))
    assert shuffled.popularity == pytest.approx(in_order.popularity, abs=1e-4)
    ages = (in_order.last[0] - times[items == 0]) / np.array(HALF_LIVES_MS)[:, None]
    assert in_order.popularity[0] == pytest.approx(np.log((0.5**ages).sum(1)), abs=1e-4)
