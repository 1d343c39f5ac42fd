"""Decayed counts by hand."""

import threading

import numpy as np
import pytest

from models.retrieval.popularity import Popularity
from models.small_batches import query_batch
from tests.models.arrays import batch


def test_another_half_life_ranks_again():
    model = Popularity(10, half_life_ms=1e9)
    model.learn(batch([1, 1, 2], times=[0, 0, 10_000]))
    assert model.top(2)[0].tolist() == [1, 2]
    model.half_life_ms = 1000.0
    assert model.top(2)[0].tolist() == [2, 1]


def test_values_halve_in_a_half_life():
    model = Popularity(10, half_life_ms=1000)
    model.learn(batch([0, 0, 1], times=[0, 1000, 2000]))
    assert model.values(np.array([0, 1])).tolist() == pytest.approx([0.75, 1.0])
    assert model.events[:2].tolist() == [2, 1]
    assert model.top(5)[0].tolist() == [1, 0]


def test_order_of_events_does_not_matter():
    rng = np.random.default_rng(0)
    items, times = rng.integers(0, 5, 200).tolist(), rng.integers(0, 10**6, 200).tolist()
    forth, back = Popularity(10, 10**5), Popularity(10, 10**5)
    forth.learn(batch(items, times=times))
    back.learn(batch(items[::-1], times=times[::-1]))
    rows = np.arange(5)
    assert back.values(rows) == pytest.approx(forth.values(rows), rel=1e-9)


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


def test_fewer_items_than_k_and_ties_to_the_lower_row():
    model = Popularity(1000)
    model.learn(batch([7, 3, 5], times=[1, 1, 1]))
    assert model.top(50)[0].tolist() == [3, 5, 7]
    candidates = model.propose(query_batch(np.full((2, 1), -1, np.int32)), 5)
    assert candidates.rows.tolist() == [[3, 5, 7, -1, -1]] * 2


def test_ranking_the_changed_items_gives_the_order_of_ranking_all():
    rng = np.random.default_rng(3)
    queried, unqueried = Popularity(2000, 10**5), Popularity(2000, 10**5)
    for step in range(100):
        items = (rng.pareto(0.5, 50) * 10).astype(int) % 2000
        times = (1000 * step + rng.integers(0, 1000, 50)).tolist()
        for model in (queried, unqueried):
            model.learn(batch(items.tolist(), times=times))
            if step % 30 == 29:
                model.evict(items[:3].astype(np.int32))
        queried.top(64)
    assert queried.top(64)[0].tolist() == unqueried.top(64)[0].tolist()
    assert queried.top(64)[1].tolist() == unqueried.top(64)[1].tolist()
    assert len(queried.top(64)[0]) == 64


def between(model: Popularity, happen) -> None:
    """Rank in this thread, and let `happen` come from another one after the counts were read."""
    read, other = model.values, threading.Thread(target=happen)

    def values(rows):
        counts = read(rows)
        if not other.ident:
            other.start()
            other.join(0.2)  # it ends, or waits for this ranking
        return counts

    model.values = values
    try:
        model.top(3)
    finally:
        model.values = read
        other.join()


@pytest.mark.parametrize("ranked", [False, True], ids=["all", "changed"])
def test_an_event_that_comes_while_another_thread_ranks_is_not_lost(ranked):
    model = Popularity(10)
    model.learn(batch([0, 0, 1], times=[5, 5, 5]))
    if ranked:
        model.top(3)
        model.learn(batch([1], times=[5]))
    between(model, lambda: model.learn(batch([2] * 9, times=[5] * 9)))
    assert model.top(1)[0].tolist() == [2]


def test_an_item_that_leaves_while_another_thread_ranks_is_gone():
    model = Popularity(10)
    model.learn(batch([0, 0, 1], times=[5, 5, 5]))
    between(model, lambda: model.evict(np.array([0], np.int32)))
    assert model.top(3)[0].tolist() == [1]


def test_a_half_life_that_changes_while_another_thread_ranks_counts():
    def change() -> None:
        model.half_life_ms = 1000.0

    model = Popularity(10, half_life_ms=1e9)
    model.learn(batch([1, 1, 2], times=[0, 0, 10_000]))
    between(model, change)
    assert model.top(2)[0].tolist() == [2, 1]
