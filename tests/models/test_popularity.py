"""Decayed counts by hand."""

import numpy as np
import pytest

from models.core import Queries
from models.retrieval.popularity import Popularity
from tests.models.arrays import batch


def test_values_halve_in_a_half_life():
    model = Popularity(10, half_life_ms=1000)
    model.learn(batch([0, 0, 1], times=[0, 1000, 2000]))
    assert model.values(np.array([0, 1])).tolist() == pytest.approx([0.75, 1.0])
    assert model.events[:2].tolist() == [2, 1]
    assert model.top(5)[0].tolist() == [1, 0]


def test_order_of_events_does_not_matter():
    rng = np.random.default_rng(0)
    items, times = rng.integers(0, 5, 200).tolist(), rng.integers(0, 10**6, 200).tolist()
    one, other = Popularity(10, 10**5), Popularity(10, 10**5)
    one.learn(batch(items, times=times))
    other.learn(batch(items[::-1], times=times[::-1]))
    rows = np.arange(5)
    assert other.values(rows) == pytest.approx(one.values(rows), rel=1e-9)


def test_the_list_follows_the_time():
    model = Popularity(10, half_life_ms=1000)
    model.learn(batch([0] * 100, times=[0] * 100))
    assert model.top(1)[0].tolist() == [0]
    model.learn(batch([1], times=[10_000]))  # ten half-lives later one event outweighs a hundred
    assert model.top(1)[0].tolist() == [1]


def test_weights_count():
    model = Popularity(10)
    model.learn(batch([0, 1], times=[5, 5], weights=[1.0, 3.0]))
    assert model.top(2)[0].tolist() == [1, 0]


def test_fewer_items_than_asked_for_and_ties_to_the_lower_row():
    model = Popularity(1000)
    model.learn(batch([7, 3, 5], times=[1, 1, 1]))
    assert model.top(50)[0].tolist() == [3, 5, 7]
    found = model.propose(Queries.of(np.full((2, 1), -1, np.int32)), 5)
    assert found.rows.tolist() == [[3, 5, 7, -1, -1]] * 2
