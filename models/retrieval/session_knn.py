"""Session kNN: what was in the recent sessions that look like this one.

    sim(s, q) = Σ_{i ∈ q ∩ s} 0.7^age_i · idf_i                 idf_i = ln(1 + sessions / sessions with i)
    score(b | q) = Σ_{s ∈ N(q)} sim(s, q)² · e^(−age_s / τ) · e^(−(distance_s(b, m) − 1) / 4) · side

N(q): the `neighbours` most similar of the sessions in the rings of q's items; m: the latest item of q that
is in s; distance: in positions of s, from where m is first; side: 1 after that, 0.8 before.  So m is proposed
where s has it again.

Vector-Multiplication-Indexed-Session kNN (Kersbergen, Sprangers and Schelter 2022, "Serenade: Low-Latency
Session-Based Recommendation in e-Commerce at Scale"), from V-SkNN (Ludewig and Jannach 2018, "Evaluation
of Session-based Recommendation Algorithms"), over sessions that are learnt one click at a time
(`RecentSessions`).  We differ in the square, in the decay of old sessions, and in weighting by distance to
the match: theirs counts all of a neighbour's items alike.  Neighbours are picked by similarity, in `LEVELS`
of it; of equal ones those that share the latest item, and began last, come first.

Keyed by user instead of session it is user kNN, and the query is the whole history.

Cost: learn about 0.5 µs an event; propose 8 to 20 µs a session.
Memory: that of `RecentSessions`, and 9 bytes an item of scratch for each thread.
"""

from typing import Literal

import numpy as np
from numba import njit

from models.core import HISTORY, SESSION, Candidates, QueryBatch
from models.kernels.decay import DAY_MS
from models.kernels.scratch import Scratch
from models.kernels.topk import select
from models.retrieval.recent_sessions import RecentSessions, age_of, contains

AGE_DECAY = 0.7
"""Weight of a query's item against the one after it; .6 to .8 are as good."""
REACH = 4.0
"""Positions over which a neighbour's item loses a factor e; 2 is worse, 8 as good."""
BEFORE = 0.8
"""Weight of what came before the match against what came after it."""
LEVELS = 256
"""Similarities are told apart to this many levels when the neighbours are picked."""


class SessionKnn(RecentSessions):
    """Proposes from the neighbours among the recent sessions."""

    def __init__(
        self,
        capacity: int,
        by: Literal["session", "user"] = "session",
        slots_per_item: float = 2.0,
        length: int = 16,
        latest: int = 64,
        neighbours: int = 100,
        tau_ms: float = 112 * DAY_MS,
    ) -> None:
        super().__init__(capacity, by, slots_per_item, length, latest)
        self.neighbours, self.tau_ms = neighbours, tau_ms
        columns = SESSION if by == "session" else HISTORY
        met = 1 << (2 * columns * latest - 1).bit_length()
        self._scratch = Scratch(
            (met, np.uint32),  # sessions met, by hash: the number
            (met, np.float32),  # similarity; 0: free
            (met, np.int8),  # the latest column of the query that it contains
            (columns * latest, np.int32),  # where in these they are
            (capacity, np.float32),  # score of an item
            (capacity, np.float32),  # the strongest part of it
            (capacity, np.int8),  # and the column of the query that gave it
            (neighbours * length, np.int32),  # items with a score
        )

    def propose(self, queries: QueryBatch, k: int) -> Candidates:
        """The items of the sessions most like this one, near to what they have in common."""
        asked = self.asked(queries)
        n = len(asked)
        out = Candidates(
            np.full((n, k), -1, np.int32), np.zeros((n, k), np.float32), np.full((n, k), -1, np.int8)
        )
        _propose(
            asked, queries.times, self.newest, self.index, self.neighbours, self.tau_ms,
            self._scratch.arrays, out.rows, out.scores, out.sources,
        )  # fmt: skip
        return out


@njit(cache=True, nogil=True)
def _propose(  # type: ignore[no-untyped-def]
    asked, times, newest, index, neighbours, tau_ms,
    scratch, out_rows, out_scores, out_sources,
):  # fmt: skip
    met, similarity, match, places, score, strongest, source, among = scratch
    slots, length = index.items.shape
    near = np.exp(-(np.arange(length) - 1.0) / REACH).astype(np.float32)
    levels = np.empty(LEVELS + 1, np.int32)
    chosen, columns = np.empty(neighbours, np.int64), np.empty(neighbours, np.int8)
    weights = np.empty(neighbours, np.float32)
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
        picked = 0
        for j in range(count):
            at = places[j]
            sim, number, column = similarity[at], met[at], match[at]
            similarity[at] = 0
            own = int(sim * scale)
            if own < level or (own == level and left == 0):
                continue
            left -= own == level
            slot = (newest - np.int64(age_of(newest, number))) % slots
            if np.uint32(index.numbers[slot]) != number:
                continue
            chosen[picked], columns[picked], weights[picked] = slot, column, sim * sim
            picked += 1
        # in a loop of its own: the processor fetches the next sessions while it adds up this one
        found = 0
        for j in range(picked):
            slot, column = chosen[j], columns[j]
            size, shared = index.sizes[slot], asked[n, column]
            centre = 0
            while centre < size and index.items[slot, centre] != shared:
                centre += 1
            weight = np.float32(weights[j] * np.exp(-max(times[n] - index.times[slot], 0) / tau_ms))
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
    live = min(newest, len(index.numbers))
    count, total, vote = 0, np.float32(0), 1.0
    for column in range(len(query)):
        item = query[column]
        if item < 0:
            break
        if index.counts[item] > 0 and not contains(query, column, item):
            weight = np.float32(vote * np.log(1.0 + live / index.counts[item]))
            total += weight
            ring = index.rings[item]
            for number in ring[: min(index.counts[item], len(ring))]:
                at = (number * np.uint32(2654435769) >> np.uint32(7)) & mask
                while similarity[at] > 0 and met[at] != number:
                    at = (at + np.uint32(1)) & mask
                if similarity[at] == 0:
                    met[at], match[at], places[count] = number, column, at
                    count += 1
                similarity[at] += weight
        vote *= AGE_DECAY
    return count, total
