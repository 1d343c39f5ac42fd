"""Recency and count by hand."""

import pytest

from models.retrieval.history import AGE_EXPONENT, History
from models.small_batches import query_batch


def test_the_most_and_most_recently_taken_come_first():
    queries = query_batch([[4, 2, 2, 7], [5, -1, -1, -1]])
    candidates = History(10).propose(queries, 3)
    weights = [(1 + age) ** -AGE_EXPONENT for age in range(4)]
    assert candidates.rows.tolist() == [[2, 4, 7], [5, -1, -1]]
    assert candidates.scores[0].tolist() == pytest.approx([weights[1] + weights[2], weights[0], weights[3]])
    assert candidates.sources.tolist() == [[1, 0, 3], [0, -1, -1]]


def test_queries_do_not_affect_each_other():
    model = History(10)
    queries = query_batch([[4, 2], [4, 3]])
    assert model.propose(queries, 2).scores.tolist() == model.propose(queries, 2).scores.tolist()
    assert set(model.propose(queries, 5).rows[1].tolist()) == {4, 3, -1}
