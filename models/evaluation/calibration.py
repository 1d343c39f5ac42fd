"""Whether a probability means what it says: reliability in bins, and the expected calibration error.

    ECE = Σ_bin n_bin / n · |mean p of the bin − share of the bin's that came|

(Naeini, Cooper & Hauskrecht 2015, "Obtaining well calibrated probabilities using Bayesian binning").  Every
item of every list counts; bins are halves of powers of two, because most probabilities are small.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.core import Rows

BINS = 40
"""Down to 2^−20; what is smaller is in the last one."""


class Reliability:
    """Sums over the items of the lists of one recommender, by what it said of them."""

    def __init__(self) -> None:
        self._counts = np.zeros(BINS, np.int64)
        self._said = np.zeros(BINS)
        self._came = np.zeros(BINS, np.int64)

    def add(self, rows: Rows, probabilities: NDArray[Any], targets: Rows) -> None:
        """Lists int32[n, k], -1 pads; float[n, k], 0 to 1; what came, int32[n]."""
        listed = (rows >= 0) & (probabilities > 0)
        said = probabilities[listed].astype(np.float64)
        came = (rows == targets[:, None])[listed]
        bins = np.clip((-2 * np.log2(said)).astype(np.int64), 0, BINS - 1)
        self._counts += np.bincount(bins, minlength=BINS)
        self._said += np.bincount(bins, said, BINS)
        self._came += np.bincount(bins[came], minlength=BINS)

    def result(self) -> dict[str, Any]:
        """`error` is the ECE; `bins` of (mean said, share that came, items), from the largest on."""
        some = self._counts > 0
        counts, said, came = self._counts[some], self._said[some], self._came[some]
        total = counts.sum()
        return {
            "error": round(float(np.abs(said - came).sum() / total), 6) if total else 0.0,
            "bins": [
                (float(f"{s / c:.4g}"), float(f"{h / c:.4g}"), int(c))
                for s, h, c in zip(said, came, counts, strict=True)
            ],
        }
