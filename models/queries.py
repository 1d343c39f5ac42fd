"""Queries and examples as arrays of item rows, as generators and rankers read them."""

from collections.abc import Mapping, Sequence
from itertools import chain, repeat
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from models.core import (
    CONTEXTS,
    HISTORY,
    KINDS,
    NO_PROFILE,
    SESSION,
    Codes,
    Example,
    Floats,
    Kinds,
    Query,
    QueryBatch,
    Rows,
    attribute_code,
    code,
)
from models.rows import ItemRows
from models.units import HOUR_MS, SECOND_MS

HOUR = "hour"
"""The context key that is the hour of the day."""


def as_arrays(queries: Sequence[Query | Example], items: ItemRows, context_key: str) -> QueryBatch:
    """The queries with the rows of their items; items without a row are left out.

    `context_key`: the key of the context whose value `QueryBatch.contexts` is of, or several joined by "+";
    the key `hour` is the hour of the day in UTC.

    >>> items = ItemRows(10)
    >>> items.admit("tent", 0)
    0
    >>> as_arrays([Query(("tent", "never seen"), 2, 0)], items, "device").history[0, :2].tolist()
    [0, -1]
    """
    histories = [query.history[: -HISTORY - 1 : -1] for query in queries]
    numbers = items.rows(chain.from_iterable(histories))
    rows = np.array(numbers, np.int32)
    lengths = np.array([len(history) for history in histories], np.int32)
    sizes = np.minimum([query.session_size for query in queries], lengths)
    kinds, ages = _kinds_and_ages(queries, lengths)
    if -1 in numbers:
        unknown = rows < 0
        query_of = np.repeat(np.arange(len(queries)), lengths)
        position = np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        in_session = unknown & (position < sizes[query_of])
        lengths = lengths - np.bincount(query_of[unknown], minlength=len(queries))
        sizes = sizes - np.bincount(query_of[in_session], minlength=len(queries))
        rows, kinds, ages = rows[~unknown], kinds[~unknown], ages[~unknown]
    sizes = sizes.astype(np.int32)
    history = np.empty((len(queries), HISTORY), np.int32)
    history.fill(-1)
    used = np.arange(HISTORY) < lengths[:, None]
    history[used] = rows
    padded_kinds, padded_ages = np.zeros(used.shape, np.int8), np.zeros(used.shape, np.float32)
    padded_kinds[used], padded_ages[used] = kinds, ages
    return QueryBatch(
        history,
        sizes,
        np.where(np.arange(SESSION) < sizes[:, None], history[:, :SESSION], np.int32(-1)),
        np.array([query.time for query in queries], np.int64),
        _slots(queries, context_key),
        padded_kinds,
        padded_ages,
        *_profiles(queries, items),
    )


def _profiles(queries: Sequence[Query | Example], items: ItemRows) -> tuple[Rows, Codes, Codes]:
    """Hidden items, codes of hidden brands and codes of attributes of each query's user."""
    profiles = [NO_PROFILE if isinstance(query, Example) else query.profile for query in queries]
    if all(profile is NO_PROFILE for profile in profiles):
        empty = np.zeros((len(queries), 0), np.uint32)
        return empty.view(np.int32), empty, empty
    hidden = [[row for row in items.rows(profile.hidden) if row >= 0] for profile in profiles]
    brands = [[code(brand) for brand in profile.hidden_brands] for profile in profiles]
    attributes = [[attribute_code(*pair) for pair in profile.attributes.items()] for profile in profiles]
    return (
        _padded(hidden, -1).astype(np.int32),
        _padded(brands, 0).astype(np.uint32),
        _padded(attributes, 0).astype(np.uint32),
    )


def _padded(lists: Sequence[Sequence[int]], filler: int) -> NDArray[np.int64]:
    out = np.full((len(lists), max(map(len, lists))), filler, np.int64)
    for row, values in zip(out, lists, strict=True):
        row[: len(values)] = values
    return out


def _slots(queries: Sequence[Query | Example], context_key: str) -> Rows:
    """Slots of the contexts, below `CONTEXTS`; -1: a query has none of the keys."""
    if context_key != HOUR and not any(query.context for query in queries):
        return np.full(len(queries), -1, np.int32)
    keys = context_key.split("+")
    return np.array([_slot(query.context, keys, query.time) for query in queries], np.int32)


def _slot(context: Mapping[str, str | float], keys: Sequence[str], time: int) -> int:
    values = [time // HOUR_MS % 24 if key == HOUR else context.get(key) for key in keys]
    if all(value is None for value, key in zip(values, keys, strict=True) if key != HOUR or len(keys) == 1):
        return -1
    joined = "\0".join("" if value is None else str(value) for value in values)
    return crc32(joined.encode()) % CONTEXTS


def _kinds_and_ages(queries: Sequence[Query | Example], lengths: Rows) -> tuple[Kinds, Floats]:
    """Kind and age in s of each event of all histories, newest first, one after the other."""
    types: list[str] = []
    times: list[int] = []
    asked_at = [query.time if query.asked is None else query.asked for query in queries]
    for query, length, asked in zip(queries, lengths.tolist(), asked_at, strict=True):
        if len(query.types) == len(query.times) == len(query.history):
            types += query.types[: -HISTORY - 1 : -1]
            times += query.times[: -HISTORY - 1 : -1]
        else:  # not known: of no kind, and just now
            types += repeat("", length)
            times += repeat(asked, length)
    kinds = np.fromiter(map(KINDS.get, types, repeat(0)), np.int8, len(types))
    elapsed = np.repeat(np.array(asked_at, np.int64), lengths) - np.array(times, np.int64)
    return kinds, np.maximum(elapsed, 0).astype(np.float32) / np.float32(SECOND_MS)
