"""Metrics and intervals against numbers computed by hand."""

import numpy as np
import pytest

from models.evaluation.beyond_accuracy import ItemProfiles, ListMetrics
from models.evaluation.bootstrap import percentile_interval, resampled_means
from models.evaluation.calibration import Reliability
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
    target_ranks = ints(1, 2, 0, 8)
    assert hits(target_ranks, 5).mean() == 0.5
    assert hits(target_ranks, 10).mean() == 0.75
    assert reciprocal_ranks(target_ranks, 10).sum() == pytest.approx(1 + 1 / 2 + 1 / 8)
    assert gains(target_ranks, 10).sum() == pytest.approx(1 + 1 / np.log2(3) + 1 / np.log2(9))
    quality = Quality.of(target_ranks, 10)
    assert quality.recall == 0.75
    assert quality.mrr == pytest.approx(1.625 / 4)
    assert quality.f1 == pytest.approx(2 * 0.75 * 0.075 / (0.75 + 0.075))
    assert Quality(10).recall == Quality(10).mrr == Quality(10).ndcg == 0


def test_sums_add_up_however_they_are_split():
    rng = np.random.default_rng(1)
    target_ranks = rng.integers(0, 30, 500).astype(np.int32)
    incremental = Quality(20)
    for rank in target_ranks.tolist():
        incremental.add(rank)
    total = Quality.of(target_ranks, 20)
    parts = Quality.of(target_ranks[:123], 20) + Quality.of(target_ranks[123:], 20)
    for name in ("recall", "mrr", "ndcg", "f1"):
        assert getattr(parts, name) == pytest.approx(getattr(total, name))
        assert getattr(incremental, name) == pytest.approx(getattr(total, name))


def test_old_values_fade_from_a_fading_mean():
    values = np.array([1.0] * 500 + [0.0] * 500)
    line = fading_means(values, 50)
    assert line[499] == 1.0
    assert line[999] < 1e-4
    weights = (1 - 1 / 50) ** np.arange(509, -1, -1)
    assert line[509] == pytest.approx(weights @ values[:510] / weights.sum())


def test_gini_by_hand():
    assert gini(np.array([1, 2, 3, 4])) == pytest.approx(0.25)
    assert gini(np.zeros(3)) == 0


def test_list_metrics_by_hand():
    """Items 0 and 1 have the same user, item 2 another; item 0 has two events."""
    profiles = ItemProfiles(10)
    profiles.add(ints(0, 0, 1, 2, -1), np.array([5, 5, 5, 9, 9], np.uint64))
    assert profiles.total == 4
    same_user, two_users = ListMetrics(10), ListMetrics(10)
    same_user.add(np.array([[0, 1], [1, 0]], np.int32), ints(2, -1), profiles)
    two_users.add(np.array([[0, 2]], np.int32), ints(2), profiles)
    metrics = same_user.result(items=3)
    assert metrics["coverage"] == pytest.approx(2 / 3)
    assert metrics["gini"] == pytest.approx(1 / 3)
    assert metrics["novelty"] == pytest.approx((1 + 2) / 2)  # p = 2/4 and 1/4
    assert metrics["diversity"] == pytest.approx(0, abs=1e-6)
    assert metrics["popularity_bias"] == pytest.approx(1.5 / 1 - 1)
    assert two_users.result(3)["diversity"] == pytest.approx(1, abs=0.4)
    assert set(ListMetrics(10).result(3).values()) == {0}


def test_diversity_measures_how_many_users_two_items_share():
    rng = np.random.default_rng(3)
    users = rng.integers(0, 2**63, 400).astype(np.uint64)
    distances = []
    for shared in (400, 200, 0):
        profiles = ItemProfiles(2)
        profiles.add(np.zeros(400, np.int32), users)
        others = np.concatenate([users[:shared], np.arange(400 - shared, dtype=np.uint64)])
        profiles.add(np.ones(400, np.int32), others)
        lists = ListMetrics(2)
        lists.add(np.array([[0, 1]], np.int32), ints(0), profiles)
        distances.append(lists.result(2)["diversity"])
    assert distances == pytest.approx([0, 0.5, 1], abs=0.3)


def test_intervals_cover_the_truth_although_predictions_of_a_user_depend_on_each_other():
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(60):
        taste = rng.random(100)  # of each user; the truth is .5
        users = np.repeat(np.arange(100), 20)
        values = (rng.random(2000) < taste[users]).astype(np.float64)
        low, high = percentile_interval(resampled_means(users, values[:, None], trial, 200)[:, 0])
        covered += low <= 0.5 <= high
        naive = 2 * 1.96 * np.sqrt(0.25 / 2000)
        assert high - low > 1.5 * naive
    assert covered >= 50


def test_differences_are_paired():
    rng = np.random.default_rng(0)
    users, values = np.arange(500), rng.random(500)
    means = resampled_means(users, np.stack([values, values - 0.01], axis=1), 1, 300)
    low, high = percentile_interval(means[:, 0] - means[:, 1])
    assert low == pytest.approx(0.01)
    assert high == pytest.approx(0.01)
    assert means[:, 0] == pytest.approx(resampled_means(users, values[:, None], 1, 300)[:, 0])


def test_reliability_by_hand():
    reliability = Reliability()
    rows = np.array([[3, 4, -1], [4, 5, 6]], np.int32)
    reliability.add(rows, np.array([[0.75, 0.3, 0.0], [0.8, 0.125, 0.125]]), ints(3, 6))
    result = reliability.result()
    assert result["bins"] == [(0.775, 0.5, 2), (0.3, 0.0, 1), (0.125, 0.5, 2)]
    assert result["error"] == pytest.approx((0.55 + 0.3 + 0.75) / 5)
    assert Reliability().result() == {"error": 0.0, "bins": []}


def test_true_probabilities_have_no_error():
    rng = np.random.default_rng(1)
    probabilities = rng.dirichlet(np.ones(5), 40_000)
    targets = (probabilities.cumsum(1) < rng.random((40_000, 1))).sum(1).astype(np.int32)
    rows = np.tile(np.arange(5, dtype=np.int32), (40_000, 1))
    calibrated, overconfident = Reliability(), Reliability()
    calibrated.add(rows, probabilities, targets)
    overconfident.add(rows, probabilities**3 / (probabilities**3).sum(1, keepdims=True), targets)
    assert calibrated.result()["error"] < 0.005
    assert overconfident.result()["error"] > 0.05
