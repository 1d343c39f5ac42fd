"""Metrics, intervals and list figures, against numbers computed by hand."""

import numpy as np
import pytest

from models.evaluation.bootstrap import interval, resampled_means
from models.evaluation.calibration import Reliability
from models.evaluation.lists import Audience, ListSums
from models.evaluation.metrics import Quality, fading_means, gains, gini, hits, ranks, reciprocal_ranks


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


def test_ties_are_pessimistic_wherever_they_are():
    rows = np.array([[7, 8, 9, 5]] * 6, np.int32)
    scores = np.array([[3.0, 2.0, 2.0, 1.0]] * 4 + [[1.0, 1.0, 1.0, 1.0]] * 2)
    assert ranks(rows, scores, ints(7, 8, 9, 5, 7, 5), 3).tolist() == [1, 3, 3, 0, 0, 0]


def test_unknown_targets_and_short_lists_are_misses():
    rows, scores = np.array([[4, -1, -1]] * 3, np.int32), np.array([[1.0, 0.0, 0.0]] * 3)
    assert ranks(rows, scores, ints(-1, 4, 6), 2).tolist() == [0, 1, 0]
    assert ranks(rows[:, :0], scores[:, :0], ints(1, 2, 3), 2).tolist() == [0, 0, 0]


def test_metrics_of_four_predictions():
    found = ints(1, 2, 0, 8)
    assert hits(found, 5).mean() == 0.5
    assert hits(found, 10).mean() == 0.75
    assert reciprocal_ranks(found, 10).sum() == pytest.approx(1 + 1 / 2 + 1 / 8)
    assert gains(found, 10).sum() == pytest.approx(1 + 1 / np.log2(3) + 1 / np.log2(9))
    quality = Quality.of(found, 10)
    assert quality.recall == 0.75
    assert quality.mrr == pytest.approx(1.625 / 4)
    assert quality.f1 == pytest.approx(2 * 0.75 * 0.075 / (0.75 + 0.075))
    assert Quality(10).recall == Quality(10).mrr == Quality(10).ndcg == 0


def test_sums_add_up_however_they_are_split():
    rng = np.random.default_rng(1)
    found = rng.integers(0, 30, 500).astype(np.int32)
    one_by_one = Quality(20)
    for rank in found.tolist():
        one_by_one.add(rank)
    whole, parts = Quality.of(found, 20), Quality.of(found[:123], 20) + Quality.of(found[123:], 20)
    for name in ("recall", "mrr", "ndcg", "f1"):
        assert getattr(parts, name) == pytest.approx(getattr(whole, name))
        assert getattr(one_by_one, name) == pytest.approx(getattr(whole, name))


def test_fading_forgets():
    values = np.array([1.0] * 500 + [0.0] * 500)
    line = fading_means(values, 50)
    assert line[499] == 1.0
    assert line[999] < 1e-4
    quality = Quality(1)
    for value in values[:510]:
        quality = quality.faded(1 - 1 / 50)
        quality.add(int(value))
    assert quality.recall == pytest.approx(line[509])


def test_gini_by_hand():
    assert gini(np.array([1, 2, 3, 4])) == pytest.approx(0.25)
    assert gini(np.zeros(3)) == 0


def test_lists_by_hand():
    """Items 0 and 1 had by the same user, 2 by another; item 0 twice."""
    audience = Audience(10)
    audience.learn(ints(0, 0, 1, 2, -1), np.array([5, 5, 5, 9, 9], np.uint64))
    assert audience.total == 4
    same, mixed = ListSums(10), ListSums(10)
    same.add(np.array([[0, 1], [1, 0]], np.int32), ints(2, -1), audience)
    mixed.add(np.array([[0, 2]], np.int32), ints(2), audience)
    found = same.result(items=3)
    assert found["coverage"] == pytest.approx(2 / 3)
    assert found["gini"] == pytest.approx(1 / 3)
    assert found["novelty"] == pytest.approx((1 + 2) / 2)  # p = 2/4 and 1/4
    assert found["diversity"] == pytest.approx(0, abs=1e-6)
    assert found["popularity_bias"] == pytest.approx(1.5 / 1 - 1)
    assert mixed.result(3)["diversity"] == pytest.approx(1, abs=0.4)
    assert set(ListSums(10).result(3).values()) == {0}


def test_signatures_tell_how_many_users_two_items_share():
    rng = np.random.default_rng(3)
    users = rng.integers(0, 2**63, 400).astype(np.uint64)
    distances = []
    for shared in (400, 200, 0):
        audience = Audience(2)
        audience.learn(np.zeros(400, np.int32), users)
        others = np.concatenate([users[:shared], np.arange(400 - shared, dtype=np.uint64)])
        audience.learn(np.ones(400, np.int32), others)
        sums = ListSums(2)
        sums.add(np.array([[0, 1]], np.int32), ints(0), audience)
        distances.append(sums.result(2)["diversity"])
    assert distances == pytest.approx([0, 0.5, 1], abs=0.3)


def test_intervals_cover_the_truth_and_know_that_a_user_is_one():
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(60):
        taste = rng.random(100)  # of each user; the truth is .5
        users = np.repeat(np.arange(100), 20)
        values = (rng.random(2000) < taste[users]).astype(np.float64)
        low, high = interval(resampled_means(users, values[:, None], trial, 200)[:, 0])
        covered += low <= 0.5 <= high
        naive = 2 * 1.96 * np.sqrt(0.25 / 2000)
        assert high - low > 1.5 * naive
    assert covered >= 50


def test_differences_are_paired():
    rng = np.random.default_rng(0)
    users, one = np.arange(500), rng.random(500)
    means = resampled_means(users, np.stack([one, one - 0.01], axis=1), 1, 300)
    low, high = interval(means[:, 0] - means[:, 1])
    assert low == pytest.approx(0.01)
    assert high == pytest.approx(0.01)
    assert means[:, 0] == pytest.approx(resampled_means(users, one[:, None], 1, 300)[:, 0])


def test_reliability_by_hand():
    reliability = Reliability()
    rows = np.array([[3, 4, -1], [4, 5, 6]], np.int32)
    reliability.add(rows, np.array([[0.75, 0.3, 0.0], [0.8, 0.125, 0.125]]), ints(3, 6))
    found = reliability.result()
    assert found["bins"] == [(0.775, 0.5, 2), (0.3, 0.0, 1), (0.125, 0.5, 2)]
    assert found["error"] == pytest.approx((0.55 + 0.3 + 0.75) / 5)
    assert Reliability().result() == {"error": 0.0, "bins": []}


def test_true_probabilities_have_no_error():
    rng = np.random.default_rng(1)
    said = rng.dirichlet(np.ones(5), 40_000)
    came = (said.cumsum(1) < rng.random((40_000, 1))).sum(1).astype(np.int32)
    rows = np.tile(np.arange(5, dtype=np.int32), (40_000, 1))
    true, bold = Reliability(), Reliability()
    true.add(rows, said, came)
    bold.add(rows, said**3 / (said**3).sum(1, keepdims=True), came)
    assert true.result()["error"] < 0.005
    assert bold.result()["error"] > 0.05
