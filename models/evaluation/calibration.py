"""Calibration of predicted probabilities: a reliability diagram, and the expected calibration error.

    ECE = Σ_bin n_bin / n · |mean probability in the bin − share of the bin's items that were the target|

(Naeini, Cooper & Hauskrecht 2015, "Obtaining well calibrated probabilities using Bayesian binning").  Every
item of every list counts.  Most probabilities are small, so that each bin covers half a power of two.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.core import Rows

BINS = 40
"""Down to 2^−20; the last bin also has all smaller probabilities."""


class Reliability:
    """Sums over the listed items of one recommender, in bins of predicted probability.

    >>> reliability = Reliability()
    >>> rows, probabilities = np.array([[3, 4], [5, 3]], np.int32), np.array([[0.75, 0.25], [0.75, 0.25]])
    >>> reliability.add(rows, probabilities, targets=np.array([3, 6], np.int32))
    >>> reliability.result()
    {'error': 0.25, 'bins': [(0.75, 0.5, 2), (0.25, 0.0, 2)]}
    """

    def __init__(self) -> None:
        self._counts = np.zeros(BINS, np.int64)
        self._probabilities = np.zeros(BINS)
        self._hits = np.zeros(BINS, np.int64)

    def add(self, rows: Rows, probabilities: NDArray[Any], targets: Rows) -> None:
        """Count lists: rows int32[n, k], -1 pads; probabilities float[n, k], 0 to 1; targets int32[n]."""
        listed = (rows >= 0) & (probabilities > 0)
        predicted = probabilities[listed].astype(np.float64)
        hit = (rows == targets[:, None])[listed]
        bins = np.clip((-2 * np.log2(predicted)).astype(np.int64), 0, BINS - 1)
        self._counts += np.bincount(bins, minlength=BINS)
        self._probabilities += np.bincount(bins, predicted, BINS)
        self._hits += np.bincount(bins[hit], minlength=BINS)

    def result(self) -> dict[str, Any]:
        """`error`: the ECE; `bins`: (mean probability, share of hits, items), the most probable first."""
        filled = self._counts > 0
        counts, probabilities, hits = self._counts[filled], self._probabilities[filled], self._hits[filled]
        total = counts.sum()
        return {
            "error": round(float(np.abs(probabilities - hits).sum() / total), 6) if total else 0.0,
            "bins": [
                (float(f"{p / n:.4g}"), float(f"{h / n:.4g}"), int(n))
                for p, h, n in zip(probabilities, hits, counts, strict=True)
            ],
        }
