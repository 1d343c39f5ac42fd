"""A fixed blend: the weighted sum of what the generators say, each on a scale of its own best.

    score(b) = Σ_g weight_g · score_g(b) / max_b score_g(b)

Nothing is learnt and nothing kept: the floor that a learnt ranker starts from.  What no generator proposes
scores 0.  Cost: 1 µs a query.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from models.core import Features, Floats, Rows


class Blend:
    """Looks at the shares alone."""

    rows = 0
    dtype = np.dtype([("row", "<i4")])

    def __init__(self, weights: Mapping[str, float], seed: int = 0) -> None:
        self._weights = np.array(list(weights.values()), np.float32)

    def score(self, seen: Features) -> Floats:
        """See `Ranker`."""
        shares = seen.candidates[:, 0 : 2 * len(self._weights) : 2]
        valid = np.arange(seen.rows.shape[1]) < seen.counts[:, None]
        blended: Floats = np.where(valid, np.einsum("g,ngm->nm", self._weights, shares), np.float32(0))
        return blended

    def learn(self, seen: Features, targets: Rows, weights: Floats) -> None:
        """Nothing."""

    def touched(self) -> Rows:
        """Nothing."""
        return np.zeros(0, np.int32)

    def dump(self, rows: Rows) -> NDArray[np.void]:
        """Nothing."""
        return np.zeros(0, self.dtype)

    def apply(self, rows: NDArray[np.void]) -> None:
        """Nothing."""

    def evict(self, rows: Rows) -> None:
        """Nothing."""
