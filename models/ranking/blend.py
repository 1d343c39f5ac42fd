"""A fixed blend: the weighted sum of what the generators say, each on a scale of its own best.

    score(b) = Σ_g weight_g · score_g(b) / max_b score_g(b)

Cost: O(candidates) a session, about 3 µs for 250.  Nothing is learnt and nothing kept.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from models.core import HISTORY, Candidates, Floats, Rows
from models.topk import select


class Union(NamedTuple):
    """The distinct candidates of all generators, for n sessions, m columns each; -1 pads."""

    rows: Rows
    """int32[n, m]."""
    scores: Floats
    """float32[n, m]."""
    codes: NDArray[np.int16]
    """int16[n, m]: what speaks most for each, as generator × `WIDTH` + column of the session + 1."""


class Best(NamedTuple):
    """The best of a union, best first, k columns each; -1 pads the rows."""

    rows: Rows
    scores: NDArray[np.float64]
    codes: NDArray[np.int16]


WIDTH = HISTORY + 1
"""Codes of a generator: one for each column of the session, and one for none."""


class Blend:
    """Merges, adds, and picks the best; scratch for `capacity` rows is kept between calls."""

    def __init__(self, capacity: int) -> None:
        self._score = np.zeros(capacity, np.float32)
        self._at = np.zeros(capacity, np.int32)

    def merge(self, proposals: Sequence[Candidates], weights: Sequence[float]) -> Union:
        """Each distinct candidate once, with its weighted sum.  There must be a proposal."""
        starts = np.cumsum([0, *(p.rows.shape[1] for p in proposals)])
        rows, scores, sources = (
            np.concatenate(part, axis=1) for part in zip(*map(_parts, proposals), strict=True)
        )
        out = Union(np.empty_like(rows), np.empty_like(scores), np.empty(rows.shape, np.int16))
        _merge(rows, scores, sources, starts, np.asarray(weights, np.float32), self._at, *out)
        return out

    def add(self, union: Union, scores: Floats, weight: float) -> None:
        """Add another opinion on the candidates, float32[n, m], on a scale of its own best."""
        _add(union.scores, scores, np.float32(weight))

    def best(self, union: Union, excluded: Rows, k: int) -> Best:
        """The k best but `excluded`, int32[n, any], -1 pads."""
        shape = len(union.rows), k
        out = Best(np.empty(shape, np.int32), np.empty(shape, np.float64), np.empty(shape, np.int16))
        _best(*union, excluded, self._score, self._at, np.empty(k, np.float32), *out)
        return out


def _parts(proposal: Candidates) -> tuple[Rows, Floats, NDArray[np.int8]]:
    return proposal.rows, proposal.scores, proposal.sources


@njit(cache=True, nogil=True)
def _merge(  # type: ignore[no-untyped-def]
    rows, scores, sources, starts, weights, at, out_rows, out_scores, out_codes
):
    strongest = np.zeros(rows.shape[1], np.float32)
    for n in range(len(rows)):
        count = 0
        for g in range(len(weights)):
            highest = scores[n, starts[g]]  # best first
            if highest <= 0:
                continue
            for c in range(starts[g], starts[g + 1]):
                b = rows[n, c]
                if b < 0:
                    break
                part = weights[g] * scores[n, c] / highest
                j = at[b]
                if j >= count or out_rows[n, j] != b:
                    j = count
                    count += 1
                    at[b], out_rows[n, j], out_scores[n, j], strongest[j] = j, b, 0, -1
                out_scores[n, j] += part
                if part > strongest[j]:
                    strongest[j], out_codes[n, j] = part, g * WIDTH + sources[n, c] + 1
        out_rows[n, count:] = -1
        out_scores[n, count:] = 0
        out_codes[n, count:] = 0


@njit(cache=True, nogil=True)
def _add(scores, more, weight):  # type: ignore[no-untyped-def]
    for n in range(len(scores)):
        highest = more[n].max()
        if highest > 0:
            for j in range(scores.shape[1]):
                scores[n, j] += weight * more[n, j] / highest


@njit(cache=True, nogil=True)
def _best(  # type: ignore[no-untyped-def]
    rows, scores, codes, excluded, score, at, found_scores, out_rows, out_scores, out_codes
):
    for n in range(len(rows)):
        count = 0
        for j in range(rows.shape[1]):
            b = rows[n, j]
            if b < 0:
                break
            count += 1
            at[b] = j
            score[b] = scores[n, j]
        for j in range(excluded.shape[1]):
            if excluded[n, j] >= 0:
                score[excluded[n, j]] = 0
        found = select(score, rows[n], count, out_rows[n], found_scores)
        for j in range(found):
            out_scores[n, j] = found_scores[j]
            out_codes[n, j] = codes[n, at[out_rows[n, j]]]
        out_rows[n, found:] = -1
        out_scores[n, found:] = 0
        out_codes[n, found:] = 0
