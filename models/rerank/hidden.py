"""The rules `hidden` and `adult`: what this user must not be shown."""

from collections.abc import Sequence

import numpy as np

from models.catalog import Catalog
from models.core import QueryBatch, Rows, attribute_code
from models.kernels.jit import Array, kernel
from models.rerank.item_data import ItemData


class Hidden:
    """Drops the items and brands that the user hid, until they are unhidden (events `hide` and `unhide`).

    Cost: nothing for users who hid nothing.

    Examples
    --------
    >>> from models.small_batches import query_batch
    >>> dropped, queries = np.zeros((1, 2), np.int32), query_batch([[5]])
    >>> queries = queries._replace(hidden=np.array([[8]], np.int32))
    >>> Hidden().apply(np.array([[7, 8]], np.int32), dropped, 1, queries, ItemData.empty(10))
    >>> dropped.tolist()
    [[0, 1]]
    """

    def acts(self, catalog: Catalog) -> bool:
        """True: items are hidden also without a catalog."""
        return True

    def apply(self, rows: Rows, dropped: Rows, number: int, queries: QueryBatch, data: ItemData) -> None:
        """Drop what was hidden."""
        if queries.hidden.shape[1] or queries.hidden_brands.shape[1]:
            _hidden(rows, dropped, number, queries.hidden, queries.hidden_brands, data.catalog["brand"])


class Adult:
    """Drops items for adults, unless the user is known to be one.

    Cost: 1 µs a list of 160.

    Parameters
    ----------
    attribute
        The attribute of the user's profile that decides.
    values
        The values that adults have.

    Examples
    --------
    >>> from models.catalog import Entry, columns
    >>> from models.small_batches import query_batch
    >>> catalog, dropped = Catalog(10), np.zeros((1, 2), np.int32)
    >>> catalog.put(np.arange(2), columns([Entry(adult=True), Entry()]))
    >>> rows = np.array([[0, 1]], np.int32)
    >>> Adult().apply(rows, dropped, 1, query_batch([[5]]), ItemData.empty(10, catalog))
    >>> dropped.tolist()
    [[1, 0]]
    """

    def __init__(self, attribute: str = "adult", values: Sequence[str | float] = ("yes",)) -> None:
        if not isinstance(attribute, str) or not attribute:
            raise ValueError("attribute: expected a name")
        if isinstance(values, str):
            raise ValueError("values: expected a list")
        self._codes = np.array([attribute_code(attribute, value) for value in values], np.uint32)

    def acts(self, catalog: Catalog) -> bool:
        """Whether it is known what is for adults."""
        return catalog.in_use

    def apply(self, rows: Rows, dropped: Rows, number: int, queries: QueryBatch, data: ItemData) -> None:
        """Drop what is for adults only."""
        _adult(rows, dropped, number, queries.attributes, self._codes, data.catalog["adult"])


@kernel
def _hidden(
    rows: Array, dropped: Array, number: int, hidden: Array, hidden_brands: Array, brands: Array
) -> None:
    for n in range(len(rows)):
        for j in range(rows.shape[1]):
            row = rows[n, j]
            if row < 0:
                break
            if dropped[n, j]:
                continue
            for item in hidden[n]:
                if item == row:
                    dropped[n, j] = number
            for brand in hidden_brands[n]:
                if brand != 0 and brand == brands[row]:
                    dropped[n, j] = number


@kernel
def _adult(rows: Array, dropped: Array, number: int, attributes: Array, allowed: Array, adult: Array) -> None:
    for n in range(len(rows)):
        is_adult = False
        for attribute in attributes[n]:
            for value in allowed:
                is_adult |= attribute == value
        if is_adult:
            continue
        for j in range(rows.shape[1]):
            if rows[n, j] < 0:
                break
            if adult[rows[n, j]] and not dropped[n, j]:
                dropped[n, j] = number
