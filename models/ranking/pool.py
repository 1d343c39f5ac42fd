"""One list of candidates out of many: what the generators propose and what the user had already, distinct.

    prior(b) = Σ_g weight_g · score_g(b) / max_b score_g(b)

The user's own items are always among the candidates; of the others the best by this prior are kept, so
that ranking costs the same however many generators there are.  Each generator's score is kept beside.

Cost: two passes over the proposals, 2 to 4 µs a query for 300 of them.  Nothing is learnt.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from models.core import HISTORY, Candidates, Floats, QueryBatch, Rows
from models.kernels.scratch import Scratch

WIDTH = HISTORY + 1
"""Codes of a generator: one for each column of the history, and one for none."""


class Pool(NamedTuple):
    """The distinct candidates of n queries, m columns each, in no order."""

    rows: Rows
    """int32[n, m]; -1 from `counts` on."""
    counts: Rows
    """int32[n]."""
    scores: Floats
    """float32[n, generators, m]: what each generator says of each; 0: nothing."""
    codes: NDArray[np.int16]
    """int16[n, m]: generator × `WIDTH` + column of the history + 1, of what speaks most for each;
    generators × `WIDTH`: nobody proposed it, it is the user's own."""


class Merger:
    """Merges proposals, of `capacity` rows."""

    def __init__(self, capacity: int, weights: Sequence[float], generators: int, width: int) -> None:
        self._scratch = Scratch((capacity, np.int32), (capacity, np.bool_))  # column; excluded
        self._weights = np.asarray(weights, np.float32)
        self._generators, self._width = generators, width

    def merge(self, queries: QueryBatch, proposals: Sequence[Candidates], excluded: Rows) -> Pool:
        """The union but `excluded` (int32[n, any], -1 pads), cut to `width`.

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
            np.concatenate(part, axis=1) for part in zip(*map(_parts, proposals), strict=True)
        )
        _merge(
            queries.history, excluded, rows, scores, sources, starts, self._weights,
            self._scratch.arrays, *out,
        )  # fmt: skip
        return out


def _parts(proposal: Candidates) -> tuple[Rows, Floats, NDArray[np.int8]]:
    return proposal.rows, proposal.scores, proposal.sources


@njit(cache=True, nogil=True)
def _merge(  # type: ignore[no-untyped-def]
    history, excluded, rows, scores, sources, starts, weights, scratch,
    out_rows, out_counts, out_scores, out_codes,
):  # fmt: skip
    at, banned = scratch
    most = rows.shape[1] + history.shape[1]
    items, columns = np.empty(most, np.int32), np.empty(most, np.int32)
    codes = np.empty(most, np.int16)
    prior, strongest, moved = (
        np.empty(most, np.float32), np.empty(most, np.float32), np.empty(most, np.float32)
    )  # fmt: skip
    width, own = out_rows.shape[1], out_scores.shape[1] * WIDTH
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
            if not banned[b] and (j >= count or items[j] != b):
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
                if banned[b]:
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
        if count > width:
            moved[:count] = prior[:count]
            threshold = _largest(moved, count, width)
            ties = width
            for j in range(count):
                ties -= prior[j] > threshold
        else:
            threshold, ties = np.float32(-np.inf), 0
        kept = 0
        for j in range(count):
            tie = prior[j] == threshold
            if prior[j] > threshold or (tie and ties > 0):
                ties -= tie
                columns[j] = kept
                out_rows[n, kept], out_codes[n, kept] = items[j], codes[j]
                kept += 1
            else:
                columns[j] = -1
        out_counts[n] = kept
        out_rows[n, kept:] = -1
        out_codes[n, kept:] = -1
        out_scores[n] = 0
        for g in range(len(weights)):
            for c in range(starts[g], starts[g + 1]):
                b = rows[n, c]
                if b < 0:
                    break
                if not banned[b] and columns[at[b]] >= 0:
                    out_scores[n, g, columns[at[b]]] = scores[n, c]
        for e in range(excluded.shape[1]):
            if excluded[n, e] >= 0:
                banned[excluded[n, e]] = False


@njit(cache=True, nogil=True)
def _largest(values, count, k):  # type: ignore[no-untyped-def]
    """The k-th largest of `values[:count]`, which are moved about (Hoare's quickselect)."""
    low, high, at = 0, count - 1, k - 1
    while low < high:
        pivot = values[(low + high) // 2]
        i, j = low, high
        while i <= j:
            while values[i] > pivot:
                i += 1
            while values[j] < pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if at <= j:
            high = j
        elif at >= i:
            low = i
        else:
            break
    return values[at]
