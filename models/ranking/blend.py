"""A fixed blend: the weighted sum of what the generators say, each on a scale of its own best.

    score(b) = Σ_g weight_g · score_g(b) / max_b score_g(b)

Cost: O(candidates) a session, about 3 µs for 250.  Nothing is learnt and nothing kept.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from models.core import Candidates, Floats, Rows
from models.topk import select


class Union(NamedTuple):
    """The distinct candidates of all generators, for n sessions, m columns each; -1 pads."""

    rows: Rows
    scores: Floats
    generators: NDArray[np.int8]
    """int8[n, m]: number of the generator that speaks most for each."""
    sources: NDArray[np.int8]


class Blend:
    """Merges, and picks the best; scratch for `capacity` rows is kept between calls."""

    def __init__(self, capacity: int) -> None:
        self._score = np.zeros(capacity, np.float32)
        self._at = np.zeros(capacity, np.int32)

    def merge(self, proposals: Sequence[Candidates], weights: Sequence[float]) -> Union:
        """Each distinct candidate once, with its weighted sum."""
        n = len(proposals[0].rows)
        starts = np.cumsum([0, *(p.rows.shape[1] for p in proposals)])
        rows = np.concatenate([p.rows for p in proposals], axis=1)
        scores = np.concatenate([p.scores for p in proposals], axis=1)
        sources = np.concatenate([p.sources for p in proposals], axis=1)
        m = rows.shape[1]
        out = Union(
            np.full((n, m), -1, np.int32), np.zeros((n, m), np.float32),
            np.zeros((n, m), np.int8), np.full((n, m), -1, np.int8),
        )  # fmt: skip
        _merge(
            rows, scores, sources, starts, np.asarray(weights, np.float32), self._at,
            out.rows, out.scores, out.generators, out.sources,
        )  # fmt: skip
        return out

    def best(self, union: Union, excluded: Rows, k: int) -> tuple[Rows, Floats, NDArray[np.int32]]:
        """The k best but `excluded` (int32[n]): rows, scores, and their columns in the union; -1 pads."""
        n = len(union.rows)
        rows, columns = np.full((n, k), -1, np.int32), np.full((n, k), -1, np.int32)
        scores = np.zeros((n, k), np.float32)
        _best(union.rows, union.scores, excluded, self._score, self._at, rows, scores, columns)
        return rows, scores, columns


@njit(cache=True, nogil=True)
def _merge(  # type: ignore[no-untyped-def]
    rows, scores, sources, starts, weights, at, out_rows, out_scores, out_generators, out_sources
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
                    strongest[j], out_generators[n, j], out_sources[n, j] = part, g, sources[n, c]


@njit(cache=True, nogil=True)
def _best(rows, scores, excluded, score, at, out_rows, out_scores, out_columns):  # type: ignore[no-untyped-def]
    for n in range(len(rows)):
        count = 0
        for j in range(rows.shape[1]):
            b = rows[n, j]
            if b < 0:
                break
            count += 1
            at[b] = j
            score[b] = 0 if b == excluded[n] else scores[n, j]
        found = select(score, rows[n], count, out_rows[n], out_scores[n])
        for j in range(found):
            out_columns[n, j] = at[out_rows[n, j]]
        for j in range(found, out_rows.shape[1]):
            out_rows[n, j] = -1
            out_scores[n, j] = 0
