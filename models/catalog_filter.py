"""Filters: which items of the catalog may be listed, by what it says of them."""

import json
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.catalog import Catalog
from models.core import code

NAMES = ("category", "brand", "author", "group", "currency")
"""Fields whose values are names; an item is also of the categories above its own."""
FILTERS = 32
"""Filters whose items are kept; of more, the least recently used are found again."""

Mask = NDArray[np.bool_]


class CatalogFilter:
    """Items of the catalog that meet all conditions of a request.

    Parameters
    ----------
    where
        Condition by field: a name or a list of names of which it must be one, for `category`, `brand`,
        `author`, `group` and `currency`; for `price` a number, or a range {"from": 10, "to": 50}, both ends
        included and either one optional.  `ValueError` says what is wrong.

    Examples
    --------
    >>> from models.catalog import Entry, columns
    >>> catalog = Catalog(3)
    >>> entries = [Entry(brand="Fjell", price=20), Entry(brand="Fjell", price=90), Entry(brand="Tork")]
    >>> catalog.put(np.arange(3), columns(entries))
    >>> CatalogFilter({"brand": "Fjell", "price": {"to": 50}}).mask(catalog).tolist()
    [True, False, False]
    """

    def __init__(self, where: Mapping[str, Any]) -> None:
        if unknown := sorted(where.keys() - {*NAMES, "price"}):
            raise ValueError(
                f"where: unknown field {', '.join(unknown)}: known are {', '.join(NAMES)}, price"
            )
        self._codes = {
            field: np.array([code(name) for name in _names(field, value)], np.uint32)
            for field, value in where.items()
            if field != "price"
        }
        self._prices = _range(where["price"]) if "price" in where else None

    def mask(self, catalog: Catalog) -> Mask:
        """Whether each item is in the catalog and meets the conditions, bool[capacity]."""
        met: Mask = catalog["listed"].copy()
        for field, codes in self._codes.items():
            if field == "category":
                met &= np.isin(catalog["categories"], codes).any(1)
            else:
                met &= np.isin(catalog[field], codes)
        if self._prices is not None:
            lowest, highest = self._prices
            met &= (lowest <= catalog["price"]) & (catalog["price"] <= highest)
        return met


class CatalogFilters:
    """The masks of the filters in use, each found once while the catalog stays as it is.

    Cost: 10 ms for a million items after each change of the catalog; else nothing.

    Examples
    --------
    >>> from models.catalog import Entry, columns
    >>> catalog = Catalog(2)
    >>> catalog.begin()
    >>> catalog.put(np.arange(2), columns([Entry(brand="Fjell"), Entry(brand="Fjell", available=False)]))
    >>> CatalogFilters(catalog).offered('{"brand": "Fjell"}').tolist()
    [True, False]
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._masks: OrderedDict[str, tuple[int, Mask]] = OrderedDict()

    def offered(self, where: str) -> Mask:
        """Whether each item is offered and meets `where` (JSON; empty: no condition), bool[capacity]."""
        if not where:
            return self._catalog.offered
        changes, mask = self._masks.pop(where, (-1, self._catalog.offered))
        if changes != self._catalog.changes:
            mask = CatalogFilter(json.loads(where)).mask(self._catalog) & self._catalog.offered
        self._masks[where] = self._catalog.changes, mask
        if len(self._masks) > FILTERS:
            self._masks.popitem(last=False)
        return mask


def _names(field: str, value: Any) -> list[str]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"where: {field}: expected a name or a list of names")
    return list(names)


def _range(value: Any) -> tuple[np.float32, np.float32]:
    if isinstance(value, Mapping) and value and not value.keys() - {"from", "to"}:
        lowest, highest = value.get("from", -np.inf), value.get("to", np.inf)
    else:
        lowest = highest = value
    for end in (lowest, highest):
        if isinstance(end, bool) or not isinstance(end, int | float) or np.isnan(end):
            raise ValueError('where: price: expected a number or a range such as {"from": 10, "to": 50}')
    return np.float32(lowest), np.float32(highest)
