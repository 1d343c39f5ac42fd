"""What new items borrow from known ones: the kernels of `models.retrieval.content`."""

from typing import NamedTuple

import numpy as np

from models.core import Floats, Rows
from models.kernels.jit import Array, kernel
from models.kernels.topk import select
from models.retrieval.covisitation import AGE_DECAY

COLUMNS = 4
"""Latest items of a user beside which new ones are proposed."""
BORROWING = 1
"""Latest items of a user that borrow if they are new themselves: the most expensive part."""
GRADUATED = 5.0
"""Events in the last two weeks or so after which an item borrows nothing any more, and lends; the fewer it
has, the more what it borrows counts.  Most items of a shop have few events, and what a user at one that
borrows costs is as much as half of the list."""


class Neighbours(NamedTuple):
    """What `CoVisitation` has counted, by row: W_ab = c_ab / √(Σ_b c_ab) / (Σ_a c_ba + 3)^¼."""

    rows: Rows
    weights: Floats
    size: Rows
    total: Floats


@kernel
def _fade(x: int, known: Array, popularity: Array) -> float:
    """How much of what an item borrows counts: 1 without events of its own."""
    if not known[x]:
        return 1.0
    events = np.exp(np.float64(popularity[x, -1]))
    fade: float = max(1.0 - events / GRADUATED, 0.0)
    return fade


@kernel
def propose_items(
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
    """Write the best items by `models.retrieval.content.Content` into rows, scores and sources (k each)."""
    score, strongest, source = scratch
    lent = near.shape[1] * (first.rows.shape[1] + second.rows.shape[1])
    among = np.empty(BORROWING * (lent + near.shape[1]) + COLUMNS * borrowers.shape[1], np.int32)
    for n in range(len(histories)):
        size, vote = 0, 1.0
        for column in range(BORROWING):
            a = histories[n, column]
            if a < 0:
                break
            fade = _fade(a, known, popularity) if near[a, 0] >= 0 else 0.0
            if fade > 0:
                size = _borrow(
                    a, vote * fade, column, first, second, near, similar, score, strongest, source, among,
                    size,
                )  # fmt: skip
            vote *= AGE_DECAY
        highest = 0.0
        for j in range(size):
            highest = max(highest, score[among[j]])
        vote = highest if highest > 0 else 1.0
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
        part = similar[a, j] * similar[a, j] * highest
        size = _add(c, part, column, score, strongest, source, among, size)
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
def _rarity(total: np.float32) -> np.float32:
    """What goes with everything says less: half of the way to a cosine."""
    rarity: np.float32 = np.float32(1.0) / np.sqrt(np.sqrt(total + np.float32(3.0)))
    return rarity


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


@kernel
def forget(rows: Array, near: Array, borrowers: Array, strengths: Array, count: Array) -> None:
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
def lend(
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
