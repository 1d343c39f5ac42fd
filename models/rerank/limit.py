"""The rules `one-of-group` and `at-most`: no more than n items of a list are of one name."""

from typing import Literal

import numpy as np

from models.catalog import Catalog
from models.core import QueryBatch, Rows
from models.kernels.jit import Array, kernel
from models.rerank.item_data import ItemData


class AtMost:
    """Keeps the n best items of each brand, author, main category or group.

    Items without one are all kept.  Cost: 0.3 µs a list of 160.

    Parameters
    ----------
    of
        `brand`, `author`, `category` (the main one, as its whole path) or `group`.
    n
        Items of one name that are kept.

    Examples
    --------
    >>> from models.catalog import Entry, columns
    >>> from models.small_batches import query_batch
    >>> catalog, dropped = Catalog(10), np.zeros((1, 3), np.int32)
    >>> catalog.put(np.arange(3), columns(Entry(brand=brand) for brand in ("Fjell", "Fjell", "Tork")))
    >>> data = ItemData.empty(10, catalog)
    >>> AtMost("brand", 1).apply(np.array([[0, 1, 2]], np.int32), dropped, 7, query_batch([[5]]), data)
    >>> dropped.tolist()
    [[0, 7, 0]]
    """

    def __init__(self, of: Literal["brand", "author", "category", "group"] = "category", n: int = 3) -> None:
        if of not in ("brand", "author", "category", "group"):
            raise ValueError(f"of: {of!r} is not brand, author, category or group")
        if n < 1:
            raise ValueError("n: must be at least 1")
        self._of, self._most = of, n

    def acts(self, catalog: Catalog) -> bool:
        """Whether it is known what is of one name."""
        return catalog.in_use

    def apply(self, rows: Rows, dropped: Rows, number: int, queries: QueryBatch, data: ItemData) -> None:
        """Drop the items after the n-th of their name."""
        slots = 1 << (2 * rows.shape[1]).bit_length()  # a table of names that is half full at most
        _apply(rows, dropped, number, self._codes(data.catalog), self._most, slots)

    def _codes(self, catalog: Catalog) -> Array:
        return catalog["categories"][:, 0] if self._of == "category" else catalog[self._of]


def one_of_group() -> AtMost:
    """Keeps the best variant of each product.

    >>> type(one_of_group()).__name__
    'AtMost'
    """
    return AtMost("group", 1)


@kernel
def _apply(rows: Array, dropped: Array, number: int, codes: Array, most: int, slots: int) -> None:
    names, counts = np.zeros(slots, np.uint32), np.zeros(slots, np.int32)
    for n in range(len(rows)):
        names[:] = 0
        for j in range(rows.shape[1]):
            row = rows[n, j]
            if row < 0:
                break
            code = codes[row]
            if code == 0 or dropped[n, j]:
                continue
            slot = code & (slots - 1)
            while names[slot] != 0 and names[slot] != code:
                slot = (slot + 1) & (slots - 1)
            if names[slot] == 0:
                names[slot], counts[slot] = code, 0
            counts[slot] += 1
            if counts[slot] > most:
                dropped[n, j] = number
