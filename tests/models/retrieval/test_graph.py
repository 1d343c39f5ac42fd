"""What walks reach, and that they are repeatable."""

import numpy as np
import pytest

from models.core import QueryBatch
from models.retrieval.graph import Walks
from models.retrieval.recent_sessions import ITEMS, SIZE
from tests.models import arrays


def learnt(*histories: list[int], capacity: int = 50, **more) -> Walks:
    model = Walks(capacity, **more)
    for user, history in enumerate(histories):
        model.learn(arrays.batch(history, users=[user] * len(history)))
    return model


def visited(model: Walks, *newest_first: int, k: int = 20) -> dict[int, float]:
    found = model.propose(QueryBatch.of(np.array([newest_first], np.int32)), k)
    return {r: s for r, s in zip(found.rows[0].tolist(), found.scores[0].tolist(), strict=True) if r >= 0}


def test_a_walk_reaches_what_no_neighbour_had_but_seldom():
    found = visited(learnt([0, 1], [1, 2], [2, 3], [7, 8]), 0)
    assert list(found) == [1, 2, 3]
    assert found[1] > 2 * found[2] > 4 * found[3]


def test_what_is_reached_from_several_items_comes_first():
    assert next(iter(visited(learnt([0, 6], [0, 5], [1, 5], [1, 7], steps=500), 0, 1))) == 5


def test_the_latest_item_that_reaches_one_speaks_for_it():
    found = learnt([0, 6], [1, 5]).propose(QueryBatch.of(np.array([[0, 1]], np.int32)), 2)
    assert dict(zip(found.rows[0].tolist(), found.sources[0].tolist(), strict=True)) == {6: 0, 5: 1}


def test_the_latest_item_is_not_proposed_but_earlier_ones_are():
    found = visited(learnt([0, 1, 2]), 2, 0)
    assert 2 not in found
    assert 0 in found
    assert 1 in found


def test_visits_are_no_more_than_steps_and_alone_nothing_is_reached():
    assert sum(visited(learnt([0, 1, 2, 3], steps=100), 0).values()) <= 100
    assert visited(learnt([0], [1, 2]), 0) == {}


def test_a_query_walks_the_same_way_wherever_it_stands():
    model = learnt(*np.random.default_rng(1).integers(0, 50, (30, 8)).tolist())
    one, two = (QueryBatch.of(np.array(q, np.int32)) for q in ([[3, 4], [9, 8]], [[9, 8], [3, 4]]))
    assert (model.propose(one, 10).rows == model.propose(two, 10).rows[::-1]).all()


@pytest.mark.parametrize("number", [0, 1, 250, 301, 2**31, 2**32 - 1])
def test_whatever_a_ring_says_walks_stay_inside(number):
    """Numbers that are too old, or not given yet, among slots that were all taken three times."""
    model = learnt(*[[n % 7, n % 5] for n in range(300)])
    model.index.rings[:] = np.uint32(number)
    assert set(visited(model, 0, 1)) <= set(range(7))


@pytest.mark.parametrize("steps", [0, 1, 2, 7])
def test_few_steps_reach_few(steps):
    assert sum(visited(learnt([0, 1, 2], [1, 0, 3], steps=steps), 2, 1, 0).values()) <= steps


def test_a_slot_has_its_words_where_walks_look():
    slot = learnt([3, 4])._words[1]
    assert slot[SIZE] == 2
    assert slot[ITEMS : ITEMS + 2].tolist() == [3, 4]


def test_two_communities_are_told_apart():
    rng = np.random.default_rng(2)
    histories = [(rng.permutation(20)[:6] + 20 * (user % 2)).tolist() for user in range(60)]
    model = learnt(*histories, capacity=100)
    for item in (3, 30):
        assert all(found // 20 == item // 20 for found in visited(model, item))
