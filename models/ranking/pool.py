"""The pool: the distinct candidates that the generators propose, and the user's own items."""

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.core import HISTORY, Candidates, Floats, QueryBatch, Rows
from models.kernels.jit import Array, kernel
from models.kernels.scratch import Scratch
from models.kernels.topk import LOWEST, move_to_front

WIDTH = HISTORY + 1
"""Codes of a generator: one for each column of the history, and one for none."""


class Pool(NamedTuple):
    """The distinct candidates of n queries, m columns each, in no order."""

    rows: Rows
    """int32[n, m]; -1 from `counts` on."""
    counts: Rows
    """int32[n]: number of candidates."""
    scores: Floats
    """float32[n, generators, m]: each generator's score of each candidate; 0 if it does not propose it."""
    codes: NDArray[np.int16]
    """int16[n, m]: generator × `WIDTH` + column of the history + 1, of what contributes most to each;
    generators × `WIDTH`: no generator proposed it, it is in the user's history."""


class Merger:
    """Merges the proposals of several generators, and cuts them by a prior.

        prior(b) = Σ_g weight_g · score_g(b) / max_b score_g(b)

    The user's own items are always candidates; of the others the best by the prior are kept, so that ranking
    costs the same however many generators there are.  Cost: two passes over the proposals, 2 to 4 µs a query
    for 300 of them.

    Parameters
    ----------
    capacity
        Number of item rows.
    weights
        Weight of each generator that proposes, in the order of the proposals.
    generators
        Number of all generators, those that only score included.
    width
        Candidates that are kept.

    Examples
    --------
    >>> from models.small_batches import query_batch
    >>> proposed = [Candidates(np.array([[5, 6]], np.int32), np.array([[4.0, 2.0]], np.float32),
    ...                        np.zeros((1, 2), np.int8))]
    >>> queries = query_batch([[3]])
    >>> merger = Merger(10, [1.0], 1, 3)
    >>> merger.merge(queries, proposed, np.zeros((1, 0), np.int32), np.ones(10, np.bool_)).rows.tolist()
    [[3, 5, 6]]
    """

    def __init__(self, capacity: int, weights: Sequence[float], generators: int, width: int) -> None:
        self._scratch = Scratch((capacity, np.int32), (capacity, np.bool_))  # column; excluded
        self._weights = np.asarray(weights, np.float32)
        self._generators, self._width = generators, width

    def merge(
        self,
        queries: QueryBatch,
        proposals: Sequence[Candidates],
        excluded: Rows,
        offered: NDArray[np.bool_],
    ) -> Pool:
        """The union of the proposals without `excluded` (int32[n, any], padded with -1), cut to the width.

        Only what is `offered`, bool[capacity], is a candidate.
        The proposals are of the first generators, in order; the scores of all others are 0.
        """
        n = len(queries.history)
        out = Pool(
            np.empty((n, self._width), np.int32),
            np.empty(n, np.int32),
            np.empty((n, self._generators, self._width), np.float32),
            np.empty((n, self._width), np.int16),
        )
        starts = np.array([0, *accumulate(p.rows.shape[1] for p in proposals)])
        rows, scores, sources = (
            np.concatenate(part, axis=1)
            for part in zip(*((p.rows, p.scores, p.sources) for p in proposals), strict=True)
        )
        _merge(
            queries.history, excluded, rows, scores, sources, starts, self._weights, offered,
            self._scratch.arrays, *out,
        )  # fmt: skip
        return out


@kernel
def _merge(
    history: Array,
    excluded: Array,
    rows: Array,
    scores: Array,
    sources: Array,
    starts: Array,
    weights: Array,
    offered: Array,
    scratch: tuple[Array, ...],
    out_rows: Array,
    out_counts: Array,
    out_scores: Array,
    out_codes: Array,
) -> None:
    at, banned = scratch
    most = rows.shape[1] + history.shape[1]
    items, columns = np.empty(most, np.int32), np.empty(most, np.int32)
    codes, keys = np.empty(most, np.int16), np.empty(most, np.int64)
    prior, strongest = np.empty(most, np.float32), np.empty(most, np.float32)
    own = out_scores.shape[1] * WIDTH
    for n in range(len(rows)):
        for e in range(excluded.shape[1]):
            if excluded[n, e] >= 0:
                banned[excluded[n, e]] = True
        count = 0
        for column in range(history.shape[1]):
            b = history[n, column]
            if b < 0:
                break
            j = at[b]
            if offered[b] and not banned[b] and (j >= count or items[j] != b):
                at[b], items[count], codes[count], strongest[count] = count, b, own, 0
                prior[count] = np.inf
                count += 1
        for g in range(len(weights)):
            highest = scores[n, starts[g]]  # best first
            if highest <= 0:
                continue
            scale = weights[g] / highest
            for c in range(starts[g], starts[g + 1]):
                b = rows[n, c]
                if b < 0:
                    break
                if banned[b] or not offered[b]:
                    continue
                j = at[b]
                if j >= count or items[j] != b:
                    j = count
                    count += 1
                    at[b], items[j], codes[j], prior[j], strongest[j] = j, b, own, 0, -1
                part = scale * scores[n, c]
                prior[j] += part
                if part > strongest[j]:
                    strongest[j], codes[j] = part, g * WIDTH + sources[n, c] + 1
        kept = _keep(prior, count, out_rows.shape[1], keys, columns)
        for j in range(count):
            if columns[j] >= 0:
                out_rows[n, columns[j]], out_codes[n, columns[j]] = items[j], codes[j]
        out_counts[n] = kept
        out_rows[n, kept:] = -1
        out_codes[n, kept:] = -1
        out_scores[n] = 0
        for g in range(len(weights)):
            for c in range(starts[g], starts[g + 1]):
                b = rows[n, c]
                if b < 0:
                    break
                j = at[b]
                if j < count and items[j] == b and columns[j] >= 0:
                    out_scores[n, g, columns[j]] = scores[n, c]
        for e in range(excluded.shape[1]):
            if excluded[n, e] >= 0:
                banned[excluded[n, e]] = False


@kernel
def _keep(prior: Array, count: int, width: int, keys: Array, columns: Array) -> int:
    """Number the `width` candidates of the highest prior, in their order, in `columns`; -1: it is cut.

    Ties go to the earlier candidate.  Returns how many are kept.
    """
    bits, lowest, kept = prior.view(np.int32), np.int64(0), 0
    if count > width:
        for j in range(count):
            keys[j] = np.int64(bits[j]) << 32 | (LOWEST - j)
        move_to_front(keys, count, width)
        lowest = keys[:width].min()
    for j in range(count):
        if count <= width or (np.int64(bits[j]) << 32 | (LOWEST - j)) >= lowest:
            columns[j] = kept
            kept += 1
        else:
            columns[j] = -1
    return kept
