"""Metrics of lists by what the catalog says of their items: categories and authors.

category diversity      share of the pairs of a list whose main categories differ
category shares         share of each main category of all that was listed, the ten largest
author Gini             how unequally often authors are listed, over all in the catalog (exposure: Singh and
Joachims 2018, "Fairness of Exposure in Rankings")
least-shown decile      share of what was listed that is by the tenth of the authors who are listed least
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.catalog import Catalog
from models.core import Rows
from models.evaluation.metrics import gini

LARGEST = 10


class CatalogMetrics:
    """Sums over the lists of one recommender.

    >>> from models.catalog import Entry, columns
    >>> catalog = Catalog(4)
    >>> catalog.begin()
    >>> entries = [Entry(author=a, categories=(c,)) for a, c in ("Ax", "Ay", "Bx")]
    >>> catalog.put(np.arange(3), columns(entries))
    >>> metrics = CatalogMetrics(catalog)
    >>> metrics.add(np.array([[0, 1, 2]], np.int32))
    >>> result = metrics.result(np.array([1, 1, 1, 0]), {})
    >>> round(result["category_diversity"], 3), round(result["author_gini"], 3)
    (0.667, 0.167)
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._different = self._pairs = 0

    def add(self, rows: Rows) -> None:
        """Count lists, int32[n, k], padded with -1."""
        if not self._catalog.in_use:
            return
        codes = np.where(rows >= 0, self._catalog["categories"][rows, 0], np.uint32(0))
        both = (codes[:, :, None] != 0) & (codes[:, None] != 0)
        both &= np.arange(rows.shape[1])[:, None] < np.arange(rows.shape[1])
        self._pairs += int(both.sum())
        self._different += int((both & (codes[:, :, None] != codes[:, None])).sum())

    def result(self, listed: NDArray[np.int64], names: Mapping[int, str]) -> dict[str, Any] | None:
        """The metrics by name; None without a catalog.

        listed: how often each row was in a list, int64[capacity].
        names: names of categories by their codes; a category without one has its code.
        """
        if not self._catalog.in_use:
            return None
        authors = _sums(self._catalog["author"], listed)
        counts = np.sort(np.array(list(authors.values()), np.int64))
        least = counts[: -(-len(counts) // 10)]
        categories = _sums(self._catalog["categories"][:, 0], listed)
        total = max(int(listed.sum()), 1)
        largest = sorted(categories.items(), key=lambda entry: -entry[1])[:LARGEST]
        shares = {names.get(code, str(code)): count / total for code, count in largest if count}
        return {
            "category_diversity": self._different / self._pairs if self._pairs else 0.0,
            "category_shares": shares,
            "author_gini": gini(counts) if len(counts) else 0.0,
            "least_shown_decile": int(least.sum()) / max(int(counts.sum()), 1),
        }


def _sums(codes: NDArray[np.uint32], listed: NDArray[np.int64]) -> dict[int, int]:
    """How often items of each code were listed; 0 is none."""
    known = np.flatnonzero(codes)
    distinct, place = np.unique(codes[known], return_inverse=True)
    sums = np.bincount(place, weights=listed[known], minlength=len(distinct)).astype(np.int64)
    return dict(zip(distinct.tolist(), sums.tolist(), strict=True))
