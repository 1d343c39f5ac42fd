"""The items that a setting of a rule names, and when."""

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from models.core import Rows, code
from models.rerank.item_data import ItemData
from models.units import SECOND_MS

NEVER_MS = 2**62


class Targets:
    """Items that are named by their ids, by a category or by a brand.

    >>> data = ItemData.empty(10)
    >>> row = data.items.admit("tent", 0)
    >>> Targets(items=["tent"]).among(np.array([[row, 3, -1]], np.int32), data).tolist()
    [[True, False, False]]
    """

    def __init__(
        self, items: Sequence[str] = (), categories: Sequence[str] = (), brands: Sequence[str] = ()
    ) -> None:
        self.items = names("items", items)
        self._categories = np.array([code(name) for name in names("categories", categories)], np.uint32)
        self._brands = np.array([code(name) for name in names("brands", brands)], np.uint32)
        if not (self.items or len(self._categories) or len(self._brands)):
            raise ValueError("needs items, categories or brands")

    def among(self, rows: Rows, data: ItemData) -> NDArray[np.bool_]:
        """Whether each of these rows, int32[n, m] padded with -1, is meant."""
        meant = np.isin(rows, data.items.rows(self.items))
        if len(self._brands):
            meant |= np.isin(data.catalog["brand"][rows], self._brands)
        if len(self._categories):
            meant |= np.isin(data.catalog["categories"][rows], self._categories).any(-1)
        return meant & (rows >= 0)


class Period:
    """The time from `start` to before `end`: RFC 3339 with an offset, or ms since the epoch.

    >>> Period("2026-11-27T00:00:00Z", None).covers(np.array([0, 1_800_000_000_000])).tolist()
    [False, True]
    """

    def __init__(self, start: str | int | None, end: str | int | None) -> None:
        self._start = 0 if start is None else _milliseconds("start", start)
        self._end = NEVER_MS if end is None else _milliseconds("end", end)
        if self._start >= self._end:
            raise ValueError("start: must be before end")

    def covers(self, times: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether each time, ms, is in the period."""
        return (self._start <= times) & (times < self._end)


def names(parameter: str, value: Sequence[str]) -> tuple[str, ...]:
    """The value of a parameter that is a list of names; `ValueError` names it if it is something else."""
    if isinstance(value, str) or not all(isinstance(name, str) and name for name in value):
        raise ValueError(f"{parameter}: expected a list of names")
    return tuple(value)


def _milliseconds(parameter: str, time: str | int) -> int:
    if isinstance(time, int):
        return time
    try:
        moment = datetime.fromisoformat(time)
        if moment.tzinfo is None:
            raise ValueError
    except (TypeError, ValueError):
        raise ValueError(
            f"{parameter}: {time!r} is not a time with an offset, as 2026-11-27T08:00:00Z, nor ms since 1970"
        ) from None
    return round(moment.astimezone(UTC).timestamp() * SECOND_MS)
