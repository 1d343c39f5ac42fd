"""Approximate nearest neighbours: which items' vectors have the highest product with a query's.

    argmax_b  u · v_b + bias_b

For embedding generators with more than `EXACT` items; up to so many, the product with all of them costs
less.  A hierarchical navigable small world (Malkov and Yashunin 2016, "Efficient and robust approximate
nearest neighbor search using Hierarchical Navigable Small World graphs") over (v, bias), float16, as usearch
makes it, one item at a time.  It gives candidates only: the owner scores them with the vectors as they are
now, so that the scores are exact, and what the approximation costs is candidates that are missed.

A vector that learning moved by less than `MOVED` of its length keeps its place, because finding a new one
costs as much as a search.

The graph depends on the order in which the items came: a replica may miss other candidates than the learner.
Both miss few: docs/models/nearest.md has the measured loss.

Cost: 150 µs an item that came or moved; search 130 µs a query.  Memory: about 570 bytes an item at 64
dimensions, with its edges; none while there are no more than `EXACT` items.  Needs usearch.
"""

from typing import Any

import numpy as np

from models.core import Floats, Rows

EXACT = 50_000
"""Items up to which the owner should look at all."""
MOVED = 0.1


class Nearest:
    """An index of rows by their vectors.

    >>> index = Nearest(dim=2)
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
        """Rows indexed."""
        return len(self._index)

    def update(self, rows: Rows, vectors: Floats, biases: Floats) -> None:
        """Index these distinct rows as float32[n, dim] and float32[n]; those that hardly moved stay."""
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
        """Take these rows out; those that are not in it are ignored."""
        if len(rows):
            self._index.remove(rows.astype(np.uint64), threads=1)

    def search(self, queries: Floats, count: int) -> Rows:
        """Up to `count` rows for each of float32[n, dim], the likely best first; -1 pads."""
        out = np.full((len(queries), count), -1, np.int32)
        if len(queries) and len(self):
            points = np.hstack([queries, np.ones((len(queries), 1), np.float32)]).astype(np.float32)
            keys = np.atleast_2d(self._index.search(points, min(count, len(self)), threads=1).keys)
            out[:, : keys.shape[1]] = keys
        return out
