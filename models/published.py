"""Rows of the model as they are published: value by key, and back into arrays.

A key is `KEY/ROW`.  KEY is `items`, `waiting` or that of a component: the component's name, with a number
after a dot when the component started over.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from models.core import Rows
from models.state import Records, Table

Row = tuple[bytes, bytes | None]
"""Key and value as published; a value of None deletes."""


class Prepared(NamedTuple):
    """Published rows, ready to be applied."""

    items: list[tuple[bytes, bytes]]
    waiting: list[Row]
    components: dict[str, Records | None]
    """Rows by the component's key; None: some of them have another size than this version writes."""
    highest: int
    """Highest row of an item; -1 without items."""

    @classmethod
    def joined(cls, parts: Sequence["Prepared"]) -> "Prepared":
        """The rows of all parts, in their order."""
        records: dict[str, list[Records | None]] = {}
        for part in parts:
            for key, rows in part.components.items():
                records.setdefault(key, []).append(rows)
        return cls(
            [row for part in parts for row in part.items],
            [row for part in parts for row in part.waiting],
            {key: _concatenated(rows) for key, rows in records.items()},
            max((part.highest for part in parts), default=-1),
        )


def _concatenated(parts: list[Records | None]) -> Records | None:
    known = [part for part in parts if part is not None]
    return np.concatenate(known) if len(known) == len(parts) else None


def encode(key: str, rows: Rows, state: Table) -> dict[bytes, bytes | None]:
    """These rows of a table, by key."""
    records = state.dump(rows)
    size, data = records.dtype.itemsize, records.tobytes()
    prefix = key.encode() + b"/%d"
    return {prefix % row: data[n * size : (n + 1) * size] for n, row in enumerate(records["row"].tolist())}


def prepare(rows: Iterable[Row], dtypes: Mapping[bytes, np.dtype[Any]]) -> Prepared:
    """Sort published rows, in their order; those of components that are not in `dtypes` are left out.

    `dtypes` has the table's dtype by the component's first key, the one without a number.
    """
    by_key: dict[bytes, list[Row]] = {}
    for key, value in rows:
        part, _, rest = key.partition(b"/")
        by_key.setdefault(part, []).append((rest, value))
    items = [(row, value) for row, value in by_key.pop(b"items", ()) if value is not None]
    waiting = by_key.pop(b"waiting", [])
    components = {}
    for part, changed in by_key.items():
        dtype = dtypes.get(part.partition(b".")[0])
        if dtype is not None and (values := [value for _, value in changed if value]):
            components[part.decode()] = _decode(dtype, values)
    return Prepared(items, waiting, components, max((int(row) for row, _ in items), default=-1))


def _decode(dtype: np.dtype[Any], values: list[bytes]) -> Records | None:
    if any(len(value) != dtype.itemsize for value in values):
        return None
    return np.frombuffer(b"".join(values), dtype)
