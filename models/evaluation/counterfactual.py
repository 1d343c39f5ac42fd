"""What another policy would have brought, from a log of random draws that says how likely each draw was.

    w = π(item) / propensity      π: the other policy's probability of the item that was shown

Importance weights undo the choice of the log's policy where both may show the item.  Nothing undoes a choice
that the log's policy never made: `support` says so.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.evaluation.bootstrap import percentile_interval, resampled_means
from models.evaluation.metrics import Values

SWITCH = 10.0
"""Weight above which switch-DR believes the predicted reward alone."""
PRIOR = 20.0
"""Rows that a position's mean counts for in the predicted reward of an item there."""
FOLDS = 2
"""Parts of the log: rewards of each are predicted from the others."""
LEAST_EFFECTIVE = 100.0
"""Effective rows below which nothing is said."""

Codes = NDArray[np.int64]


class Means(NamedTuple):
    """Means over the rows of a log, or of each of its resamples: numbers, or float64[resamples]."""

    reward: Any
    weight: Any
    weighted: Any
    """The rewards times their weights, w r."""
    expected: Any
    """Σ_a π(a) q(a), q the predicted reward."""
    residual: Any
    """w (r − q)."""
    switched: Any
    """w (r − q) where w is at most `SWITCH`, else 0."""


ESTIMATORS: dict[str, Callable[[Means], Any]] = {
    "IPS": lambda m: m.weighted,
    "SNIPS": lambda m: m.weighted / m.weight,
    "DM": lambda m: m.expected,
    "DR": lambda m: m.expected + m.residual,
    "SNDR": lambda m: m.expected + m.residual / m.weight,
    "switch-DR": lambda m: m.expected + m.switched,
}
"""Value of the other policy, by the name of its estimator.

Inverse propensity scores (Horvitz and Thompson 1952), self-normalised (Swaminathan and Joachims 2015), the
direct method and doubly robust (Dudík, Langford and Li 2011), switch-DR (Wang, Agarwal and Dudík 2017).
"""
PREDICTING = frozenset({"DM", "DR", "SNDR", "switch-DR"})
"""Estimators that need predicted rewards of all items, and so the whole policy."""


@dataclass(frozen=True)
class Shown:
    """Items that were shown, one a row, each drawn with a known probability."""

    rewards: Values
    """float64[n]."""
    propensities: Values
    """Probability of the item under the log's policy, in (0, 1], float64[n]."""
    targets: Values
    """Probability of the item under the other policy, float64[n]."""
    predicted: Values | None = None
    """Predicted reward of the item, float64[n]; None: only estimators without predictions are computed."""
    expected: Values | None = None
    """Predicted reward of the other policy in the same place, float64[n]."""

    @property
    def weights(self) -> Values:
        """Importance weights, float64[n]."""
        return self.targets / self.propensities


class Estimate(NamedTuple):
    """The value of a policy, and its gain over the log's own, with the ends of their 95 % intervals.

    There are none where a prediction is all that there is: how wrong it is cannot be seen in the log.
    """

    value: float
    interval: tuple[float, float] | None
    gain: float
    gain_interval: tuple[float, float] | None


class Support(NamedTuple):
    """Whether the log can say anything of the other policy."""

    effective: float
    """Effective number of rows, (Σ w)² / Σ w² (Kish 1965)."""
    mean_weight: float
    """1 but for chance, where the log's policy shows all that the other one does."""
    mean_weight_interval: tuple[float, float]
    missing: float
    """Share of what the other policy would show that is nowhere in the log; NaN if that is not known."""
    largest: float
    """The largest of the weights."""

    @property
    def refusal(self) -> str:
        """Why nothing can be said; empty if something can."""
        low, high = self.mean_weight_interval
        if self.missing > 0.01:
            return f"{self.missing:.1%} of what the other policy shows was never shown in the log"
        if self.effective < LEAST_EFFECTIVE:
            return f"the log has {self.effective:.0f} effective rows, and {LEAST_EFFECTIVE:.0f} are needed"
        if not low <= 1 <= high:
            return (
                f"the weights' mean is {self.mean_weight:.3f} ({low:.3f} to {high:.3f}) and should be 1: the"
                " log does not show all that the other policy does, or its propensities are wrong"
            )
        return ""


def estimates(shown: Shown, clusters: Codes, seed: int = 0, switch: float = SWITCH) -> dict[str, Estimate]:
    """The value of the other policy by estimator; reward a row.

    `clusters`, int64[n]: rows that are drawn together in a resample, those of one user.

    >>> shown = Shown(np.array([1.0, 0.0]), np.array([0.5, 0.5]), np.array([0.8, 0.2]))
    >>> {name: estimate.value for name, estimate in estimates(shown, np.arange(2)).items()}
    {'IPS': 0.8, 'SNIPS': 0.8}
    """
    columns = _columns(shown, switch)
    names = [name for name in ESTIMATORS if name not in PREDICTING or shown.predicted is not None]
    whole, resampled = _means(columns.mean(0)), _means(resampled_means(clusters, columns, seed).T)
    return {name: _estimate(name, whole, resampled) for name in names}


def slate_estimates(shown: Shown, slates: Codes, positions: Codes, seed: int = 0) -> dict[str, Estimate]:
    """The value of the other policy for whole lists, reward a list, by what a click at a position depends on.

    Independent (Li et al. 2018): on the item there; reward-interaction (McInerney et al. 2020): on it and on
    those above; standard: on the whole list.  The less it depends on, the narrower the interval, and the more
    is assumed.  `slates` and `positions`, int64[n]: list and place of each row.

    >>> shown = Shown(np.array([1.0, 1.0]), np.array([0.5, 0.5]), np.array([1.0, 0.25]))
    >>> first = slate_estimates(shown, np.zeros(2, np.int64), np.arange(2))
    >>> {name: estimate.value for name, estimate in first.items()}
    {'independent IPS': 2.5, 'cascade IPS': 3.0, 'standard IPS': 2.0}
    """
    order = np.lexsort((positions, slates))
    rewards, own = shown.rewards[order], shown.weights[order]
    _, starts, codes = np.unique(slates[order], return_index=True, return_inverse=True)
    products = np.empty_like(own)
    for start, end in zip(starts, [*starts[1:], len(own)], strict=True):
        products[start:end] = np.cumprod(own[start:end])
    whole = products[np.append(starts[1:], len(own)) - 1][codes]
    by_name = {"independent IPS": own, "cascade IPS": products, "standard IPS": whole}
    columns = [rewards, *(weights * rewards for weights in by_name.values())]
    totals: Values = np.stack([np.bincount(codes, column).astype(np.float64) for column in columns], axis=1)
    means, resampled = totals.mean(0), resampled_means(np.arange(len(totals)), totals, seed)
    return {
        name: Estimate(
            float(means[n]), percentile_interval(resampled[:, n]), float(means[n] - means[0]),
            percentile_interval(resampled[:, n] - resampled[:, 0]),
        )
        for n, name in enumerate(by_name, 1)
    }  # fmt: skip


def support(shown: Shown, clusters: Codes, missing: float = float("nan"), seed: int = 0) -> Support:
    """Whether the log can say anything of the other policy; `missing` as in `Support`.

    >>> support(Shown(np.ones(4), np.full(4, 0.5), np.array([1.0, 1.0, 0.0, 0.0])), np.arange(4)).effective
    2.0
    """
    weights = shown.weights
    resampled = resampled_means(clusters, weights[:, None], seed)[:, 0]
    effective = weights.sum() ** 2 / max((weights * weights).sum(), 1e-300)
    return Support(
        float(effective), float(weights.mean()), percentile_interval(resampled, 0.99), missing,
        float(weights.max(initial=0)),
    )  # fmt: skip


def predicted_rewards(
    items: Codes, positions: Codes, rewards: Values, policy: Values
) -> tuple[Values, Values]:
    """Predicted reward of each row's item, and that of the `policy`, float64[items, positions], there.

    The mean reward of the item at the position, shrunk to the position's mean by `PRIOR` rows; of each of
    `FOLDS` parts it is computed from the others, so that no row predicts itself.
    """
    shape, place = policy.shape, items * policy.shape[1] + positions
    counts = np.zeros((FOLDS, policy.size))
    sums = np.zeros((FOLDS, policy.size))
    fold = folds(len(items))
    np.add.at(counts, (fold, place), 1)
    np.add.at(sums, (fold, place), rewards)
    counts, sums = (values.sum(0) - values for values in (counts, sums))
    counts, sums = (values.reshape(FOLDS, *shape) for values in (counts, sums))
    means = sums.sum(1, keepdims=True) / np.maximum(counts.sum(1, keepdims=True), 1)
    predicted = (sums + PRIOR * means) / (counts + PRIOR)
    expected = (policy * predicted).sum(1)
    return predicted[fold, items, positions], expected[fold, positions]


def folds(rows: int) -> Codes:
    """The part of each row, at random: positions recur in a log, and a pattern of them is no fold."""
    return np.random.default_rng(0).integers(0, FOLDS, rows)


def _columns(shown: Shown, switch: float) -> Values:
    weights, nothing = shown.weights, np.zeros(len(shown.rewards))
    predicted = nothing if shown.predicted is None else shown.predicted
    residual = weights * (shown.rewards - predicted)
    expected = nothing if shown.expected is None else shown.expected
    switched = np.where(weights <= switch, residual, 0)
    return np.stack([shown.rewards, weights, weights * shown.rewards, expected, residual, switched], axis=1)


def _means(columns: Values) -> Means:
    reward, weight, *others = columns
    return Means(reward, np.maximum(weight, 1e-300), *others)


def _estimate(name: str, whole: Means, resampled: Means) -> Estimate:
    value, values = float(ESTIMATORS[name](whole)), ESTIMATORS[name](resampled)
    gain = value - float(whole.reward)
    if name == "DM":
        return Estimate(value, None, gain, None)
    return Estimate(value, percentile_interval(values), gain, percentile_interval(values - resampled.reward))
