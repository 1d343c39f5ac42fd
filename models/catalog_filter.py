"""Filters: which items of the catalog may be listed, by what it says of them."""

import json
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.catalog import TAGS, Catalog
from models.core import attribute_code, code

NAMES = ("category", "brand", "author", "group", "currency")
"""Fields whose values are names; an item is also of the categories above its own."""
COLUMNS = {"category": "categories"}
"""Column of a field, where its name is another."""
FILTERS = 32
"""Filters whose items are kept; of more, the least recently used are found again."""

Mask = NDArray[np.bool_]


class CatalogFilter:
    """Items of the catalog that meet all conditions of a request.

    Parameters
    ----------
    where
        Condition by field: a name or a list of names of which it must be one, for `category`, `brand`,
        `author`, `group`, `currency` and `tags`; for `price` a number, or a range {"from": 10, "to": 50},
        both ends included and either one optional; for `attributes` a condition by attribute: a value, a
        list of values, or a range.  `ValueError` says what is wrong.

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
        if unknown := sorted(where.keys() - {*NAMES, TAGS, "price", "attributes"}):
            raise ValueError(
                f"where: unknown field {', '.join(unknown)}: known are {', '.join(NAMES)}, tags, price,"
                " attributes"
            )
        self._codes = {
            COLUMNS.get(field, field): np.array([code(name) for name in _names(field, value)], np.uint32)
            for field, value in where.items()
            if field not in ("price", "attributes")
        }
        self._ranges = {"price": _range("price", where["price"])} if "price" in where else {}
        attributes = where.get("attributes", {})
        if not isinstance(attributes, Mapping):
            raise ValueError("where: attributes: expected a condition by attribute")
        for name, value in attributes.items():
            if isinstance(value, Mapping):
                self._ranges[f"number {name}"] = _range(name, value)
            else:
                codes = [attribute_code(name, one) for one in _values(name, value)]
                self._codes[f"attribute {name}"] = np.array(codes, np.uint32)
        self.reads = frozenset({*attributes, *({TAGS} & where.keys())})
        """Attributes, and `TAGS`, that the catalog has to keep for it."""

    def mask(self, catalog: Catalog) -> Mask:
        """Whether each item is in the catalog and meets the conditions, bool[capacity].

        What the catalog does not keep no item meets.
        """
        met: Mask = catalog["listed"].copy()
        if not self.reads <= {*catalog.kept.filters}:
            met[:] = False
            return met
        for column, codes in self._codes.items():
            among = np.isin(catalog[column], codes)
            met &= among if among.ndim == 1 else among.any(1)
        for column, (lowest, highest) in self._ranges.items():
            met &= (lowest <= catalog[column]) & (catalog[column] <= highest)
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


def _values(field: str, value: Any) -> list[str | float]:
    values = value if isinstance(value, list | tuple) else [value]
    if any(isinstance(one, bool) or not isinstance(one, str | int | float) for one in values):
        raise ValueError(f"where: {field}: expected a value, a list of values or a range")
    return list(values)


def _range(field: str, value: Any) -> tuple[np.float32, np.float32]:
    if isinstance(value, Mapping) and value and not value.keys() - {"from", "to"}:
        lowest, highest = value.get("from", -np.inf), value.get("to", np.inf)
    else:
        lowest = highest = value
    for end in (lowest, highest):
        if isinstance(end, bool) or not isinstance(end, int | float) or np.isnan(end):
            raise ValueError(f'where: {field}: expected a number or a range such as {{"from": 10, "to": 50}}')
    return np.float32(lowest), np.float32(highest)
