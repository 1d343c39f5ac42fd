"""The k best of the candidates, best first."""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from models.core import Floats, Rows
from models.kernels.topk import select
from models.ranking.pool import Pool


class Best(NamedTuple):
    """The best of n queries' candidates, best first, k columns each; -1 pads the rows."""

    rows: Rows
    scores: NDArray[np.float64]
    """float64[n, k]."""
    codes: NDArray[np.int16]
    """As in `Pool`."""


def best(pool: Pool, scores: Floats, k: int) -> Best:
    """The k best by `scores`, float32[n, m]; what is not above 0 is left out."""
    shape = len(scores), k
    out = Best(np.empty(shape, np.int32), np.empty(shape, np.float64), np.empty(shape, np.int16))
    _best(pool.rows, pool.counts, pool.codes, scores, *out)
    return out


@njit(cache=True, nogil=True)
def _best(rows, counts, codes, scores, out_rows, out_scores, out_codes):  # type: ignore[no-untyped-def]
    k = out_rows.shape[1]
    columns = np.arange(rows.shape[1]).astype(np.int32)
    found_columns, found_scores = np.empty(k, np.int32), np.empty(k, np.float32)
    for n in range(len(rows)):
        found = select(scores[n], columns, counts[n], found_columns, found_scores)
        for j in range(found):
            out_rows[n, j] = rows[n, found_columns[j]]
            out_scores[n, j] = found_scores[j]
            out_codes[n, j] = codes[n, found_columns[j]]
        out_rows[n, found:] = -1
        out_scores[n, found:] = 0
        out_codes[n, found:] = -1
