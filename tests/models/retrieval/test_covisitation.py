"""Hand-computed neighbours, order of events, the cap."""

import numpy as np
import pytest

from models.core import SESSION, Batch
from models.retrieval.covisitation import CoVisitation
from models.small_batches import query_batch
from models.units import DAY_MS
from tests.models import arrays


def batch(*clicks: tuple[int, list[int], int]) -> Batch:
    """Examples from (item, session newest first, time) of each."""
    sessions = np.full((len(clicks), SESSION), -1, np.int32)
    for n, (_, session, _) in enumerate(clicks):
        sessions[n, : len(session)] = session
    return arrays.batch([c[0] for c in clicks], sessions, times=[c[2] for c in clicks])


def neighbours(model: CoVisitation, row: int) -> dict[int, float]:
    record = model.state.dump(np.array([row], np.int32))[0]
    size = record["size"]
    return dict(zip(record["neighbours"][:size].tolist(), record["weights"][:size].tolist(), strict=True))


def proposed(model: CoVisitation, session: list[int], k: int = 5) -> dict[int, float]:
    return arrays.scores_by_row(model.propose(query_batch([session]), k))


def test_weights_are_one_over_the_distance_in_the_direction():
    clicks = batch((1, [0], 0), (2, [1, 0], 0))  # a session of items 0, 1, 2
    after, before = CoVisitation(10, "next"), CoVisitation(10, "previous")
    after.learn(clicks)
    before.learn(clicks)
    assert neighbours(after, 0) == {1: 1.0, 2: 0.5}
    assert neighbours(after, 1) == {2: 1.0}
    assert neighbours(after, 2) == {}
    assert neighbours(before, 2) == {1: 1.0, 0: 0.5}
    assert neighbours(before, 1) == {0: 1.0}


def test_scores_by_hand():
    model = CoVisitation(10)
    model.learn(batch((1, [0], 0), (2, [1, 0], 0)))
    assert proposed(model, [0]) == pytest.approx({1: 1 / 1.5**0.5, 2: 0.5 / 1.5**0.5})
    both = proposed(model, [1, 0])  # 1 is the latest: weight 1; 0 before it: weight 0.6
    assert both == pytest.approx({2: 1 / 1**0.5 + 0.6 * 0.5 / 1.5**0.5, 1: 0.6 / 1.5**0.5})


def test_counts_halve_in_a_half_life_and_order_does_not_matter():
    half_life = int(28 * DAY_MS)
    clicks = [(1, [0], 0), (1, [0], half_life), (2, [0], half_life // 2)]
    in_order, reversed_ = CoVisitation(10), CoVisitation(10)
    in_order.learn(batch(*clicks))
    reversed_.learn(batch(*clicks[::-1]))
    assert neighbours(in_order, 0) == pytest.approx({1: 1.5, 2: 0.5**0.5})
    assert neighbours(reversed_, 0) == pytest.approx(neighbours(in_order, 0))


def test_an_item_may_be_its_own_neighbour():
    model = CoVisitation(10)
    model.learn(batch((0, [1, 0], 0), (2, [0], 0)))
    assert neighbours(model, 0) == {0: 0.5, 2: 1.0}


def test_a_full_row_replaces_its_weakest():
    model = CoVisitation(100, neighbours=3)
    model.learn(batch(*[(item, [0], 0) for item in (1, 1, 2, 2, 2, 3, 4)]))
    assert neighbours(model, 0) == {1: 2.0, 2: 3.0, 4: 1.0}


def test_a_planted_markov_chain_is_found():
    """item → 3·item + 1 mod 50 with noise: the true successor comes first, and far above chance."""
    rng = np.random.default_rng(3)
    model, clicks = CoVisitation(50), []
    for _ in range(400):
        at, session = int(rng.integers(50)), []
        for _ in range(5):
            session.insert(0, at)
            at = (3 * at + 1) % 50 if rng.random() < 0.7 else int(rng.integers(50))
            clicks.append((at, session[:SESSION].copy(), 0))
    model.learn(batch(*clicks))
    first = [next(iter(proposed(model, [item]))) for item in range(50)]
    assert np.mean([successor == (3 * item + 1) % 50 for item, successor in enumerate(first)]) > 0.9


def test_without_structure_it_stays_near_chance():
    rng = np.random.default_rng(4)
    model = CoVisitation(50)
    model.learn(batch(*[(int(rng.integers(50)), [int(rng.integers(50))], 0) for _ in range(3000)]))
    hits = [int(rng.integers(50)) in proposed(model, [int(rng.integers(50))], 5) for _ in range(2000)]
    assert 0.06 < np.mean(hits) < 0.15  # 5 of 50


def test_items_are_neighbours_across_the_pause_between_two_sessions():
    model = CoVisitation(10)
    history = np.array([[0]], np.int32)
    model.learn(arrays.batch([1], history, sizes=np.zeros(1, np.int32)))
    assert neighbours(model, 0) == {1: 1.0}
    candidates = model.propose(query_batch(history, np.zeros(1, np.int32)), 5)
    assert candidates.rows[0, 0] == 1
    assert candidates.sources[0, 0] == 0
