"""Counts by context, Space-Saving's bound, decay."""

from collections import Counter

import numpy as np
import pytest

from models.core import Batch, QueryBatch
from models.retrieval.context import ContextPopularity
from tests.models import arrays


def batch(items: list[int], contexts: list[int], times: list[int] | None = None) -> Batch:
    made = arrays.batch(items, times=times)
    return arrays.in_contexts(made, contexts)


def listed(model: ContextPopularity, context: int, k: int = 5) -> dict[int, float]:
    asked = QueryBatch.of(np.full((1, 1), -1, np.int32))._replace(contexts=np.array([context], np.int32))
    found = model.propose(asked, k)
    return {r: s for r, s in zip(found.rows[0].tolist(), found.scores[0].tolist(), strict=True) if r >= 0}


def test_each_context_has_its_list_and_no_context_too():
    model = ContextPopularity(10)
    model.learn(batch([1, 1, 2, 3, 4], [7, 7, 7, 8, -1]))
    assert listed(model, 7) == {1: 2.0, 2: 1.0}
    assert list(listed(model, 7)) == [1, 2]
    assert listed(model, 8) == {3: 1.0}
    assert listed(model, -1) == {4: 1.0}
    assert listed(model, 9) == {}


def test_counts_halve_in_a_half_life_whatever_the_order():
    model = ContextPopularity(10, half_life_ms=1000)
    model.learn(batch([1, 2, 1], [0, 0, 0], [1000, 2000, 0]))
    assert listed(model, 0) == pytest.approx({2: 1.0, 1: 0.75})


def test_what_is_frequent_cannot_be_missed():
    """Space-Saving: of n events and m counters, all above n/m are there, too high by n/m at most."""
    rng = np.random.default_rng(8)
    items = (rng.zipf(1.3, 5000) % 3000).tolist()
    model, counters = ContextPopularity(3000, half_life_ms=1e18, counters=50), 50
    model.learn(batch(items, [0] * len(items)))
    found, true, bound = listed(model, 0, counters), Counter(items), len(items) / counters
    assert all(item in found for item, count in true.items() if count > bound)
    assert all(true[item] <= value <= true[item] + bound for item, value in found.items())
