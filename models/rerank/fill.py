"""Fill lists for which there are too few candidates, while the shop offers anything else."""

import numpy as np
from numpy.typing import NDArray

from models.catalog_filter import FILTERS
from models.components import Counting
from models.core import QueryBatch, Rows
from models.ranking.best import Best
from models.rerank.item_data import ItemData
from models.rerank.rules import Rules

ORDER = 1024
"""Items kept in order; a list that needs more of them looks at all."""
RENEWED_AFTER = 64
"""Lists that are filled from one order, unless the catalog changes: sorting a million items takes 15 ms."""

Offered = NDArray[np.bool_]


class Fill:
    """Adds the most popular offered items to lists that are too short, and then any other offered ones.

    The generators propose some dozens of items each.  Where the shop does not offer many of those, a list
    would be short although it offers others.  Without a catalog every item is offered and lists stay as they
    are.  Cost: a comparison a micro-batch; 20 µs a list that is filled, and more with rules.

    Parameters
    ----------
    data
        The items and their rows, and whether there is a catalog.
    popularity
        Counts of events by row; None: filled in the order of the rows.
    rules
        What must not be listed, also among these.
    """

    def __init__(self, data: ItemData, popularity: Counting | None, rules: Rules) -> None:
        self._data, self._popularity, self._rules = data, popularity, rules
        self._orders: dict[str, tuple[int, Rows, int]] = {}
        """Number of changes of the catalog, the best offered rows then, best first, and how many lists were
        filled from them, by filter."""

    def fill(self, lists: Best, queries: QueryBatch, excluded: Rows, where: str, offered: Offered) -> Best:
        """The lists, with offered items at the end of those that are short; in place.

        `excluded`, int32[n, any], padded with -1, may not be listed.  `offered`, bool[capacity], are the
        items that meet the filter `where`.
        """
        short = np.flatnonzero(lists.rows[:, -1] < 0) if self._data.catalog.in_use else ()
        for n in short:
            query = queries.take(slice(n, n + 1))
            order = self._best(where, offered)
            size, further = self._further(lists.rows[n], query, excluded[n], order)
            if size + len(further) < lists.rows.shape[1] and len(order) == ORDER:
                everything = self._ordered(len(self._data.items.ids), offered)
                size, further = self._further(lists.rows[n], query, excluded[n], everything)
            lists.rows[n, size : size + len(further)] = further
            lists.codes[n, size : size + len(further)] = 0
        return lists

    def _further(self, listed: Rows, query: QueryBatch, excluded: Rows, order: Rows) -> tuple[int, Rows]:
        """The number of items in a list, and those of `order` that may follow them."""
        size = int((listed >= 0).sum())
        rows = np.concatenate([listed[:size], order[~np.isin(order, [*listed[:size], *excluded])]])
        if self._rules.drop(self._data.catalog):
            rows = rows[self._rules.dropped_by(rows[None], query, self._data)[0] == 0]
        return size, rows[size : len(listed)]

    def _best(self, where: str, offered: Offered) -> Rows:
        now = self._data.catalog.changes
        changes, order, filled = self._orders.pop(where, (-1, np.zeros(0, np.int32), 0))
        if changes != now or filled >= RENEWED_AFTER:
            order, filled = self._ordered(ORDER, offered), 0
        self._orders[where] = now, order, filled + 1
        if len(self._orders) > FILTERS:
            del self._orders[next(iter(self._orders))]
        return order

    def _ordered(self, count: int, offered: Offered) -> Rows:
        """Up to `count` offered rows, most popular first, then by row; int32[m]."""
        ids = self._data.items.ids
        rows = np.flatnonzero(offered[: len(ids)]).astype(np.int32)
        values = np.zeros(len(rows)) if self._popularity is None else self._popularity.values(rows)
        if count < len(rows):
            best = np.argpartition(-values, count - 1)[:count]
            rows, values = rows[best], values[best]
        return np.array([row for row in rows[np.lexsort((rows, -values))].tolist() if ids[row]], np.int32)
