"""Session kNN: what was in the recent sessions that look like this one.

    sim(s, q) = Σ_{i ∈ q ∩ s} 0.7^age_i · idf_i                 idf_i = ln(1 + sessions / sessions with i)
    score(b | q) = Σ_{s ∈ N(q)} sim(s, q)² · e^(−age_s / τ) · e^(−(distance_s(b, m) − 1) / 4) · side

N(q): the `neighbours` most similar of the sessions in the rings of q's items; m: the latest item of q that
is in s, which proposes others and not itself; distance: in positions of s; side: 1 after m, 0.8 before.  Vector-Multiplication-Indexed-Session kNN (Kersbergen,
Sprangers and Schelter 2022, "Serenade: Low-Latency Session-Based Recommendation in e-Commerce at Scale"),
from V-SkNN (Ludewig and Jannach 2018, "Evaluation of Session-based Recommendation Algorithms"), learnt one
click at a time.  We differ in the square, in the decay of old sessions, and in weighting by distance to the
match: theirs counts all of a neighbour's items alike.

Sessions are numbered as they start.  Number n lives in slot n mod `slots`, so a new session takes the
place of the oldest; one that outgrows its slot goes on under a new number.  Each item has a ring: the
highest numbers of live sessions that contain it.  Only the slots travel: rings are what the slots say, in
whatever order they came, because a pair of session and item is never taken back but by the expiry of
the lowest numbers, or of the whole item.

Keyed by user instead of session it is user kNN, and the query is the whole history.

Cost: learn about 0.5 µs an event; propose 15 to 25 µs a session.
Memory: 36 + 4 × `length` bytes a slot, 4 × `latest` + 8 an item.
"""

from typing import Literal, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from models.core import HISTORY, SESSION, Batch, Candidates, Queries, Rows
from models.decay import DAY_MS
from models.topk import select

AGE_DECAY = 0.7
"""Weight of a query's item against the one after it; .6 to .8 are as good."""
REACH = 4.0
"""Positions over which a neighbour's item loses a factor e; 2 is worse, 8 as good."""
BEFORE = 0.8
"""Weight of what came before the match against what came after it."""
LEVELS = 256
"""Similarities are told apart to this many levels when the neighbours are picked."""


class Index(NamedTuple):
    """Sessions in their slots, and the rings of the items."""

    numbers: NDArray[np.int64]
    """int64[slots]; 0: none yet."""
    keys: NDArray[np.uint64]
    """uint64[slots]: hash of the session."""
    times: NDArray[np.int64]
    """int64[slots]: of the latest event, ms."""
    sizes: Rows
    """int32[slots]."""
    items: Rows
    """int32[slots, length]: distinct, in the order in which they were first seen."""
    rings: NDArray[np.uint32]
    """uint32[items, latest]: the lowest 32 bits of session numbers, highest first."""
    filled: Rows
    """int32[items]: of the ring."""
    counts: Rows
    """int32[items]: live sessions that contain the item."""


class SessionKnn:
    """Recent sessions, and which of them contain an item."""

    def __init__(
        self,
        capacity: int,
        by: Literal["session", "user"] = "session",
        slots_per_item: float = 2.0,
        length: int = 16,
        latest: int = 96,
        neighbours: int = 150,
        tau_ms: float = 112 * DAY_MS,
    ) -> None:
        self.by, self.neighbours, self.tau_ms = by, neighbours, tau_ms
        self.rows = max(int(capacity * slots_per_item), 2)
        self.dtype = np.dtype(
            [
                ("row", "<i4"),
                ("size", "<i4"),
                ("number", "<i8"),
                ("key", "<u8"),
                ("time", "<i8"),
                ("items", "<i4", length),
            ]
        )
        self._index = Index(
            np.zeros(self.rows, np.int64),
            np.zeros(self.rows, np.uint64),
            np.zeros(self.rows, np.int64),
            np.zeros(self.rows, np.int32),
            np.zeros((self.rows, length), np.int32),
            np.zeros((capacity, latest), np.uint32),
            np.zeros(capacity, np.int32),
            np.zeros(capacity, np.int32),
        )
        self._newest = 0
        """Highest number given."""
        self._dirty = np.zeros(self.rows, np.bool_)
        self._open: Rows | None = None
        """Key ▶ slot + 1 by hash, int32[power of two]; a replica needs none, and a learner that was
        restored makes it from the slots."""
        columns = SESSION if by == "session" else HISTORY
        met = 1 << (2 * columns * latest - 1).bit_length()
        self._scratch = (
            np.zeros(met, np.uint32),  # sessions met, by hash: the number
            np.zeros(met, np.float32),  # similarity; 0: free
            np.zeros(met, np.int8),  # the latest column of the query that it contains
            np.zeros(columns * latest, np.int32),  # where in these they are
            np.zeros(capacity, np.float32),  # score of an item
            np.zeros(capacity, np.float32),  # the strongest part of it
            np.zeros(capacity, np.int8),  # and the column of the query that gave it
            np.zeros(neighbours * length, np.int32),  # items with a score
        )

    def learn(self, batch: Batch) -> None:
        """Put each example's item into its session."""
        if self._open is None:
            self._open = np.zeros(1 << (2 * self.rows - 1).bit_length(), np.int32)
            order = np.argsort(self._index.numbers, kind="stable")
            _open(self._open, self._index.keys, order[self._index.numbers[order] > 0])
        keys = batch.sessions if self.by == "session" else batch.users
        self._newest = _learn(
            batch.items, keys, batch.queries.times, self._newest, self._index, self._open, self._dirty
        )

    def touched(self) -> Rows:
        """See `Generator`."""
        rows = np.flatnonzero(self._dirty).astype(np.int32)
        self._dirty[rows] = False
        return rows

    def dump(self, rows: Rows) -> NDArray[np.void]:
        """See `Generator`."""
        index, out = self._index, np.zeros(len(rows), self.dtype)
        out["row"], out["size"], out["number"] = rows, index.sizes[rows], index.numbers[rows]
        out["key"], out["time"], out["items"] = index.keys[rows], index.times[rows], index.items[rows]
        return out

    def apply(self, rows: NDArray[np.void]) -> None:
        """See `Generator`.  A session's slot follows from its number, so `slots` may have grown."""
        if not len(rows):
            return
        last = len(rows) - 1 - np.unique(rows["number"][::-1], return_index=True)[1]
        rows = rows[last]  # ascending numbers, each as it came last
        self._newest = max(self._newest, int(rows["number"][-1]))
        _apply(
            rows["number"], rows["key"], rows["time"], rows["size"], np.ascontiguousarray(rows["items"]),
            self._newest, self._index,
        )  # fmt: skip
        self._open = None

    def forget(self, rows: Rows) -> None:
        """See `Generator`."""
        gone = np.zeros(len(self._index.filled), np.bool_)
        gone[rows] = True
        _forget(gone, self._index, self._dirty)

    def propose(self, queries: Queries, k: int) -> Candidates:
        """The items of the sessions most like this one, near to what they have in common."""
        asked = queries.session if self.by == "session" else queries.history
        n = len(asked)
        out = Candidates(
            np.full((n, k), -1, np.int32), np.zeros((n, k), np.float32), np.full((n, k), -1, np.int8)
        )
        _propose(
            asked, queries.times, self._newest, self._index, self.neighbours, self.tau_ms,
            *self._scratch,
            out.rows, out.scores, out.sources,
        )  # fmt: skip
        return out


@njit(cache=True, nogil=True, inline="always")
def _age(newest, number):  # type: ignore[no-untyped-def]
    """How many sessions began since, of the lowest 32 bits of both: right while `slots` < 2^32."""
    return np.uint32(np.uint64(newest) - np.uint64(number))


@njit(cache=True, nogil=True)
def _enter(index, newest, item, number):  # type: ignore[no-untyped-def]
    """Put the number into the item's ring, highest first; of a full ring the lowest goes."""
    ring, filled = index.rings[item], index.filled[item]
    age = _age(newest, number)
    at = 0
    while at < filled and _age(newest, ring[at]) < age:
        at += 1
    if at == len(ring) or (at < filled and _age(newest, ring[at]) == age):
        return
    last = min(filled, len(ring) - 1)
    for j in range(last, at, -1):
        ring[j] = ring[j - 1]
    ring[at] = np.uint32(number)
    index.filled[item] = last + 1


@njit(cache=True, nogil=True)
def _leave(index, item, number):  # type: ignore[no-untyped-def]
    """Take the number out of the item's ring."""
    ring, kept = index.rings[item], 0
    for j in range(index.filled[item]):
        if ring[j] != np.uint32(number):
            ring[kept] = ring[j]
            kept += 1
    index.filled[item] = kept


@njit(cache=True, nogil=True)
def _find(table, keys, key):  # type: ignore[no-untyped-def]
    """Where the key is in the open table, or the free place where it belongs."""
    mask = np.uint64(len(table) - 1)
    at = (key * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(20)) & mask
    while table[at] != 0 and keys[table[at] - 1] != key:
        at = (at + np.uint64(1)) & mask
    return at


@njit(cache=True, nogil=True)
def _open(table, keys, slots):  # type: ignore[no-untyped-def]
    for slot in slots:  # ascending numbers: the latest of a key stays
        table[_find(table, keys, keys[slot])] = slot + 1


@njit(cache=True, nogil=True)
def _close(table, keys, slot):  # type: ignore[no-untyped-def]
    """Forget the slot's key, unless it went on in another slot; what had to yield to it moves up."""
    mask = np.uint64(len(table) - 1)
    hole = _find(table, keys, keys[slot])
    if table[hole] != slot + 1:
        return
    at = hole
    while True:
        at = (at + np.uint64(1)) & mask
        if table[at] == 0:
            break
        home = (keys[table[at] - 1] * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(20)) & mask
        if ((at - home) & mask) >= ((at - hole) & mask):
            table[hole] = table[at]
            hole = at
    table[hole] = 0


@njit(cache=True, nogil=True)
def _learn(items, keys, times, newest, index, table, dirty):  # type: ignore[no-untyped-def]
    slots, length = index.items.shape
    for n in range(len(items)):
        item = items[n]
        if item < 0:
            continue
        slot = table[_find(table, index.keys, keys[n])] - 1
        known = False
        if slot >= 0:
            for j in range(index.sizes[slot]):
                known = known or index.items[slot, j] == item
        if not known and (slot < 0 or index.sizes[slot] == length):
            newest += 1
            slot = newest % slots
            if index.numbers[slot] > 0:
                _close(table, index.keys, slot)
                for j in range(index.sizes[slot]):
                    index.counts[index.items[slot, j]] -= 1
            index.numbers[slot], index.keys[slot], index.sizes[slot] = newest, keys[n], 0
            index.times[slot] = times[n]
            index.items[slot] = 0
            table[_find(table, index.keys, keys[n])] = slot + 1
        if not known:
            index.items[slot, index.sizes[slot]] = item
            index.sizes[slot] += 1
            index.counts[item] += 1
            _enter(index, newest, item, index.numbers[slot])
        index.times[slot] = max(index.times[slot], times[n])
        dirty[slot] = True
    return newest


@njit(cache=True, nogil=True)
def _apply(numbers, keys, times, sizes, items, newest, index):  # type: ignore[no-untyped-def]
    """What leaves a ring leaves before anything enters one: a full ring turns the lower numbers away."""
    slots = len(index.numbers)
    for n in range(len(numbers)):
        slot = numbers[n] % slots
        if numbers[n] < index.numbers[slot]:
            continue
        for j in range(index.sizes[slot]):
            item = index.items[slot, j]
            index.counts[item] -= 1
            if numbers[n] > index.numbers[slot] or not _contains(items[n], sizes[n], item):
                _leave(index, item, index.numbers[slot])
        index.sizes[slot] = 0
        index.numbers[slot] = numbers[n]
    for n in range(len(numbers)):
        slot = numbers[n] % slots
        if numbers[n] != index.numbers[slot]:
            continue
        index.keys[slot], index.times[slot], index.sizes[slot] = keys[n], times[n], sizes[n]
        index.items[slot] = items[n]
        for j in range(sizes[n]):
            index.counts[items[n, j]] += 1
            _enter(index, newest, items[n, j], numbers[n])


@njit(cache=True, nogil=True)
def _contains(items, size, item):  # type: ignore[no-untyped-def]
    return np.any(items[:size] == item)


@njit(cache=True, nogil=True)
def _forget(gone, index, dirty):  # type: ignore[no-untyped-def]
    index.filled[gone] = 0
    index.counts[gone] = 0
    for slot in range(len(index.numbers)):
        kept = 0
        for j in range(index.sizes[slot]):
            if not gone[index.items[slot, j]]:
                index.items[slot, kept] = index.items[slot, j]
                kept += 1
        if kept < index.sizes[slot]:
            index.items[slot, kept:] = 0
            index.sizes[slot] = kept
            dirty[slot] = True


@njit(cache=True, nogil=True)
def _propose(  # type: ignore[no-untyped-def]
    asked, times, newest, index, neighbours, tau_ms,
    met, similarity, match, places, score, strongest, source, among,
    out_rows, out_scores, out_sources,
):  # fmt: skip
    slots, length = index.items.shape
    near = np.exp(-(np.arange(length) - 1.0) / REACH).astype(np.float32)
    levels = np.empty(LEVELS + 1, np.int32)
    for n in range(len(asked)):
        count, total = _meet(asked[n], newest, index, met, similarity, match, places)
        # the level from which on sessions are neighbours, and how many of that level still are
        levels[:] = 0
        scale = np.float32(LEVELS / total) if total > 0 else np.float32(0)
        for j in range(count):
            levels[int(similarity[places[j]] * scale)] += 1
        level, left = LEVELS, neighbours
        while level > 0 and levels[level] <= left:
            left -= levels[level]
            level -= 1
        found = 0
        for j in range(count):
            at = places[j]
            sim, number, column = similarity[at], met[at], match[at]
            similarity[at] = 0
            own = int(sim * scale)
            if own < level or (own == level and left == 0):
                continue
            left -= own == level
            slot = (newest - np.int64(_age(newest, number))) % slots
            if np.uint32(index.numbers[slot]) != number:
                continue
            size, shared = index.sizes[slot], asked[n, column]
            centre = 0
            while centre < size and index.items[slot, centre] != shared:
                centre += 1
            weight = np.float32(sim * sim * np.exp(-max(times[n] - index.times[slot], 0) / tau_ms))
            for p in range(size):
                if p == centre:
                    continue
                b = index.items[slot, p]
                part = weight * (near[p - centre] if p > centre else np.float32(BEFORE) * near[centre - p])
                if score[b] == 0:
                    among[found] = b
                    found += 1
                    strongest[b] = 0
                score[b] += part
                if part > strongest[b]:
                    strongest[b], source[b] = part, column
        kept = select(score, among, found, out_rows[n], out_scores[n])
        for j in range(kept):
            out_sources[n, j] = source[out_rows[n, j]]
        out_rows[n, kept:] = -1
        out_scores[n, kept:] = 0
        for j in range(found):
            score[among[j]] = 0


@njit(cache=True, nogil=True)
def _meet(query, newest, index, met, similarity, match, places):  # type: ignore[no-untyped-def]
    """Similarity of each session that shares an item with the query, in tables by hash.

    Returns how many they are, and the similarity of one that shared everything.
    """
    mask = np.uint32(len(met) - 1)
    slots = np.uint32(len(index.numbers))
    live = min(newest, len(index.numbers))
    count, total, vote = 0, np.float32(0), 1.0
    for column in range(len(query)):
        item = query[column]
        if item < 0:
            break
        if index.counts[item] > 0 and not _contains(query, column, item):
            weight = np.float32(vote * np.log(1.0 + live / index.counts[item]))
            total += weight
            ring = index.rings[item]
            for j in range(index.filled[item]):
                number = ring[j]
                if _age(newest, number) >= slots:
                    break
                at = (number * np.uint32(2654435769) >> np.uint32(7)) & mask
                while similarity[at] > 0 and met[at] != number:
                    at = (at + np.uint32(1)) & mask
                if similarity[at] == 0:
                    met[at], match[at], places[count] = number, column, at
                    count += 1
                similarity[at] += weight
        vote *= AGE_DECAY
    return count, total
