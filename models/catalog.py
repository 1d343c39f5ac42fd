"""The catalog by item row: what the rules read of the shop's items.

The records themselves are on disk, by item id (`streams.kafka.catalog_store`); titles and texts stay there.
Names become codes of 32 bits, so that memory does not depend on how many brands or groups there are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from models.core import Floats, Rows
from models.units import SECOND_MS

Codes = NDArray[np.uint32]

CATEGORIES = 8
"""Categories kept of an item, ancestors included: "Outdoor/Tents" is also "Outdoor"."""
NEVER_S = 2**32 - 1
"""A time that does not come, seconds since the epoch: the last one that fits."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What rules read of an item's record."""

    available: bool = True
    adult: bool = False
    since_ms: int = 0
    """Time from which on it may be recommended, ms since the epoch."""
    until_ms: int | None = None
    """Time from which on it may not, ms since the epoch; None: there is no end."""
    price: float | None = None
    currency: str = ""
    brand: str = ""
    author: str = ""
    group: str = ""
    """The product of which the item is a variant."""
    categories: tuple[str, ...] = ()
    """Paths, the main one first: "Outdoor/Tents"."""


def code(name: str) -> int:
    """The code of a name, from 1 to 2³² - 1; 0 is the code of the empty name.

    Two of 160 candidates' groups have the same code once in 340,000 lists.

    >>> code("Outdoor/Tents") == code("Outdoor/Tents"), code("")
    (True, 0)
    """
    return crc32(name.encode()) or 1 if name else 0


def with_ancestors(paths: Sequence[str]) -> list[str]:
    """The paths, each followed by its ancestors from the nearest on, each name once.

    >>> with_ancestors(["Outdoor/Tents", "Outdoor/Sale"])
    ['Outdoor/Tents', 'Outdoor', 'Outdoor/Sale']
    """
    names: dict[str, None] = {}
    for path in paths:
        while path:
            names[path] = None
            path = path.rpartition("/")[0]
    return list(names)


class Catalog:
    """Columns of the items that are in the catalog and have a row, and which items are offered now.

    Without a catalog every item is offered.  From `begin` on, the offered items are those that are listed and
    available, in their time; with `show_unlisted` also items that are not in the catalog.

    Memory: 65 bytes a row.

    Parameters
    ----------
    capacity
        Number of item rows.
    show_unlisted
        Whether items that are not in the catalog are offered.

    Examples
    --------
    >>> catalog = Catalog(capacity=100)
    >>> catalog.begin()
    >>> catalog.put(7, Entry(available=False, categories=("Outdoor/Tents",)))
    >>> catalog.put(8, Entry(price=249.0))
    >>> catalog.put(9, Entry(since_ms=60_000))
    >>> catalog.offered[[6, 7, 8, 9]].tolist()
    [False, False, True, False]
    >>> catalog.advance(60_000)
    >>> catalog.offered[[6, 7, 8, 9]].tolist()
    [False, False, True, True]
    """

    def __init__(self, capacity: int, show_unlisted: bool = False) -> None:
        self.in_use = False
        """Whether there is a catalog."""
        self._show_unlisted = show_unlisted
        self.offered = np.ones(capacity, np.bool_)
        """Whether the item may be recommended now, bool[capacity]."""
        self.listed = np.zeros(capacity, np.bool_)
        """Whether the item is in the catalog, bool[capacity]."""
        self.available = np.zeros(capacity, np.bool_)
        self.adult = np.zeros(capacity, np.bool_)
        self.since: Codes = np.zeros(capacity, np.uint32)
        """Time from which on it may be recommended, s since the epoch; uint32[capacity]."""
        self.until: Codes = np.zeros(capacity, np.uint32)
        """Time from which on it may not, s since the epoch, `NEVER_S` if there is no end."""
        self.price: Floats = np.zeros(capacity, np.float32)
        """float32[capacity]; NaN where it is not known."""
        self.currency: Codes = np.zeros(capacity, np.uint32)
        self.brand: Codes = np.zeros(capacity, np.uint32)
        self.author: Codes = np.zeros(capacity, np.uint32)
        self.group: Codes = np.zeros(capacity, np.uint32)
        self.categories: Codes = np.zeros((capacity, CATEGORIES), np.uint32)
        """Codes of the categories, ancestors included, the main one first; 0 behind the last one."""
        self.changes = 0
        """Number of changes so far of what is offered."""
        self._size, self._used = 0, 0
        self._now_s, self._next_s = 0, NEVER_S

    def __len__(self) -> int:
        """Number of listed items that have a row."""
        return self._size

    def begin(self) -> None:
        """Note that there is a catalog: from now on it decides what is offered."""
        if not self.in_use:
            self.in_use = True
            self.offered[~self.listed] = self._show_unlisted
            self.changes += 1

    def put(self, row: int, entry: Entry) -> None:
        """List the item of a row, or list it anew; what the entry does not say is unknown."""
        self._size += not self.listed[row]
        self._used = max(self._used, row + 1)
        self.listed[row], self.available[row], self.adult[row] = True, entry.available, entry.adult
        self.since[row] = since = min(entry.since_ms // SECOND_MS, NEVER_S)
        end = entry.until_ms
        self.until[row] = until = NEVER_S if end is None else min(end // SECOND_MS, NEVER_S)
        self.price[row] = np.nan if entry.price is None else entry.price
        self.currency[row], self.brand[row] = code(entry.currency), code(entry.brand)
        self.author[row], self.group[row] = code(entry.author), code(entry.group)
        names = with_ancestors(entry.categories)[:CATEGORIES]
        self.categories[row] = 0
        self.categories[row, : len(names)] = [code(name) for name in names]
        self.offered[row] = entry.available and since <= self._now_s < until
        self._next_s = min([self._next_s, *(time for time in (since, until) if time > self._now_s)])
        self.changes += 1

    def withdraw(self, rows: Rows) -> None:
        """Take the items of these rows, int32[n], out of the catalog: they are withdrawn, or have expired."""
        rows = np.unique(rows)
        self._size -= int(self.listed[rows].sum())
        self.listed[rows] = self.available[rows] = False
        self.offered[rows] = self._show_unlisted or not self.in_use
        self.changes += 1

    def advance(self, now: int) -> None:
        """Offer what may be recommended at `now`, ms since the epoch; time never goes back."""
        self._now_s = max(self._now_s, now // SECOND_MS)
        if self._now_s < self._next_s:
            return
        rows = np.flatnonzero(self.listed[: self._used])
        since, until = self.since[rows], self.until[rows]
        self.offered[rows] = self.available[rows] & (since <= self._now_s) & (self._now_s < until)
        times = np.concatenate([since, until])
        self._next_s = int(times[times > self._now_s].min(initial=NEVER_S))
        self.changes += 1
