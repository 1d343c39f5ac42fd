"""The generator `content`: items that nobody has met yet, by the words and vectors of the shop's catalog."""

import time
from collections.abc import Sequence

import numpy as np

from models.catalog import Catalog
from models.components import Beginning, Lender
from models.core import Batch, Candidates, Floats, QueryBatch, Rows
from models.kernels.scratch import Scratch
from models.retrieval.borrowing import GRADUATED, Neighbours, forget, lend, propose_items
from models.retrieval.vector_search import VectorSearch
from models.retrieval.word_index import WordIndex
from models.state import NOTHING
from models.statistics import ItemStatistics

NEAREST = 10
"""Known items whose neighbours an item borrows."""
VECTOR_WEIGHT = 0.5
"""Weight of each of the catalog's vectors against the words."""
BORROWERS = 8
"""New items that are proposed with a known one, at most."""
GROWTH = 1.25
"""The index is built again when there are this many times more known items."""
LOOKS = 20
"""The known items are counted again after so many events, or a share of 1 / 20 of the items."""
AT_ONCE, WITH_VECTORS = 256, 16
"""Items that are compared between two looks at the clock; and where they have vectors."""


class Content:
    """A new item borrows the neighbours of the ten known items that are described most alike.

        score(b | a) = v(a) Σ_{c ∈ near(a)} s_ac W_cb + v(b) s_ba

    W are the rows of `next` and `previous`, less where b goes with everything; s the squared likeness of an
    item and its nearest, scaled to a sum of 1; v(x) = 1 − events of x / 5 fades as x's own evidence grows.
    Items are alike by their words (`WordIndex`) and, half as much, by each of the catalog's vectors
    (`VectorSearch`): the weighted mean counts.  The first term is for a user who looks at a new item, the
    second proposes a new item beside a known one.  The nearest items of a new one are candidates, too.
    Neighbours by attributes are the mapping of Gantner et al. 2010 ("Learning Attribute-to-Feature Mappings
    for Cold-Start Recommendations"), here from words to rows of counts.

    Nothing of it travels: each process has the catalog, and derives the rest, a part at a time (`refresh`).
    Without a catalog it proposes nothing.

    Cost: propose 3 µs, 30 µs for a user at new items; 20 µs an item that is compared, and 0.5 ms more with
    vectors of 256 numbers and 20,000 known items.  Memory: 140 bytes an item that takes part.

    Parameters
    ----------
    capacity
        Number of item rows.
    catalog
        Has the words and vectors of the items.
    statistics
        Tells what is known of an item.

    Examples
    --------
    >>> from models.catalog import Entry, columns
    >>> from models.retrieval.covisitation import CoVisitation
    >>> from models.small_batches import query_batch, session_batch
    >>> catalog, statistics, lender = Catalog(100), ItemStatistics(100), CoVisitation(100)
    >>> for learner in (statistics, lender):
    ...     learner.learn(session_batch([[0, 1]] * 5))
    >>> generator = Content(100, catalog, statistics)
    >>> generator.borrow_from([lender])
    >>> catalog.begin()
    >>> titles = ("Dome tent", "Kettle", "Tent for two")
    >>> catalog.put(np.arange(3), columns(Entry(text=title) for title in titles))
    >>> generator.refresh()
    >>> generator.propose(query_batch([[2]]), 2).rows.tolist()  # 2 is like 0, and 1 comes after 0
    [[1, 0]]
    """

    state = NOTHING

    def __init__(
        self,
        capacity: int,
        catalog: Catalog,
        statistics: ItemStatistics,
    ) -> None:
        self._catalog, self._statistics = catalog, statistics
        self._capacity = capacity
        self.borrow_from(())
        self._words = WordIndex(catalog["words"])
        self._vectors = [VectorSearch(vectors) for vectors in catalog.vectors.values()]
        self._lends = np.zeros(capacity, np.bool_)
        """Items that were known when others were last compared, and have not changed since."""
        self._near = np.full((capacity, NEAREST), -1, np.int32)
        self._similar = np.zeros((capacity, NEAREST), np.float32)
        self._borrowers = np.zeros((capacity, BORROWERS), np.int32)
        self._strengths = np.zeros((capacity, BORROWERS), np.float32)
        self._count = np.zeros(capacity, np.int8)
        self._due = np.zeros(capacity, np.bool_)
        """Items that are to be compared."""
        self._to_compare = self._lost_lenders = False
        self._next_look = 0
        self._scratch = Scratch(
            (capacity, np.float32),  # score
            (capacity, np.float32),  # the strongest part of it
            (capacity, np.int8),  # and the column of the history that gave it
        )
        catalog.follow(self._stored)

    def borrow_from(self, lenders: Sequence[Lender], beginning: Sequence[Beginning] = ()) -> None:
        """Read the neighbours of these from now on, of up to two; their arrays stay where they are.

        The item vectors of `beginning` begin like those of the items that a new one borrows from.
        """
        self._beginning = beginning
        nothing = Neighbours(
            np.zeros((1, 1), np.int32),
            np.zeros((1, 1), np.float32),
            np.zeros(self._capacity, np.int32),
            np.zeros(self._capacity, np.float32),
        )
        counted = [Neighbours(*lender.neighbour_counts) for lender in lenders]
        self._first, self._second = [*counted, nothing, nothing][:2]

    def lenders_of(self, row: int) -> list[tuple[int, float]]:
        """Rows of the items that this one borrows from, and how much they are alike, best first."""
        if self._statistics.events(np.array([row], np.int32))[0] >= GRADUATED:
            return []
        near, similar = self._near[row].tolist(), self._similar[row].tolist()
        return [(lender, likeness) for lender, likeness in zip(near, similar, strict=True) if lender >= 0]

    def learn(self, batch: Batch) -> None:
        """Do nothing: what others learn is borrowed."""

    def evict(self, rows: Rows) -> None:
        """Do nothing: the catalog says which items have lost their rows."""

    def _stored(self, rows: Rows) -> None:
        self._words.remove(rows)
        for index in self._vectors:
            index.remove(rows)
        self._lost_lenders |= bool(self._lends[rows].any())
        self._lends[rows] = False
        self._forget(rows)
        self._due[rows] = True
        self._to_compare = True

    def _forget(self, rows: Rows) -> None:
        forget(rows, self._near, self._borrowers, self._strengths, self._count)

    def refresh(self, until: float = np.inf) -> None:
        """Compare the items that changed, and all new ones when more items have become known.

        Until the time `until` of `time.perf_counter`, s; the rest is done by later calls.
        """
        used = self._catalog.used
        if self._lost_lenders:
            self._leave_lost_lenders(used)
        if not self._catalog.in_use or time.perf_counter() >= until:
            return
        if self._statistics.updates >= self._next_look:
            self._next_look = self._statistics.updates + max(used // LOOKS, LOOKS)
            self._look(used)
        if self._to_compare:
            due = np.flatnonzero(self._due[:used]).astype(np.int32)
            due = due[self._catalog["listed"][due] & (self._statistics.events(due) < GRADUATED)]
            size = WITH_VECTORS if self._vectors else AT_ONCE
            for start in range(0, len(due), size):
                if time.perf_counter() >= until:
                    return
                part = due[start : start + size]
                self._due[part] = False
                self._compare(part)
            self._to_compare = False

    def _leave_lost_lenders(self, used: int) -> None:
        """Compare those again that borrow from an item that changed, or whose row may be another's."""
        near = self._near[:used]
        rows = np.flatnonzero(((near >= 0) & ~self._lends[near]).any(1)).astype(np.int32)
        self._forget(rows)
        self._due[rows] = True
        self._to_compare, self._lost_lenders = True, False

    def _look(self, used: int) -> None:
        """Build the index again if enough items have become known."""
        listed = self._catalog["listed"][:used]
        evidence = self._statistics.events(np.arange(used, dtype=np.int32))
        lenders = np.flatnonzero(listed & (evidence >= GRADUATED)).astype(np.int32)
        if len(lenders) > GROWTH * self._words.size:
            self._lends[:] = False
            self._lends[lenders] = True
            self._words.build(lenders)
            for index in self._vectors:
                index.build(lenders[np.argsort(-evidence[lenders], kind="stable")])
            self._due[:used] |= listed & (evidence < GRADUATED)
            self._to_compare = True

    def _compare(self, rows: Rows) -> None:
        near, likeness = self._words.nearest(rows, NEAREST)
        if self._vectors:
            found = [(near, likeness), *(index.nearest(rows, NEAREST) for index in self._vectors)]
            near, likeness = together(found, [1.0, *[VECTOR_WEIGHT] * len(self._vectors)], NEAREST)
        shares = likeness * likeness
        shares /= np.maximum(shares.sum(1, keepdims=True), np.float32(1e-9))
        self._forget(rows)
        self._similar[rows] = likeness
        lend(rows, near, shares, self._near, self._borrowers, self._strengths, self._count)
        for generator in self._beginning:
            generator.begin_like(rows, near, shares * likeness)

    def propose(self, queries: QueryBatch, k: int) -> Candidates:
        """What goes with items like the user's latest, and new items like these."""
        out = Candidates.empty(len(queries.history), k)
        if self._words.size:
            propose_items(
                queries.history, self._first, self._second, self._statistics.known,
                self._statistics.popularity, self._near, self._similar, self._borrowers, self._strengths,
                self._count, self._scratch.arrays, out.rows, out.scores, out.sources,
            )  # fmt: skip
        return out


def together(found: Sequence[tuple[Rows, Floats]], weights: Sequence[float], k: int) -> tuple[Rows, Floats]:
    """The k nearest of several searches, by the weighted mean of their likeness.

    An item that a search did not find is not alike by it; a search that found nothing does not count.

    >>> words = np.array([[1, 2]], np.int32), np.array([[0.75, 0.5]], np.float32)
    >>> vectors = np.array([[2, -1]], np.int32), np.array([[1.0, 0.0]], np.float32)
    >>> [part.tolist() for part in together([words, vectors], [1.0, 1.0], 2)]
    [[[2, 1]], [[0.75, 0.375]]]
    """
    rows = np.concatenate([rows for rows, _ in found], axis=1)
    parts = np.concatenate([w * likeness for (_, likeness), w in zip(found, weights, strict=True)], axis=1)
    same = (rows[:, :, None] == rows[:, None]) & (rows >= 0)[:, :, None]
    counted = np.sum([w * (rows[:, 0] >= 0) for (rows, _), w in zip(found, weights, strict=True)], axis=0)
    means = np.where(same, parts[:, None], 0).sum(2) / np.maximum(counted, 1e-9)[:, None]
    means[np.tril(same, -1).any(2) | (rows < 0)] = -1
    best = np.argsort(-means, axis=1, kind="stable")[:, :k]
    rows, means = np.take_along_axis(rows, best, 1), np.take_along_axis(means, best, 1)
    return np.where(means > 0, rows, np.int32(-1)), np.maximum(means, 0).astype(np.float32)
