"""Recency and count by hand."""

import numpy as np
import pytest

from models.core import QueryBatch
from models.retrieval.history import FORGETTING, History


def test_the_most_and_most_recently_taken_come_first():
    asked = QueryBatch.of(np.array([[4, 2, 2, 7], [5, -1, -1, -1]], np.int32))
    found = History(10).propose(asked, 3)
    worth = [(1 + age) ** -FORGETTING for age in range(4)]
    assert found.rows.tolist() == [[2, 4, 7], [5, -1, -1]]
    assert found.scores[0].tolist() == pytest.approx([worth[1] + worth[2], worth[0], worth[3]])
    assert found.sources.tolist() == [[1, 0, 3], [0, -1, -1]]


def test_nobody_leaves_a_trace_for_the_next():
    model = History(10)
    asked = QueryBatch.of(np.array([[4, 2], [4, 3]], np.int32))
    assert model.propose(asked, 2).scores.tolist() == model.propose(asked, 2).scores.tolist()
    assert set(model.propose(asked, 5).rows[1].tolist()) == {4, 3, -1}
