"""Counts by context, Space-Saving's bound, decay."""

from collections import Counter

import numpy as np
import pytest

from models.core import Batch
from models.retrieval.context import ContextPopularity
from models.small_batches import query_batch
from tests.models import arrays


def batch(items: list[int], contexts: list[int], times: list[int] | None = None) -> Batch:
    return arrays.in_contexts(arrays.batch(items, times=times), contexts)


def listed(model: ContextPopularity, context: int, k: int = 5) -> dict[int, float]:
    query = query_batch(np.full((1, 1), -1, np.int32))
    return arrays.scores_by_row(model.propose(query._replace(contexts=np.array([context], np.int32)), k))


def test_each_context_has_its_list_and_so_has_no_context():
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


def test_frequent_items_are_never_missed():
    """Space-Saving: of n events and m counters, all counts above n/m are listed, too high by n/m at most."""
    rng = np.random.default_rng(8)
    items = (rng.zipf(1.3, 5000) % 3000).tolist()
    model, counters = ContextPopularity(3000, half_life_ms=1e18, counters=50), 50
    model.learn(batch(items, [0] * len(items)))
    counts, true, bound = listed(model, 0, counters), Counter(items), len(items) / counters
    assert all(item in counts for item, count in true.items() if count > bound)
    assert all(true[item] <= value <= true[item] + bound for item, value in counts.items())
