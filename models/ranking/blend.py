"""The fixed blend of the generators' scores, which learns nothing."""

from collections.abc import Mapping

import numpy as np

from models.core import Features, Floats, Rows
from models.state import NOTHING


class Blend:
    """Weighted sum of the generators' scores, each as a share of the generator's best.

        score(b) = Σ_g weight_g · score_g(b) / max_b score_g(b)

    CombSUM of Fox and Shaw 1994 ("Combination of Multiple Searches", TREC-2), with weights and normalised
    scores.  Nothing is learnt: it is the floor that a learnt ranker starts from.  A candidate that no
    generator proposes scores 0.  Cost: 1 µs a query.

    Parameters
    ----------
    weights
        Weight of each generator by name.

    Examples
    --------
    >>> shares = np.array([[[1.0, 0.5], [0, 0], [0.0, 1.0], [0, 0]]], np.float32)  # of two generators
    >>> rows, counts = np.array([[7, 8]], np.int32), np.array([2], np.int32)
    >>> features = Features(rows, counts, shares, np.zeros((1, 0), np.float32), rows)
    >>> Blend({"next": 1.0, "popularity": 0.25}).score(features).tolist()
    [[1.0, 0.75]]
    """

    state = NOTHING

    def __init__(self, weights: Mapping[str, float]) -> None:
        self._weights = np.array(list(weights.values()), np.float32)

    def score(self, features: Features) -> Floats:
        """Blended scores of the candidates, float32[n, m]."""
        shares = features.candidates[:, 0 : 2 * len(self._weights) : 2]
        valid = np.arange(features.rows.shape[1]) < features.counts[:, None]
        blended: Floats = np.where(valid, np.einsum("g,ngm->nm", self._weights, shares), np.float32(0))
        return blended

    def learn(self, features: Features, targets: Rows, weights: Floats) -> None:
        """Do nothing: there is nothing to learn."""

    def evict(self, rows: Rows) -> None:
        """Do nothing: nothing is kept of any item."""
