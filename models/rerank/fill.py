"""Fill lists for which there are too few candidates, while the shop offers anything else."""

import numpy as np

from models.catalog import Catalog
from models.components import Counting
from models.core import QueryBatch, Rows
from models.ranking.best import Best
from models.rerank.rules import Rules
from models.rows import ItemRows

ORDER = 1024
"""Items kept in order; a list that needs more of them looks at all."""
RENEWED_AFTER = 64
"""Lists that are filled from one order, unless the catalog changes: sorting a million items takes 15 ms."""


class Fill:
    """Adds the most popular offered items to lists that are too short, and then any other offered ones.

    The generators propose some dozens of items each.  Where the shop does not offer many of those, a list
    would be short although it offers others.  Without a catalog every item is offered and lists stay as they
    are.  Cost: a comparison a micro-batch; 20 µs a list that is filled, and more with rules.

    Parameters
    ----------
    items
        The items and their rows.
    catalog
        What is offered.
    popularity
        Counts of events by row; None: filled in the order of the rows.
    rules
        What must not be listed, also among these.
    """

    def __init__(self, items: ItemRows, catalog: Catalog, popularity: Counting | None, rules: Rules) -> None:
        self._items, self._catalog, self._popularity, self._rules = items, catalog, popularity, rules
        self._order: tuple[int, Rows] = -1, np.zeros(0, np.int32)
        """The number of changes of the catalog, and the best offered rows then, best first."""
        self._filled = 0

    def fill(self, lists: Best, queries: QueryBatch, excluded: Rows) -> Best:
        """The lists, with offered items at the end of those that are short; in place.

        `excluded`, int32[n, any], padded with -1, may not be listed.
        """
        short = np.flatnonzero(lists.rows[:, -1] < 0) if self._catalog.in_use else ()
        for n in short:
            query = queries.take(slice(n, n + 1))
            order = self._best()
            size, further = self._further(lists.rows[n], query, excluded[n], order)
            if size + len(further) < lists.rows.shape[1] and len(order) == ORDER:
                everything = self._ordered(len(self._items.ids))
                size, further = self._further(lists.rows[n], query, excluded[n], everything)
            lists.rows[n, size : size + len(further)] = further
            lists.codes[n, size : size + len(further)] = 0
        return lists

    def _further(self, listed: Rows, query: QueryBatch, excluded: Rows, order: Rows) -> tuple[int, Rows]:
        """The number of items in a list, and those of `order` that may follow them."""
        size = int((listed >= 0).sum())
        rows = np.concatenate([listed[:size], order[~np.isin(order, [*listed[:size], *excluded])]])
        if self._rules.act(self._catalog):
            rows = rows[self._rules.dropped_by(rows[None], query, self._catalog)[0] == 0]
        return size, rows[size : len(listed)]

    def _best(self) -> Rows:
        changes, order = self._order
        if changes != self._catalog.changes or self._filled >= RENEWED_AFTER:
            self._filled, order = 0, self._ordered(ORDER)
            self._order = self._catalog.changes, order
        self._filled += 1
        return order

    def _ordered(self, count: int) -> Rows:
        """Up to `count` offered rows, most popular first, then by row; int32[m]."""
        rows = np.flatnonzero(self._catalog.offered[: len(self._items.ids)]).astype(np.int32)
        values = np.zeros(len(rows)) if self._popularity is None else self._popularity.values(rows)
        if count < len(rows):
            best = np.argpartition(-values, count - 1)[:count]
            rows, values = rows[best], values[best]
        ids = self._items.ids
        return np.array([row for row in rows[np.lexsort((rows, -values))].tolist() if ids[row]], np.int32)
