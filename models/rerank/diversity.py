"""The rule `diversity`: the items of a list shall differ from each other."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.core import Floats, Rows
from models.kernels.jit import Array, kernel
from models.ranking.best import PINNED, Best
from models.rerank.item_data import ItemData

AHEAD = 3
"""Candidates that an item of the list is chosen from, for each item of the list."""
SMALLEST = 1e-6
"""Bound of what is new of an item, so that its logarithm exists."""


class Diversity:
    """Chooses the list greedily, weighing scores against likeness.

        MMR    argmax_i  (1 − weight) s_i / s_1 − weight · max_{j chosen} cos(i, j)
        DPP    argmax_i  (1 − weight) log(s_i / s_1) + weight · log d_i²

    s_i is the score of i, s_1 the highest, and d_i² what of i's vector lies outside of the span of those
    chosen: the list is the greedy maximum of a determinant, found in O(k² m) by updates of a Cholesky factor.
    Carbonell and Goldstein 1998 ("The use of MMR, diversity-based reranking"); Chen et al. 2018 ("Fast Greedy
    MAP Inference for Determinantal Point Process to Improve Recommendation Diversity").  Candidates are the
    first 3 k of the ranked list, after all other rules; scores stay those of the ranker, so that they need
    not descend.

    Cost: 15 to 25 µs a list of 20.

    Parameters
    ----------
    weight
        The slider: 0 keeps the ranked list, 1 looks at likeness alone.
    method
        `dpp` or `mmr`.
    over
        What makes items alike: `embeddings` of the model, the `words` of the catalog, or the name of one of
        its vectors (setting `catalog_vectors`).  An item without it is like nothing.

    Examples
    --------
    >>> vectors = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    >>> data = ItemData.empty(3)._replace(vectors=vectors)
    >>> rows, codes = np.array([[0, 1, 2]], np.int32), np.zeros((1, 3), np.int16)
    >>> ranked = Best(rows, np.array([[0.9, 0.8, 0.5]]), codes)
    >>> Diversity(0.5).choose(ranked, 2, data).rows.tolist()
    [[0, 2]]
    """

    def __init__(
        self,
        weight: float = 0.2,
        method: Literal["dpp", "mmr"] = "dpp",
        over: str = "embeddings",
    ) -> None:
        if not 0 <= weight <= 1:
            raise ValueError("weight: must be from 0 to 1")
        if method not in ("dpp", "mmr"):
            raise ValueError(f"method: {method!r} is not dpp or mmr")
        if not isinstance(over, str):
            raise ValueError(f"over: {over!r} is not embeddings, words or the name of a vector")
        self._weight, self._method, self._over = float(weight), method, over

    def choose(self, ranked: Best, k: int, data: ItemData) -> Best:
        """The k items of each list that are chosen, in the order of the choice."""
        likeness = self._likeness(ranked.rows, data)
        shape = len(ranked.rows), k
        out = Best(np.empty(shape, np.int32), np.empty(shape, np.float64), np.empty(shape, np.int16))
        _choose(*ranked, likeness, self._weight, self._method == "dpp", *out)
        return out

    def _likeness(self, rows: Rows, data: ItemData) -> Floats:
        """Cosines between the items of each list, float32[n, m, m]."""
        if self._over == "words":
            words = data.catalog["words"][rows]
            shared: Floats = _shared(words * (rows >= 0)[:, :, None].astype(np.uint16))
            return shared
        by_item: NDArray[np.floating] | None = data.vectors
        if self._over != "embeddings":
            by_item = data.catalog.vectors.get(self._over)
        if by_item is None:
            return np.zeros((*rows.shape, rows.shape[1]), np.float32)
        vectors = by_item[rows].astype(np.float32, copy=False)
        lengths = np.sqrt((vectors * vectors).sum(-1, keepdims=True))
        vectors = vectors / np.maximum(lengths, np.float32(1e-12))
        cosines: Floats = vectors @ vectors.transpose(0, 2, 1)
        return cosines


@kernel
def _shared(words: Array) -> Array:
    """Share of common words: |a ∩ b| / √(|a| |b|)."""
    n, m, _ = words.shape
    out = np.zeros((n, m, m), np.float32)
    position, counts = np.zeros(65_536, np.bool_), np.zeros(m, np.int32)
    for q in range(n):
        for a in range(m):
            counts[a] = 0
            for f in words[q, a]:
                counts[a] += f != 0
        for a in range(m):
            for f in words[q, a]:
                position[f] = f != 0
            for b in range(a):
                common = 0
                for f in words[q, b]:
                    common += position[f]
                if common:
                    out[q, a, b] = out[q, b, a] = common / np.sqrt(np.float32(counts[a]) * counts[b])
            for f in words[q, a]:
                position[f] = False
            out[q, a, a] = 1
    return out


@kernel
def _choose(
    rows: Array,
    scores: Array,
    codes: Array,
    likeness: Array,
    weight: float,
    dpp: bool,
    out_rows: Array,
    out_scores: Array,
    out_codes: Array,
) -> None:
    m, k = rows.shape[1], out_rows.shape[1]
    factor, news, nearest = np.zeros((k, m)), np.zeros(m), np.zeros(m)
    free = np.zeros(m, np.bool_)
    for n in range(len(rows)):
        news[:], nearest[:] = 1, 0
        free[:] = rows[n] >= 0
        size = 0
        while size < k:
            at, highest = -1, -np.inf
            for j in range(m):
                if not free[j]:
                    continue
                if codes[n, j] == PINNED:  # they come first
                    at = j
                    break
                share = max(scores[n, j] / max(scores[n, 0], 1e-30), 1e-30)
                if dpp:
                    value = (1 - weight) * np.log(share) + weight * np.log(max(news[j], SMALLEST))
                else:
                    value = (1 - weight) * share - weight * nearest[j]
                if value > highest:
                    at, highest = j, value
            if at < 0:
                break
            out_rows[n, size], out_scores[n, size] = rows[n, at], scores[n, at]
            out_codes[n, size] = codes[n, at]
            free[at] = False
            length = np.sqrt(max(news[at], SMALLEST))
            for j in range(m):
                if free[j]:
                    nearest[j] = max(nearest[j], likeness[n, at, j])
                    if dpp:
                        part = np.float64(likeness[n, at, j])
                        for s in range(size):
                            part -= factor[s, at] * factor[s, j]
                        factor[size, j] = part / length
                        news[j] -= factor[size, j] * factor[size, j]
            size += 1
        out_rows[n, size:], out_scores[n, size:], out_codes[n, size:] = -1, 0, -1
