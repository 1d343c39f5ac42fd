"""What walks reach, and that they are repeatable."""

import numpy as np
import pytest

from models.retrieval.graph import Walks
from models.retrieval.recent_sessions import ITEMS, SIZE
from models.small_batches import query_batch
from tests.models import arrays


def trained(*histories: list[int], capacity: int = 50, **more) -> Walks:
    model = Walks(capacity, **more)
    for user, history in enumerate(histories):
        model.learn(arrays.batch(history, users=[user] * len(history)))
    return model


def visited(model: Walks, *newest_first: int, k: int = 20) -> dict[int, float]:
    return arrays.scores_by_row(model.propose(query_batch([newest_first]), k))


def test_a_walk_reaches_what_no_neighbour_had_but_seldom():
    visits = visited(trained([0, 1], [1, 2], [2, 3], [7, 8]), 0)
    assert list(visits) == [1, 2, 3]
    assert visits[1] > 2 * visits[2] > 4 * visits[3]


def test_what_is_reached_from_several_items_comes_first():
    assert next(iter(visited(trained([0, 6], [0, 5], [1, 5], [1, 7], steps=500), 0, 1))) == 5


def test_the_source_of_a_candidate_is_the_latest_item_that_reaches_it():
    candidates = trained([0, 6], [1, 5]).propose(query_batch([[0, 1]]), 2)
    assert dict(zip(candidates.rows[0].tolist(), candidates.sources[0].tolist(), strict=True)) == {6: 0, 5: 1}


def test_the_latest_item_is_not_proposed_but_earlier_ones_are():
    visits = visited(trained([0, 1, 2]), 2, 0)
    assert 2 not in visits
    assert 0 in visits
    assert 1 in visits


def test_visits_are_no_more_than_steps_and_a_lone_item_reaches_nothing():
    assert sum(visited(trained([0, 1, 2, 3], steps=100), 0).values()) <= 100
    assert visited(trained([0], [1, 2]), 0) == {}


def test_a_query_walks_the_same_way_at_any_place_in_the_batch():
    model = trained(*np.random.default_rng(1).integers(0, 50, (30, 8)).tolist())
    forth, back = (query_batch(q) for q in ([[3, 4], [9, 8]], [[9, 8], [3, 4]]))
    assert (model.propose(forth, 10).rows == model.propose(back, 10).rows[::-1]).all()


@pytest.mark.parametrize("number", [0, 1, 250, 301, 2**31, 2**32 - 1])
def test_walks_stay_inside_whatever_numbers_a_ring_has(number):
    """Numbers that are too old, or too high, among slots that were all taken three times."""
    model = trained(*[[n % 7, n % 5] for n in range(300)])
    model.state.index.rings[:] = np.uint32(number)
    assert set(visited(model, 0, 1)) <= set(range(7))


@pytest.mark.parametrize("steps", [0, 1, 2, 7])
def test_few_steps_make_few_visits(steps):
    assert sum(visited(trained([0, 1, 2], [1, 0, 3], steps=steps), 2, 1, 0).values()) <= steps


def test_a_slot_has_its_size_and_items_where_walks_read_them():
    slot = trained([3, 4])._words[1]
    assert slot[SIZE] == 2
    assert slot[ITEMS : ITEMS + 2].tolist() == [3, 4]


def test_two_communities_are_told_apart():
    rng = np.random.default_rng(2)
    histories = [(rng.permutation(20)[:6] + 20 * (user % 2)).tolist() for user in range(60)]
    model = trained(*histories, capacity=100)
    for item in (3, 30):
        assert all(reached // 20 == item // 20 for reached in visited(model, item))
