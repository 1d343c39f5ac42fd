"""The rules `boost` and `bury`: the shop lifts or lowers some items for a while."""

from collections.abc import Sequence

import numpy as np

from models.core import Floats, QueryBatch, Rows
from models.rerank.item_data import ItemData
from models.rerank.targets import Period, Targets


class Boost:
    """Multiplies the scores of some candidates by a factor; what no generator proposes stays away.

    Cost: 3 µs a list of 160.

    Parameters
    ----------
    items, categories, brands
        What is meant: items by id, all of a category (also of those below it), all of a brand.
    factor
        Scores are multiplied by it.
    start, end
        When: RFC 3339 with an offset, or ms since the epoch; from always, or without an end, where not given.

    Examples
    --------
    >>> from models.small_batches import query_batch
    >>> data, scores = ItemData.empty(10), np.array([[0.5, 0.4]], np.float32)
    >>> rows = np.array([[data.items.admit("kettle", 0), data.items.admit("tent", 0)]], np.int32)
    >>> Boost(items=["tent"], factor=2).weigh(rows, scores, query_batch([[5]]), data)
    >>> scores.tolist()
    [[0.5, 0.800000011920929]]
    """

    power = 1
    """Power of the factor by which scores are multiplied."""

    def __init__(
        self,
        items: Sequence[str] = (),
        categories: Sequence[str] = (),
        brands: Sequence[str] = (),
        factor: float = 2.0,
        start: str | int | None = None,
        end: str | int | None = None,
    ) -> None:
        if not 1 <= factor <= 1e6:
            raise ValueError("factor: must be from 1 to 1000000")
        self._targets, self._period = Targets(items, categories, brands), Period(start, end)
        self._factor = np.float32(factor) ** self.power

    def weigh(self, rows: Rows, scores: Floats, queries: QueryBatch, data: ItemData) -> None:
        """Multiply the scores, float32[n, m], in place."""
        meant = self._targets.among(rows, data) & self._period.covers(queries.times)[:, None]
        scores[meant] *= self._factor


class Bury(Boost):
    """Divides the scores of some candidates by a factor, as `Boost` multiplies them.

    >>> from models.small_batches import query_batch
    >>> data, scores = ItemData.empty(10), np.array([[0.5]], np.float32)
    >>> rows = np.array([[data.items.admit("kettle", 0)]], np.int32)
    >>> Bury(items=["kettle"], factor=4).weigh(rows, scores, query_batch([[5]]), data)
    >>> scores.tolist()
    [[0.125]]
    """

    power = -1
