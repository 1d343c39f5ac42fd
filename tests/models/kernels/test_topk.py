"""Against a full sort: ties, zeros, fewer than asked for."""

import numpy as np
import pytest

from models.kernels.topk import select


@pytest.mark.parametrize("k", [1, 2, 7, 60, 200, 500])
@pytest.mark.parametrize("count", [0, 1, 2, 5, 61, 300])
@pytest.mark.parametrize("levels", [1, 3, 10**9])
def test_the_best_come_first_and_ties_go_to_the_lower_row(k, count, levels):
    rng = np.random.default_rng([k, count, levels])
    values = (rng.integers(-levels // 4, levels, 1000) / levels).astype(np.float32)
    among = rng.choice(1000, count, replace=False).astype(np.int32)
    rows, scores = np.full(k, -7, np.int32), np.full(k, -7, np.float32)
    n_best = select(values, among, count, rows, scores)
    expected = sorted((row for row in among.tolist() if values[row] > 0), key=lambda row: (-values[row], row))
    assert rows[:n_best].tolist() == expected[:k]
    assert (scores[:n_best] == values[rows[:n_best]]).all()
    assert (rows[n_best:] == -7).all()


def test_sorted_and_reversed_input_is_no_worst_case_that_fails():
    for values in (np.arange(1, 2001, dtype=np.float32), np.arange(2000, 0, -1).astype(np.float32)):
        rows, scores = np.zeros(50, np.int32), np.zeros(50, np.float32)
        assert select(values, np.arange(2000, dtype=np.int32), 2000, rows, scores) == 50
        assert (np.diff(scores) == -1).all()
