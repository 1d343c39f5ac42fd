"""Approximate nearest neighbours: which items' vectors have the highest product with a query's."""

import threading
from typing import Any

import numpy as np

from models.core import Floats, Rows
from models.retrieval.vectors import EPSILON

EXACT = 50_000
"""Items up to which the product with all of them costs less than the search."""
MOVED = 0.1
"""Share of its length that a vector has to move before it gets a new place, which costs as much as a
search."""


class VectorIndex:
    """An index of rows by their vectors and biases.

        argmax_b  u · v_b + bias_b

    A hierarchical navigable small world (Malkov and Yashunin 2016, "Efficient and robust approximate nearest
    neighbor search using Hierarchical Navigable Small World graphs") over (v, bias), float16, by usearch,
    built one item at a time.  It gives candidates only: the owner scores them with the current vectors, so
    that the scores are exact, and what the approximation costs is candidates that are missed.

    The index depends on the order in which the items came: a replica may miss other candidates than the
    learner.  Both miss few: docs/models/nearest.md has the measured loss.

    Cost: 150 µs an item that came or moved; search 130 µs a query.  Memory: about 570 bytes an item at 64
    dimensions, with its edges.

    Parameters
    ----------
    dim
        Dimension of the vectors.
    edges
        Edges of a node of the graph; more lose fewer candidates, and cost more (docs/models/nearest.md).
    breadth
        Nodes that are kept in view when an item is added or searched for.

    Examples
    --------
    >>> index = VectorIndex(dim=2)
    >>> index.update(np.array([4, 7]), np.eye(2, dtype=np.float32), np.zeros(2, np.float32))
    >>> index.search(np.array([[0.1, 1.0]], np.float32), 3)
    array([[ 7,  4, -1]], dtype=int32)
    """

    def __init__(self, dim: int, edges: int = 16, breadth: int = 128) -> None:
        from usearch.index import Index

        self._index: Any = Index(
            ndim=dim + 1, metric="ip", dtype="f16", connectivity=edges,
            expansion_add=breadth, expansion_search=breadth,
        )  # fmt: skip

    def __len__(self) -> int:
        """Number of rows in the index."""
        return len(self._index)

    def update(self, rows: Rows, vectors: Floats, biases: Floats) -> None:
        """Index distinct rows by float32[n, dim] and float32[n]; rows that hardly moved stay in place."""
        points = np.hstack([vectors, biases[:, None]]).astype(np.float32)
        known = self._index.contains(rows.astype(np.uint64))
        stays = np.zeros(len(rows), np.bool_)
        if known.any():
            old = np.array(self._index.get(rows[known].astype(np.uint64)), np.float32)
            moved = ((points[known] - old) ** 2).sum(1)
            stays[known] = moved <= MOVED**2 * (old**2).sum(1)
        self.evict(rows[known & ~stays])
        if not stays.all():
            self._index.add(rows[~stays].astype(np.uint64), points[~stays], threads=1)

    def evict(self, rows: Rows) -> None:
        """Remove these rows; those that are not in the index are ignored."""
        if len(rows):
            self._index.remove(rows.astype(np.uint64), threads=1)

    def search(self, queries: Floats, count: int) -> Rows:
        """The likely best `count` rows for each of float32[n, dim], best first, padded with -1."""
        out = np.full((len(queries), count), -1, np.int32)
        if len(queries) and len(self):
            points = np.hstack([queries, np.ones((len(queries), 1), np.float32)]).astype(np.float32)
            keys = np.atleast_2d(self._index.search(points, min(count, len(self)), threads=1).keys)
            out[:, : keys.shape[1]] = keys
        return out


class MovingVectors:
    """A `VectorIndex` over vectors that are learnt: what moved since the last search is indexed first.

    A page searches from a thread of its own.

    Parameters
    ----------
    capacity
        Number of rows.
    dim
        Dimension of the vectors.
    """

    def __init__(self, capacity: int, dim: int) -> None:
        self.moved = np.zeros(capacity, np.bool_)
        """Rows that changed since they were indexed; the owner sets it."""
        self._dim = dim
        self._index: VectorIndex | None = None
        self._lock = threading.Lock()

    def evict(self, rows: Rows) -> None:
        """Remove these rows."""
        if self._index is not None:
            self._index.evict(rows)

    def search(
        self, queries: Floats, count: int, vectors: Floats, bias: Floats, squares: Floats, used: int
    ) -> Rows:
        """The likely best `count` of the first `used` rows, as `VectorIndex.search` returns them.

        `vectors`, `bias` and `squares` are as in `models.retrieval.vectors`, as they are now.
        """
        with self._lock:
            if self._index is None:
                self._index = VectorIndex(self._dim)
                self.moved[:used] = True
            moved = np.flatnonzero(self.moved).astype(np.int32)
            self.moved[moved] = False
            learnt = moved[squares[moved, 1] > EPSILON]
            self._index.update(learnt, vectors[learnt], bias[learnt])
        return self._index.search(queries, count)
