"""The generator `content`: items that nobody has met yet, by the words of the shop's catalog."""

import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.catalog import Catalog
from models.components import Lender
from models.core import Batch, Candidates, Floats, QueryBatch, Rows
from models.kernels.jit import Array, kernel
from models.kernels.scratch import Scratch
from models.kernels.topk import select
from models.retrieval.covisitation import AGE_DECAY
from models.retrieval.word_index import WordIndex
from models.state import NOTHING
from models.statistics import ItemStatistics

NEAREST = 10
"""Known items whose neighbours an item borrows."""
BORROWERS = 8
"""New items that are proposed with a known one, at most."""
COLUMNS = 4
"""Latest items of a user that are looked at, for new items that go with them."""
BORROWING = 2
"""Of these, the ones that borrow if they are new themselves: the most expensive part."""
LENDERS = 32
"""Items that go with them whose borrowers are proposed, at most."""
KNOWN = 5.0
"""Events in the last two weeks or so from which on an item lends its neighbours."""
FADE = 10.0
"""Events after which what is borrowed counts half."""
GRADUATED = 30.0
"""Events after which an item borrows nothing."""
DIRECT = 1.0
"""Weight of the nearest items themselves, against what goes with them."""
GROWTH = 1.25
"""The index is built again when there are this many times more known items."""
LOOKS = 20
"""The known items are counted again after so many events, or a share of 1 / 20 of the items."""
AT_ONCE = 256
"""Items that are compared between two looks at the clock."""


class Neighbours(NamedTuple):
    """What `CoVisitation` has counted, by row: W_ab = c_ab / √(Σ_b c_ab) / (Σ_a c_ba + 3)^¼."""

    rows: Rows
    weights: Floats
    size: Rows
    total: Floats


class Content:
    """A new item borrows the neighbours of the ten known items that are described most alike.

        score(b | a) = v(a) Σ_{c ∈ near(a)} s_ac W_cb + v(b) Σ_{c ∈ near(b)} s_bc W_ac

    W are the rows of `next` and `previous`, less where b goes with everything; s the squared cosines of the
    words (`WordIndex`), scaled to a sum of 1; v(x) = F / (F + events of x) fades as x's own evidence grows.
    The first sum is for a user who looks at a new item, the second for a new item that others should see.
    The nearest items themselves are candidates, too.  Nearest neighbours by attributes are the mapping of
    Gantner et al. 2010 ("Learning Attribute-to-Feature Mappings for Cold-Start Recommendations"), here from
    words to rows of counts.

    Nothing of it travels: each process has the catalog, and derives the rest, a part at a time (`refresh`).
    Without a catalog it proposes nothing.

    Cost: propose 10 to 60 µs; 20 µs an item that is compared.  Memory: 145 bytes an item that takes part.

    Parameters
    ----------
    capacity
        Number of item rows.
    catalog
        Has the words of the items.
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
        self._index = WordIndex(catalog["words"])
        self._near = np.full((capacity, NEAREST), -1, np.int32)
        self._similar = np.zeros((capacity, NEAREST), np.float32)
        self._borrowers = np.zeros((capacity, BORROWERS), np.int32)
        self._strengths = np.zeros((capacity, BORROWERS), np.float32)
        self._count = np.zeros(capacity, np.int8)
        self._due = np.zeros(capacity, np.bool_)
        """Items that are to be compared."""
        self._to_compare = False
        self._next_look = 0
        self._scratch = Scratch(
            (capacity, np.float32),  # score
            (capacity, np.float32),  # the strongest part of it
            (capacity, np.int8),  # and the column of the history that gave it
            (capacity, np.float32),  # how well an item goes with the user's
        )
        catalog.follow(self._stored)

    def borrow_from(self, lenders: Sequence[Lender]) -> None:
        """Read the neighbours of these from now on, of up to two; their arrays stay where they are."""
        nothing = Neighbours(
            np.zeros((1, 1), np.int32),
            np.zeros((1, 1), np.float32),
            np.zeros(self._capacity, np.int32),
            np.zeros(self._capacity, np.float32),
        )
        counted = [Neighbours(*lender.neighbours) for lender in lenders]
        self._first, self._second = [*counted, nothing, nothing][:2]

    def learn(self, batch: Batch) -> None:
        """Do nothing: what others learn is borrowed."""

    def evict(self, rows: Rows) -> None:
        """Remove these items."""
        self._forget(rows)

    def _stored(self, rows: Rows) -> None:
        self._forget(rows)
        self._due[rows] = True
        self._to_compare = True

    def _forget(self, rows: Rows) -> None:
        _forget(rows, self._near, self._borrowers, self._strengths, self._count)

    def evidence(self, rows: Rows) -> NDArray[np.float64]:
        """Events of these items, float64[n], decayed with a half-life of two weeks up to their latest."""
        known = self._statistics.known[rows]
        return np.where(known, np.exp(self._statistics.popularity[rows, -1].astype(np.float64)), 0.0)

    def refresh(self, until: float = np.inf) -> None:
        """Compare the items that changed, and all new ones when more items have become known.

        Until the time `until` of `time.perf_counter`, s; the rest is done by later calls.
        """
        if not self._catalog.in_use or time.perf_counter() >= until:
            return
        used = self._catalog.used
        if self._statistics.updates >= self._next_look:
            self._next_look = self._statistics.updates + max(used // LOOKS, LOOKS)
            self._look(used)
        if self._to_compare:
            due = np.flatnonzero(self._due[:used]).astype(np.int32)
            due = due[self._catalog["listed"][due] & (self.evidence(due) < GRADUATED)]
            for start in range(0, len(due), AT_ONCE):
                if time.perf_counter() >= until:
                    return
                part = due[start : start + AT_ONCE]
                self._due[part] = False
                self._compare(part)
            self._to_compare = False

    def _look(self, used: int) -> None:
        """Build the index again if enough items have become known."""
        listed = self._catalog["listed"][:used]
        evidence = self.evidence(np.arange(used, dtype=np.int32))
        lend = np.flatnonzero(listed & (evidence >= KNOWN)).astype(np.int32)
        if len(lend) > GROWTH * self._index.size:
            self._index.build(lend)
            self._due[:used] |= listed & (evidence < GRADUATED)
            self._to_compare = True

    def _compare(self, rows: Rows) -> None:
        near, cosines = self._index.nearest(rows, NEAREST)
        shares = cosines * cosines
        shares /= np.maximum(shares.sum(1, keepdims=True), np.float32(1e-9))
        self._forget(rows)
        self._similar[rows] = cosines
        _lend(rows, near, shares, self._near, self._borrowers, self._strengths, self._count)

    def propose(self, queries: QueryBatch, k: int) -> Candidates:
        """What goes with items like the user's latest, and new items like those that go with them."""
        out = Candidates.empty(len(queries.history), k)
        if self._index.size:
            _propose(
                queries.history, self._first, self._second, self._statistics.known,
                self._statistics.popularity, self._near, self._similar, self._borrowers, self._strengths,
                self._count, self._scratch.arrays, out.rows, out.scores, out.sources,
            )  # fmt: skip
        return out


@kernel
def _forget(rows: Array, near: Array, borrowers: Array, strengths: Array, count: Array) -> None:
    """Remove items as borrowers; those that are near them find others at the next build."""
    for x in rows:
        for j in range(near.shape[1]):
            c = near[x, j]
            if c < 0:
                break
            for at in range(count[c]):
                if borrowers[c, at] == x:
                    last = count[c] - 1
                    borrowers[c, at], strengths[c, at] = borrowers[c, last], strengths[c, last]
                    count[c] = last
                    break
        near[x] = -1


@kernel
def _lend(
    rows: Array,
    lenders: Array,
    shares: Array,
    near: Array,
    borrowers: Array,
    strengths: Array,
    count: Array,
) -> None:
    """Store the nearest of each item, and it as a borrower of theirs: of too many the weakest is left out."""
    for n in range(len(rows)):
        x = rows[n]
        for j in range(lenders.shape[1]):
            c = lenders[n, j]
            near[x, j] = c
            if c < 0:
                continue
            at = count[c]
            if at < borrowers.shape[1]:
                count[c] = at + 1
            else:
                at = np.argmin(strengths[c])
                if strengths[c, at] >= shares[n, j]:
                    continue
            borrowers[c, at], strengths[c, at] = x, shares[n, j]


@kernel
def _fade(x: int, known: Array, popularity: Array) -> float:
    """How much of what an item borrows counts: 1 without events of its own."""
    if not known[x]:
        return 1.0
    events = np.exp(np.float64(popularity[x, -1]))
    return FADE / (FADE + events) if events < GRADUATED else 0.0


@kernel
def _propose(
    histories: Array,
    first: Neighbours,
    second: Neighbours,
    known: Array,
    popularity: Array,
    near: Array,
    similar: Array,
    borrowers: Array,
    strengths: Array,
    count: Array,
    scratch: tuple[Array, ...],
    out_rows: Array,
    out_scores: Array,
    out_sources: Array,
) -> None:
    score, strongest, source, other = scratch
    lent = near.shape[1] * (first.rows.shape[1] + second.rows.shape[1])
    among = np.empty(BORROWING * (lent + near.shape[1]) + (LENDERS + COLUMNS) * borrowers.shape[1], np.int32)
    goes_with = np.empty(COLUMNS * (first.rows.shape[1] + second.rows.shape[1]), np.int32)
    lenders, weights = np.empty(LENDERS, np.int32), np.empty(LENDERS, np.float32)
    for n in range(len(histories)):
        size, vote = 0, 1.0
        for column in range(BORROWING):
            a = histories[n, column]
            if a < 0:
                break
            fade = _fade(a, known, popularity) if near[a, 0] >= 0 else 0.0
            if fade > 0:
                size = _borrow(
                    a,
                    vote * fade,
                    column,
                    first,
                    second,
                    near,
                    similar,
                    score,
                    strongest,
                    source,
                    among,
                    size,
                )
            vote *= AGE_DECAY
        found, vote = 0, 1.0
        for column in range(COLUMNS):
            a = histories[n, column]
            if a < 0:
                break
            found = _goes_with(a, vote, first, other, goes_with, found)
            found = _goes_with(a, vote, second, other, goes_with, found)
            vote *= AGE_DECAY
        chosen = select(other, goes_with, found, lenders, weights)
        for j in range(found):
            other[goes_with[j]] = 0
        highest = float(weights[0]) if chosen else 1.0
        for j in range(chosen):
            size = _to_borrowers(
                lenders[j], weights[j], 0, known, popularity, borrowers, strengths, count,
                score, strongest, source, among, size,
            )  # fmt: skip
        vote = DIRECT * highest
        for column in range(COLUMNS):
            a = histories[n, column]
            if a < 0:
                break
            size = _to_borrowers(
                a, vote, column, known, popularity, borrowers, strengths, count,
                score, strongest, source, among, size,
            )  # fmt: skip
            vote *= AGE_DECAY
        selected = select(score, among, size, out_rows[n], out_scores[n])
        for j in range(selected):
            out_sources[n, j] = source[out_rows[n, j]]
        for j in range(size):
            score[among[j]] = 0


@kernel
def _borrow(
    a: int,
    vote: float,
    column: int,
    first: Neighbours,
    second: Neighbours,
    near: Array,
    similar: Array,
    score: Array,
    strongest: Array,
    source: Array,
    among: Array,
    size: int,
) -> int:
    """Add the mean of the rows of the items that are near to a, and these themselves."""
    total, highest = 0.0, 0.0
    for j in range(near.shape[1]):
        if near[a, j] >= 0:
            total += similar[a, j] * similar[a, j]
    for j in range(near.shape[1]):
        c = near[a, j]
        if c < 0:
            break
        share = vote * similar[a, j] * similar[a, j] / total
        for lent in (first, second):
            if lent.size[c] and lent.total[c] > 0:
                scale = share / np.sqrt(lent.total[c])
                for m in range(lent.size[c]):
                    b = lent.rows[c, m]
                    part = scale * lent.weights[c, m] * _rarity(lent.total[b])
                    size = _add(b, part, column, score, strongest, source, among, size)
                    highest = max(highest, score[b])
    if highest == 0:
        highest = vote
    for j in range(near.shape[1]):
        c = near[a, j]
        if c < 0:
            break
        part = DIRECT * similar[a, j] * similar[a, j] * highest
        size = _add(c, part, column, score, strongest, source, among, size)
    return size


@kernel
def _goes_with(a: int, vote: float, lent: Neighbours, score: Array, among: Array, size: int) -> int:
    """Add the neighbours of a."""
    if lent.size[a] and lent.total[a] > 0:
        scale = vote / np.sqrt(lent.total[a])
        for j in range(lent.size[a]):
            b = lent.rows[a, j]
            if score[b] == 0:
                among[size] = b
                size += 1
            score[b] += scale * lent.weights[a, j] * _rarity(lent.total[b])
    return size


@kernel
def _to_borrowers(
    c: int,
    vote: float,
    column: int,
    known: Array,
    popularity: Array,
    borrowers: Array,
    strengths: Array,
    count: Array,
    score: Array,
    strongest: Array,
    source: Array,
    among: Array,
    size: int,
) -> int:
    """Add the new items that borrow from c."""
    for at in range(count[c]):
        x = borrowers[c, at]
        part = vote * strengths[c, at] * _fade(x, known, popularity)
        size = _add(x, part, column, score, strongest, source, among, size)
    return size


@kernel
def _rarity(total: float) -> float:
    """What goes with everything says less: half of the way to a cosine."""
    return float(1.0 / np.sqrt(np.sqrt(total + 3.0)))


@kernel
def _add(
    b: int, part: float, column: int, score: Array, strongest: Array, source: Array, among: Array, size: int
) -> int:
    if part <= 0:
        return size
    if score[b] == 0:
        among[size], strongest[b] = b, 0
        size += 1
    score[b] += part
    if part > strongest[b]:
        strongest[b], source[b] = part, column
    return size
