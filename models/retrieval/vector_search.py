"""Which known items have the most alike vectors, of the shop's own models?"""

import numpy as np
from numpy.typing import NDArray

from models.core import Floats, Rows

COMPARED = 20_000
"""Items that are compared with each, at most: 512 numbers of each are 40 MB, and 1 to 2 ms."""


class VectorSearch:
    """The items nearest by cosine, among the rows that were indexed; exact.

        likeness(a, b) = max((cos(a, b) − m_a) / (1 − m_a), 0)      m_a: the mean of cos(a, c) over all c

    Vectors of most encoders lie in a narrow cone (Ethayarajh 2019, "How Contextual are Contextualized Word
    Representations?"), so that a cosine says little by itself; what is above the mean can be compared with
    the cosines of words.

    Memory: 4 × length bytes an item of the first 20,000 that are indexed.

    Parameters
    ----------
    vectors
        Vectors of length 1 by row, float16[capacity, length], 0 of an item without one; it may change later.

    Examples
    --------
    >>> search = VectorSearch(np.array([[1, 0], [0.6, 0.8], [0, 0], [1, 0]], np.float16))
    >>> search.build(np.array([0, 1, 2], np.int32))
    >>> search.nearest(np.array([3], np.int32), 2)[0].tolist()
    [[0, -1]]
    """

    def __init__(self, vectors: NDArray[np.float16]) -> None:
        self._vectors = vectors
        self._rows = np.zeros(0, np.int32)
        self._known = np.zeros((0, vectors.shape[1]), np.float32)

    def build(self, rows: Rows) -> None:
        """Index exactly these rows, int32[n], best known first; those without a vector are left out."""
        self._rows = rows[self._vectors[rows].any(1)][:COMPARED]
        self._known = self._vectors[self._rows].astype(np.float32)

    def remove(self, rows: Rows) -> None:
        """Take these rows out of the index until it is built again."""
        self._known[np.isin(self._rows, rows)] = 0

    def nearest(self, rows: Rows, k: int) -> tuple[Rows, Floats]:
        """The k indexed items nearest to each of these, itself left out, best first, and their likeness.

        int32[n, k], padded with -1, and float32[n, k].
        """
        out, likeness = np.full((len(rows), k), -1, np.int32), np.zeros((len(rows), k), np.float32)
        if not len(self._rows):
            return out, likeness
        cosines = self._vectors[rows].astype(np.float32) @ self._known.T
        means = cosines.mean(1, keepdims=True)
        cosines[rows[:, None] == self._rows] = 0
        most = min(k, cosines.shape[1])
        best = np.argpartition(-cosines, most - 1, 1)[:, :most]
        values = np.take_along_axis(cosines, best, 1)
        order = np.argsort(-values, axis=1, kind="stable")
        best, values = np.take_along_axis(best, order, 1), np.take_along_axis(values, order, 1)
        values = np.maximum((values - means) / np.maximum(1 - means, np.float32(1e-6)), 0)
        found = values > 0
        out[:, :most][found], likeness[:, :most][found] = self._rows[best][found], values[found]
        return out, likeness
