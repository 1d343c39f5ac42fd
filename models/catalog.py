"""The catalog by item row: what the rules read of the shop's items.

The records themselves are on disk, by item id (`streams.kafka.catalog_store`); titles and texts stay there.
Names become codes of 32 bits, so that memory does not depend on how many brands or groups there are.
"""

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.core import Rows, attribute_code, code
from models.units import SECOND_MS
from models.words import FEATURES, hashed

CATEGORIES = 8
"""Categories kept of an item, ancestors included: "Outdoor/Tents" is also "Outdoor"."""
NO_PRICE, HIGHEST_PRICE = float("nan"), 3.4e38
MAX_VECTOR = 1024
"""Numbers in a vector, at most."""
NOTHING: Mapping[str, Any] = MappingProxyType({})
TAGS, MOST_TAGS = "tags", 8
"""The filter that reads tags and no attribute, and the tags of an item that it knows."""
NEVER_S = 2**32 - 1
"""A time that does not come, seconds since the epoch: the last one that fits."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What rules and the generator `content` read of an item's record."""

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
    text: str = ""
    """Title, categories, names, tags and attributes, then the description: the words that are compared."""
    tags: tuple[str, ...] = ()
    attributes: Mapping[str, str | float] = field(default_factory=dict)
    vectors: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """Vectors of the shop's own models, by name."""


RECORD = np.dtype(
    [
        ("listed", "?"), ("available", "?"), ("adult", "?"), ("since", "<u4"), ("until", "<u4"),
        ("price", "<f4"), ("currency", "<u4"), ("brand", "<u4"), ("author", "<u4"), ("group", "<u4"),
        ("categories", "<u4", CATEGORIES), ("words", "<u2", FEATURES),
    ]
)  # fmt: skip
"""The columns of an item; times are s since the epoch, names are codes, words are hashed features."""
_pack = struct.Struct(f"<???IIfIIII{CATEGORIES}I{2 * FEATURES}s").pack
_pack_facet = struct.Struct("<If").pack


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


class Kept(NamedTuple):
    """What is kept of each item beside `RECORD`, as the settings say."""

    vectors: Mapping[str, int] = NOTHING
    """Length by name of vectors, 2 bytes a number."""
    filters: tuple[str, ...] = ()
    """Attributes that lists are filtered by, 8 bytes each; `TAGS`: the tags, 32 bytes."""


RECORD_ALONE = Kept()


def record_type(kept: Kept) -> np.dtype[np.void]:
    """The columns of an item: `RECORD`, then for each filter and vector its own.

    >>> record_type(Kept({"image": 512}, ("colour",))).itemsize - RECORD.itemsize
    1032
    """
    fields: list[Any] = RECORD.descr
    for name in kept.filters:
        if name == TAGS:
            fields.append((TAGS, "<u4", MOST_TAGS))
        else:
            fields += [(f"attribute {name}", "<u4"), (f"number {name}", "<f4")]
    return np.dtype([*fields, *((f"vector {name}", "<f2", size) for name, size in kept.vectors.items())])


def encode(entry: Entry, kept: Kept = RECORD_ALONE) -> bytes:
    """The record of an item that is in the catalog; what the entry does not say is unknown.

    Vectors are scaled to length 1; one of another length than `kept` says is left out.
    """
    codes = [code(name) for name in with_ancestors(entry.categories)[:CATEGORIES]]
    codes += [0] * (CATEGORIES - len(codes))
    end, price = entry.until_ms, entry.price
    columns = _pack(
        True,
        entry.available,
        entry.adult,
        min(entry.since_ms // SECOND_MS, NEVER_S),
        NEVER_S if end is None else min(end // SECOND_MS, NEVER_S),
        NO_PRICE if price is None else min(price, HIGHEST_PRICE),
        code(entry.currency),
        code(entry.brand),
        code(entry.author),
        code(entry.group),
        *codes,
        hashed(entry.text).tobytes(),
    )
    filters = b"".join(_facet(entry, name) for name in kept.filters)
    return columns + filters + b"".join(_unit(entry.vectors.get(n), size) for n, size in kept.vectors.items())


def _facet(entry: Entry, name: str) -> bytes:
    if name == TAGS:
        codes = [code(tag) for tag in entry.tags[:MOST_TAGS]]
        return struct.pack(f"<{MOST_TAGS}I", *codes, *[0] * (MOST_TAGS - len(codes)))
    value = entry.attributes.get(name)
    if value is None:
        return _pack_facet(0, NO_PRICE)
    number = NO_PRICE if isinstance(value, str) else max(min(value, HIGHEST_PRICE), -HIGHEST_PRICE)
    return _pack_facet(attribute_code(name, value), number)


def _unit(vector: Sequence[float] | None, size: int) -> bytes:
    if vector is None or len(vector) != size:
        return bytes(2 * size)
    values = np.asarray(vector, np.float64)
    largest = np.abs(values).max()
    values = values / (largest or 1.0)  # a square of 1e300 is not finite
    return (values / (np.sqrt((values * values).sum()) or 1.0)).astype("<f2").tobytes()


def columns(entries: Iterable[Entry], kept: Kept = RECORD_ALONE) -> NDArray[Any]:
    """The record of each entry, `record_type(kept)`[n]."""
    return np.frombuffer(b"".join(encode(entry, kept) for entry in entries), record_type(kept))


class Catalog:
    """Columns of the items that are in the catalog and have a row, and which items are offered now.

    Without a catalog every item is offered.  From `begin` on, the offered items are those that are listed and
    available, in their time; with `show_unlisted` also items that are not in the catalog.

    Memory: 128 bytes a row, and what `kept` adds.  Cost: 0.3 µs an item that is put.

    Parameters
    ----------
    capacity
        Number of item rows.
    show_unlisted
        Whether items that are not in the catalog are offered.
    kept
        What is kept of each item beside `RECORD`.

    Examples
    --------
    >>> catalog = Catalog(capacity=100)
    >>> catalog.begin()
    >>> entries = [Entry(available=False, price=249.0), Entry(brand="Fjell"), Entry(since_ms=60_000)]
    >>> catalog.put(np.array([7, 8, 9]), columns(entries))
    >>> catalog.offered[[6, 7, 8, 9]].tolist()
    [False, False, True, False]
    >>> catalog.advance(60_000)
    >>> catalog.offered[[6, 7, 8, 9]].tolist()
    [False, False, True, True]
    """

    def __init__(self, capacity: int, show_unlisted: bool = False, kept: Kept = RECORD_ALONE) -> None:
        self.in_use = False
        """Whether there is a catalog."""
        self._show_unlisted = show_unlisted
        self.offered = np.ones(capacity, np.bool_)
        """Whether the item may be recommended now, bool[capacity]."""
        self.kept, self.record = kept, record_type(kept)
        """The type of a record."""
        self._table = np.zeros(capacity, self.record)
        self.vectors: dict[str, NDArray[np.float16]] = {
            name: self._table[f"vector {name}"] for name in kept.vectors
        }
        """The items' vectors of length 1 by name, float16[capacity, any]; 0 of an item without one."""
        self._compared = [column for column in self.record.names or () if column.startswith("vector ")]
        self.changes = 0
        """Number of changes so far of what is offered."""
        self.used = 0
        """1 + the highest row that was ever put."""
        self._size = 0
        self._followers: list[Callable[[Rows], None]] = []
        self._now_s, self._next_s = 0, NEVER_S

    def __len__(self) -> int:
        """Number of listed items that have a row."""
        return self._size

    def __getitem__(self, field: str) -> NDArray[Any]:
        """A column of the record by item row, read-only by convention."""
        return self._table[field]

    def follow(self, stored: Callable[[Rows], None]) -> None:
        """Call `stored` from now on with the rows, int32[n], whose words or vectors are new or gone."""
        self._followers.append(stored)

    def begin(self) -> None:
        """Note that there is a catalog: from now on it decides what is offered."""
        if not self.in_use:
            self.in_use = True
            self.offered[~self["listed"]] = self._show_unlisted
            self.changes += 1

    def put(self, rows: NDArray[np.integer[Any]], records: NDArray[Any]) -> None:
        """Store the record of each of these rows; of a row that comes twice the last one counts."""
        last = len(rows) - 1 - np.unique(rows[::-1], return_index=True)[1]
        self._store(rows[last], records[last])

    def withdraw(self, rows: Rows) -> None:
        """Take the items of these rows, int32[n], out of the catalog: they have lost their rows."""
        rows = np.unique(rows)
        self._store(rows, np.zeros(len(rows), self.record))

    def _store(self, rows: NDArray[np.integer[Any]], records: NDArray[Any]) -> None:
        if not len(rows):
            return
        self.used = max(self.used, int(rows[-1]) + 1)
        self._size += int(records["listed"].sum()) - int(self["listed"][rows].sum())
        told = (self._table["words"][rows] != records["words"]).any(1)
        for column in self._compared:
            told |= (self._table[column][rows] != records[column]).any(1)
        self._table[rows] = records
        self.offered[rows] = self._may_be_offered(records)
        self._next_s = min(self._next_s, self._next_time(records))
        for stored in self._followers:
            stored(rows[told].astype(np.int32))
        self.changes += 1

    def advance(self, now: int) -> None:
        """Offer what may be recommended at `now`, ms since the epoch; time never goes back."""
        self._now_s = max(self._now_s, now // SECOND_MS)
        if self._now_s < self._next_s:
            return
        rows = np.flatnonzero(self["listed"][: self.used])
        records = self._table[rows]
        self.offered[rows] = self._may_be_offered(records)
        self._next_s = self._next_time(records)
        self.changes += 1

    def _may_be_offered(self, records: NDArray[Any]) -> NDArray[np.bool_]:
        in_time = (records["since"] <= self._now_s) & (self._now_s < records["until"])
        unlisted = self._show_unlisted or not self.in_use
        return np.where(records["listed"], records["available"] & in_time, unlisted)

    def _next_time(self, records: NDArray[Any]) -> int:
        """When one of these listed items begins or ends next, s since the epoch."""
        listed = records[records["listed"]]
        times = np.concatenate([listed["since"], listed["until"]])
        return int(times[times > self._now_s].min(initial=NEVER_S))
