"""Estimates of another policy's worth: planted truth, intervals over seeds, and refusals."""

import numpy as np
import pytest

from models.evaluation.counterfactual import (
    ESTIMATORS,
    PREDICTING,
    Shown,
    estimates,
    folds,
    predicted_rewards,
    slate_estimates,
    support,
)

ITEMS, POSITIONS = 12, 2
RATES = np.linspace(0.02, 0.3, ITEMS)[:, None] * np.array([1.0, 0.5])
"""True probability of a click by item and position."""
LOGGED = np.stack([np.linspace(1, 3, ITEMS), np.ones(ITEMS)], axis=1)
LOGGED /= LOGGED.sum(0)
OTHER = np.stack([np.linspace(3, 1, ITEMS), np.linspace(1, 2, ITEMS)], axis=1)
OTHER /= OTHER.sum(0)


def planted(seed: int, n: int = 4000, policy: np.ndarray = OTHER) -> tuple[Shown, float]:
    """Rows drawn by `LOGGED`, and what the other policy would have brought."""
    rng = np.random.default_rng(seed)
    positions = np.arange(n) % POSITIONS
    items = np.array([rng.choice(ITEMS, p=LOGGED[:, position]) for position in positions])
    rewards = (rng.random(n) < RATES[items, positions]).astype(float)
    predictions = predicted_rewards(items, positions, rewards, policy)
    shown = Shown(rewards, LOGGED[items, positions], policy[items, positions], *predictions)
    return shown, float((policy * RATES).sum(0).mean())


def test_estimates_are_near_the_planted_truth_and_their_intervals_hold_it():
    held = dict.fromkeys(ESTIMATORS, 0)
    seeds = 60
    for seed in range(seeds):
        shown, truth = planted(seed)
        for name, estimate in estimates(shown, np.arange(len(shown.rewards)), seed).items():
            assert estimate.value == pytest.approx(truth, rel=0.25), name
            if estimate.interval:
                held[name] += estimate.interval[0] <= truth <= estimate.interval[1]
    assert held.pop("DM") == 0
    assert all(count >= 0.87 * seeds for count in held.values()), held


def test_predictions_narrow_the_interval():
    shown, _ = planted(1, 20_000)
    rows = np.arange(len(shown.rewards))
    width = {name: np.ptp(e.interval) for name, e in estimates(shown, rows).items() if e.interval}
    assert width["DR"] < width["IPS"]


def test_without_the_whole_policy_only_weights_are_used():
    shown, _ = planted(1)
    alone = Shown(shown.rewards, shown.propensities, shown.targets)
    found = estimates(alone, np.arange(len(shown.rewards)))
    assert found.keys() == ESTIMATORS.keys() - PREDICTING
    assert found["IPS"] == estimates(shown, np.arange(len(shown.rewards)))["IPS"]


def test_the_log_against_itself_gains_nothing():
    shown, _ = planted(2, policy=LOGGED)
    found = estimates(shown, np.arange(len(shown.rewards)))
    assert found["IPS"].gain == found["SNIPS"].gain == 0
    assert found["IPS"].value == shown.rewards.mean()


def test_rows_of_a_user_are_resampled_together():
    shown, _ = planted(3)
    rows = np.arange(len(shown.rewards))
    doubled = Shown(*(np.repeat(a, 2) for a in (shown.rewards, shown.propensities, shown.targets)))
    alone = estimates(doubled, np.arange(2 * len(rows)))["IPS"].interval
    together = estimates(doubled, np.repeat(rows, 2))["IPS"].interval
    assert np.ptp(together) == pytest.approx(np.sqrt(2) * np.ptp(alone), rel=0.15)


def test_weights_above_the_switch_believe_the_prediction():
    shown, _ = planted(4)
    rows = np.arange(len(shown.rewards))
    assert estimates(shown, rows, switch=1e9)["switch-DR"].value == pytest.approx(
        estimates(shown, rows)["DR"].value
    )
    none = estimates(shown, rows, switch=0.0)
    assert none["switch-DR"].value == none["DM"].value


def test_no_row_predicts_itself_and_the_policy_is_predicted_from_the_same_part():
    items, positions = np.arange(40) % 2, np.arange(40) % 2  # a row is told by its index, and so is its place
    rewards = np.random.default_rng(1).random(40)
    policy = np.array([[1.0, 0.25], [0.0, 0.75]])
    predicted, expected = predicted_rewards(items, positions, rewards, policy)
    part = folds(40)
    for n in range(40):
        others = (part != part[n]) & (items == items[n])
        mean = rewards[others].mean()  # each item is at one position, so that its mean is the position's
        assert predicted[n] == pytest.approx(mean)
        assert expected[n] == pytest.approx(mean)


def test_slates_by_hand():
    """Two lists of two; of the second the first item is twice as likely under the other policy."""
    shown = Shown(np.array([1.0, 0.0, 0.0, 1.0]), np.full(4, 0.5), np.array([0.5, 0.5, 1.0, 0.25]))
    order = np.array([2, 0, 3, 1])
    shuffled = Shown(shown.rewards[order], shown.propensities[order], shown.targets[order])
    found = slate_estimates(shuffled, np.array([0, 0, 1, 1])[order], np.array([0, 1, 0, 1])[order])
    assert {name: estimate.value for name, estimate in found.items()} == {
        "independent IPS": (1 + 0.5) / 2,
        "cascade IPS": (1 + 2 * 0.5) / 2,
        "standard IPS": (1 + 2 * 0.5) / 2,
    }
    assert found["cascade IPS"].gain == 0


def test_what_the_log_does_not_show_is_refused():
    shown, _ = planted(5)
    rows = np.arange(len(shown.rewards))
    assert support(shown, rows).refusal == ""
    assert "12.0% of what the other policy shows" in support(shown, rows, 0.12).refusal
    few = Shown(shown.rewards[:50], shown.propensities[:50], shown.targets[:50])
    assert "effective rows, and 100 are needed" in support(few, rows[:50]).refusal
    hidden = Shown(shown.rewards, shown.propensities, shown.targets * 0.7)
    assert "should be 1" in support(hidden, rows).refusal
