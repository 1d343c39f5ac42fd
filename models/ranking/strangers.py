"""Ranking for strangers: users without an item that the model knows."""

from collections.abc import Mapping

import numpy as np

from models.core import Features, Floats
from models.ranking.blend import Blend

POPULARITY = "popularity"
"""The generator that ranks for strangers, if it is on; else all that are, as the blend weighs them."""


class Strangers:
    """Best sellers, for users whom a learnt ranker has not been trained for.

        P(j) = p_j / Σ_i p_i                over the candidates; p is the decayed count of `popularity`

    A learnt ranker trains on what comes after a history.  Asked for a user without one it extrapolates: it
    puts items of one event above best sellers where they were seen a moment ago.  Measured on the first
    events of users: docs/models/rankers.md.  Cost: 1 µs a query.

    Parameters
    ----------
    weights
        Weight of each generator in the blend, by name.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        of_popularity = {name: float(name == POPULARITY) for name in weights}
        self._blend = Blend(of_popularity if POPULARITY in weights else weights)

    def score(self, features: Features) -> Floats:
        """Probability of each candidate that it comes next, were it one of them; float32[n, m]."""
        scores = self._blend.score(features)
        total = scores.sum(1, keepdims=True)
        shares: Floats = np.divide(scores, total, out=np.zeros_like(scores), where=total > 0)
        return shares
