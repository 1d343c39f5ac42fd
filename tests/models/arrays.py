"""Batches and examples from what a test needs of them."""

import gc
import sys
from dataclasses import replace
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType, NoneType

import numpy as np

from models.catalog import Catalog, Entry, columns
from models.core import Batch, Example
from models.small_batches import query_batch


def batch(items, history=None, weights=None, times=None, sizes=None, users=None) -> Batch:
    """Items int32[n] after histories int32[n, any], newest first; each of a user of its own by default."""
    n = len(items)
    history = np.full((n, 1), -1, np.int32) if history is None else history
    times = np.zeros(n, np.int64) if times is None else np.asarray(times, np.int64)
    users = (np.arange(n) if users is None else np.asarray(users)).astype(np.uint64)
    weights = np.ones(n, np.float32) if weights is None else np.asarray(weights, np.float32)
    queries = query_batch(history, sizes, times)
    return Batch(np.asarray(items, np.int32), queries, weights, users, users)


def in_contexts(batch: Batch, contexts) -> Batch:
    """The batch with these context slots; -1: no context."""
    return replace(batch, queries=batch.queries._replace(contexts=np.asarray(contexts, np.int32)))


def example(item: str, *before: str, user: str = "u", offset: int = 0, time: int = 0) -> Example:
    """A view of `item` after others of the same session, oldest first."""
    return Example(user, offset, time, "view", item, history=before, session_size=len(before))


def scores_by_row(candidates, n: int = 0) -> dict[int, float]:
    """The candidates of query n, best first."""
    rows, scores = candidates.rows[n].tolist(), candidates.scores[n].tolist()
    return {row: score for row, score in zip(rows, scores, strict=True) if row >= 0}


def nbytes(value: object) -> int:
    """Bytes of memory that an object holds with all that it refers to; what two parts share counts once.

    Arrays count with their data, also those that this thread alone has; classes, functions and modules are
    not the object's own.
    """
    sizes: dict[int, int] = {}
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if id(part) in sizes or isinstance(part, NOT_OWN) or type(part).__module__.startswith(LIBRARIES):
            continue
        sizes[id(part)] = sys.getsizeof(part)
        waiting += [part.base] if isinstance(part, np.ndarray) else gc.get_referents(part)
        waiting.append(getattr(part, "__dict__", None))  # of a threading.local, it refers to none
    return sum(sizes.values())


NOT_OWN = (type, ModuleType, FunctionType, BuiltinFunctionType, CodeType, NoneType)
LIBRARIES = ("numba", "torch")


def put(catalog: Catalog, row: int, entry: Entry) -> None:
    """List one item."""
    catalog.put(np.array([row]), columns([entry]))
