"""The k best of the candidates, best first."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.core import Floats, Rows
from models.kernels.jit import Array, kernel
from models.kernels.topk import select
from models.ranking.pool import Pool

PINNED = -2
"""Code of an item that the shop put at the top."""
IN_CONTEXT = -3
"""Code of an item that is popular in the context of a query, for a user of whom nothing else is known."""


class Best(NamedTuple):
    """The k best candidates of n queries, best first."""

    rows: Rows
    """int32[n, k], padded with -1."""
    scores: NDArray[np.float64]
    """float64[n, k]; 0 where there is no candidate."""
    codes: NDArray[np.int16]
    """int16[n, k], as in `Pool`, `PINNED` or `IN_CONTEXT`; -1 where there is no candidate."""


def best(pool: Pool, scores: Floats, k: int) -> Best:
    """The k best by `scores`, float32[n, m]; candidates that do not score above 0 are left out."""
    shape = len(scores), k
    out = Best(np.empty(shape, np.int32), np.empty(shape, np.float64), np.empty(shape, np.int16))
    _best(pool.rows, pool.counts, pool.codes, scores, *out)
    return out


@kernel
def _best(
    rows: Array,
    counts: Array,
    codes: Array,
    scores: Array,
    out_rows: Array,
    out_scores: Array,
    out_codes: Array,
) -> None:
    k = out_rows.shape[1]
    columns = np.arange(rows.shape[1]).astype(np.int32)
    best_columns, best_scores = np.empty(k, np.int32), np.empty(k, np.float32)
    for n in range(len(rows)):
        size = select(scores[n], columns, counts[n], best_columns, best_scores)
        for j in range(size):
            out_rows[n, j] = rows[n, best_columns[j]]
            out_scores[n, j] = best_scores[j]
            out_codes[n, j] = codes[n, best_columns[j]]
        out_rows[n, size:] = -1
        out_scores[n, size:] = 0
        out_codes[n, size:] = -1
