"""The rules `not-bought` and `not-recent`: what the user has, or has just looked at, is not listed again."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from models.catalog import Catalog
from models.core import BOUGHT, RETURNED, QueryBatch, Rows, code
from models.kernels.jit import Array, kernel
from models.rerank.item_data import ItemData
from models.units import DAY_MS, SECOND_MS

DAY_S = DAY_MS // SECOND_MS
NEVER_S = np.inf


class NotBought:
    """Drops what the user bought, and other variants of it, unless it is time to buy it again.

    A purchase counts among the user's last 32 events, until its item is sent back.  Cost: 0.3 µs a list of
    160, and more for users who bought much.

    Parameters
    ----------
    returns_after_days
        Days after which an item may be listed again, by category; that of the nearest category counts.  In
        other categories what was bought never returns: coffee after three weeks, a tent not.

    Examples
    --------
    >>> from models.small_batches import query_batch
    >>> dropped, queries = np.zeros((1, 3), np.int32), query_batch([[7, 8]])
    >>> queries.kinds[0, 1] = BOUGHT
    >>> NotBought().apply(np.array([[7, 8, 9]], np.int32), dropped, 1, queries, ItemData.empty(10))
    >>> dropped.tolist()
    [[0, 1, 0]]
    """

    def __init__(self, returns_after_days: Mapping[str, float] = MappingProxyType({})) -> None:
        if any(not days >= 0 for days in returns_after_days.values()):
            raise ValueError("returns_after_days: must not be negative")
        self._categories = np.array([code(name) for name in returns_after_days], np.uint32)
        self._after_s = np.array([days * DAY_S for days in returns_after_days.values()], np.float64)

    def acts(self, catalog: Catalog) -> bool:
        """True: the history is known without a catalog."""
        return True

    def apply(self, rows: Rows, dropped: Rows, number: int, queries: QueryBatch, data: ItemData) -> None:
        """Drop what was bought."""
        catalog = data.catalog
        _not_bought(
            rows, dropped, number, queries.history, queries.kinds, queries.ages,
            catalog["group"], catalog["categories"], self._categories, self._after_s,
        )  # fmt: skip


class NotRecent:
    """Drops the items of the user's last events.

    Cost: 0.2 µs a list of 160.

    Parameters
    ----------
    last
        Number of the user's newest events whose items are dropped, at most 32.

    Examples
    --------
    >>> from models.small_batches import query_batch
    >>> dropped, data = np.zeros((1, 3), np.int32), ItemData.empty(10)
    >>> NotRecent(1).apply(np.array([[7, 8, 9]], np.int32), dropped, 1, query_batch([[8, 9]]), data)
    >>> dropped.tolist()
    [[0, 1, 0]]
    """

    def __init__(self, last: int = 1) -> None:
        if last < 1:
            raise ValueError("last: must be at least 1")
        self._last = last

    def acts(self, catalog: Catalog) -> bool:
        """True: the history is known without a catalog."""
        return True

    def apply(self, rows: Rows, dropped: Rows, number: int, queries: QueryBatch, data: ItemData) -> None:
        """Drop the latest items."""
        _not_recent(rows, dropped, number, queries.history[:, : self._last])


@kernel
def _not_recent(rows: Array, dropped: Array, number: int, history: Array) -> None:
    for n in range(len(rows)):
        for h in range(history.shape[1]):
            if history[n, h] < 0:
                break
            for j in range(rows.shape[1]):
                if rows[n, j] == history[n, h] and not dropped[n, j]:
                    dropped[n, j] = number


@kernel
def _not_bought(
    rows: Array,
    dropped: Array,
    number: int,
    history: Array,
    kinds: Array,
    ages: Array,
    groups: Array,
    categories: Array,
    returning: Array,
    after_s: Array,
) -> None:
    for n in range(len(rows)):
        for h in range(history.shape[1]):
            bought = history[n, h]
            if bought < 0:
                break
            if kinds[n, h] != BOUGHT:
                continue
            returned = False
            for later in range(h):
                returned |= history[n, later] == bought and kinds[n, later] == RETURNED
            if returned or ages[n, h] >= _returns_after(categories[bought], returning, after_s):
                continue
            group = groups[bought]
            for j in range(rows.shape[1]):
                row = rows[n, j]
                if row < 0:
                    break
                same = row == bought or (group != 0 and groups[row] == group)
                if same and not dropped[n, j]:
                    dropped[n, j] = number


@kernel
def _returns_after(categories: Array, returning: Array, after_s: Array) -> float:
    """Seconds after which an item of these categories may return; those after the first path follow it."""
    for category in categories:
        if category == 0:
            break
        for c in range(len(returning)):
            if returning[c] == category:
                return float(after_s[c])
    return NEVER_S
