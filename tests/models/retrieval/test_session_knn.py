"""Hand-computed neighbours; the index against one that is rebuilt; expiry, overflow, growth."""

from dataclasses import replace

import numpy as np
import pytest

from models.core import Batch
from models.retrieval.session_knn import AGE_DECAY, BEFORE, SessionKnn
from models.small_batches import query_batch
from tests.models import arrays


def sessions(*clicks: tuple[int, int], time: int = 0) -> Batch:
    """(session, item) of each click."""
    return arrays.batch([c[1] for c in clicks], users=[c[0] for c in clicks], times=[time] * len(clicks))


def proposed(model: SessionKnn, newest_first: list[int], k: int = 5, time: int = 0) -> dict[int, float]:
    query = query_batch([newest_first], times=np.array([time]))
    return arrays.scores_by_row(model.propose(query, k))


def test_scores_by_hand():
    model = SessionKnn(10, tau_ms=1000)
    model.learn(sessions((1, 0), (1, 1), (1, 2), (2, 1), (2, 3)))
    idf0, idf1 = np.log(1 + 2 / 1), np.log(1 + 2 / 2)
    alike = (idf1 + AGE_DECAY * idf0) ** 2  # session 1 has both, session 2 the latest only
    expected = {2: alike, 0: alike * BEFORE, 3: idf1**2}
    assert proposed(model, [1, 0]) == pytest.approx(expected)
    assert proposed(model, [1, 0], time=1000) == pytest.approx({b: s / np.e for b, s in expected.items()})
    near = np.exp(-1 / 4)
    assert proposed(model, [0]) == pytest.approx({1: idf0**2, 2: idf0**2 * near})


def test_a_repeat_is_proposed_and_counts_as_one_session():
    model = SessionKnn(10)
    model.learn(sessions((1, 0), (1, 1), (1, 0)))
    assert model.state.index.counts[:2].tolist() == [1, 1]
    assert proposed(model, [0]) == pytest.approx({1: np.log(2) ** 2, 0: np.log(2) ** 2 * np.exp(-1 / 4)})
    assert proposed(model, [0, 0]) == proposed(model, [0])


def test_a_repeat_starts_no_new_number():
    model = SessionKnn(10, length=3)
    model.learn(sessions(*[(1, item) for item in (0, 1, 2, 1, 0)]))
    assert model.state.newest == 1
    assert model.state.index.counts[:3].tolist() == [1, 1, 1]


def test_a_session_longer_than_its_slot_continues_under_a_new_number():
    model = SessionKnn(10, length=3)
    model.learn(sessions(*[(1, item) for item in range(5)]))
    records = model.state.dump(np.arange(3))
    assert records["number"].tolist() == [0, 1, 2]
    assert records["size"].tolist() == [0, 3, 2]
    assert records["items"][2].tolist() == [3, 4, 0]


def test_the_oldest_session_yields_its_slot():
    model = SessionKnn(10, slots_per_item=0.3)  # 3 slots
    model.learn(sessions((1, 0), (1, 1), (2, 2), (2, 3), (3, 4), (3, 5)))
    assert proposed(model, [0])
    assert proposed(model, [2])
    model.learn(sessions((4, 6), (4, 7)))
    assert not proposed(model, [0])
    assert proposed(model, [2])
    assert proposed(model, [6])
    model.learn(sessions((1, 8)))  # it starts over, and takes the place of session 2
    assert not proposed(model, [2])
    assert not proposed(model, [0])


def test_of_a_full_ring_the_latest_sessions_stay():
    model = SessionKnn(50, latest=2)
    model.learn(sessions(*[click for s in range(5) for click in ((s, 0), (s, 10 + s))]))
    assert set(proposed(model, [0])) == {13, 14}


def test_only_the_most_similar_are_neighbours_and_of_those_the_latest():
    model = SessionKnn(50, neighbours=2)
    model.learn(sessions((1, 0), (1, 1), (1, 9), *[c for s in range(2, 6) for c in ((s, 1), (s, 20 + s))]))
    assert set(proposed(model, [1, 0])) == {0, 9, 25}


def test_the_index_follows_from_the_slots_in_any_order():
    """Sessions that interleave, overflow, expire and lose items: lists are as if rebuilt."""
    rng = np.random.default_rng(5)
    model, follower = (SessionKnn(30, slots_per_item=1, length=4, latest=5) for _ in range(2))
    rows = np.arange(model.state.rows)
    for step in range(60):
        at = rng.integers(step * 3, step * 3 + 12, 25)
        model.learn(sessions(*zip(at.tolist(), rng.integers(0, 30, 25).tolist(), strict=True), time=step))
        if step % 7 == 3:
            model.evict(rng.choice(30, 3, replace=False).astype(np.int32))
        follower.state.apply(model.state.dump(model.state.touched()))
        rebuilt = SessionKnn(30, slots_per_item=1, length=4, latest=5)
        rebuilt.state.apply(model.state.dump(rng.permutation(rows).astype(np.int32)))
        queries = query_batch(rng.integers(0, 30, (20, 6)).astype(np.int32))
        for other in (follower, rebuilt):
            assert (other.state.index.counts == model.state.index.counts).all()
            expected, candidates = model.propose(queries, 9), other.propose(queries, 9)
            assert np.array_equal(expected.rows, candidates.rows)
            assert np.array_equal(expected.scores, candidates.scores)


def test_a_learner_with_more_slots_continues_with_all_sessions():
    small, large = SessionKnn(30, slots_per_item=1), SessionKnn(30, slots_per_item=3)
    small.learn(sessions(*[(s, s % 30) for s in range(77)]))
    large.state.apply(small.state.dump(np.arange(small.state.rows, dtype=np.int32)))
    large.learn(sessions((76, 3), (500, 4)))
    numbers = large.state.dump(np.arange(large.state.rows, dtype=np.int32))["number"]
    assert sorted(numbers[numbers > 0]) == list(range(48, 79))


def test_open_sessions_are_found_whatever_came_and_went():
    """Against a dict: the open table's deletions keep every live key findable."""
    rng = np.random.default_rng(6)
    model = SessionKnn(64, slots_per_item=1, length=100)
    for _ in range(40):
        model.learn(sessions(*[(int(s), int(rng.integers(64))) for s in rng.integers(0, 150, 30)]))
        records = model.state.dump(np.arange(model.state.rows, dtype=np.int32))
        keys = records["key"][records["number"] > 0]
        assert len(set(keys.tolist())) == len(keys), "a session that was not found started again"


def test_by_user_the_query_is_the_whole_history():
    model = SessionKnn(50, by="user")
    clicks = sessions((1, 0), (1, 1))
    model.learn(replace(clicks, sessions=np.array([5, 6], np.uint64)))
    assert set(proposed(model, [*range(20, 40), 0])) == {1}
