"""The rule `pin`: the shop puts items at the top for a while."""

from collections.abc import Sequence

import numpy as np

from models.core import QueryBatch, Rows
from models.rerank.item_data import ItemData
from models.rerank.targets import Period, Targets


class Pin:
    """Puts these items at the top of every list, in this order, whatever their scores.

    An item that is not offered, that the request excludes or that another rule drops is not listed.  Cost:
    nothing, unless something is pinned; then 5 µs a list.

    Parameters
    ----------
    items
        Ids of the items.
    start, end
        When: RFC 3339 with an offset, or ms since the epoch; from always, or without an end, where not given.

    Examples
    --------
    >>> from models.small_batches import query_batch
    >>> data = ItemData.empty(10)
    >>> row = data.items.admit("tent", 0)
    >>> Pin(["tent", "unknown"]).pinned(query_batch([[5]]), data).tolist()
    [[0, -1]]
    """

    def __init__(
        self, items: Sequence[str], start: str | int | None = None, end: str | int | None = None
    ) -> None:
        self._targets, self._period = Targets(items), Period(start, end)

    def pinned(self, queries: QueryBatch, data: ItemData) -> Rows:
        """The pinned rows of each query, int32[n, any]; -1 where there is none."""
        rows = np.array(data.items.rows(self._targets.items), np.int32)
        return np.where(self._period.covers(queries.times)[:, None], rows, np.int32(-1))
