"""Random walks with restart over the graph of recent users and items: what is reached most often.

    score(b | q) = Σ_{i ∈ q} visits_i(b)        visits_i: of `steps` · 0.6^age_i / Σ_j 0.6^age_j steps from i

A step goes from an item to one of the latest users' histories with it (the newer the likelier), and on to
an item near to it there, rather after than before it; with probability `RESTART` the walk begins at i
again.  The latest item itself is not proposed.

Pixie (Eksombatchai et al. 2018, "Pixie: A System for Recommending 3+ Billion Items to 200+ Million Users in
Real-Time").  Where Pixie biases edges by features of the user, we bias them by recency and by distance in
the history; its boost of what is reached from several items, (Σ √visits)², lost 2 points of MRR@20 on
bol-toy (valid) and 0.1 on diginetica (first cycles), and is left out.

One step is a sampled user kNN; further ones reach what no neighbour had: more candidates for rare items.
The random numbers are drawn from a hash of the query's items, so that a replica walks as the learner does.

Cost: learn about 0.5 µs an event; propose about 0.06 µs a step.
Memory: that of `RecentSessions`, and 13 bytes an item of scratch for each thread.
"""

from typing import Literal

import numpy as np
from numba import njit

from models.core import SESSION, Candidates, Queries
from models.retrieval.recent_sessions import RecentSessions, age_of
from models.scratch import Scratch
from models.topk import select

AGE_DECAY = 0.6
"""Walks from a query's item against those from the one after it."""
RESTART = 0.5
"""Probability, after each step."""


class Walks(RecentSessions):
    """Proposes from walks over the recent sessions and their items."""

    def __init__(
        self,
        capacity: int,
        by: Literal["session", "user"] = "user",
        slots_per_item: float = 2.0,
        length: int = 16,
        latest: int = 96,
        steps: int = 500,
    ) -> None:
        super().__init__(capacity, by, slots_per_item, length, latest)
        self.steps = steps
        self._scratch = Scratch(
            (capacity, np.float32),  # score of an item
            (capacity, np.int32),  # visits from one item of the query
            (capacity, np.float32),  # the most from one
            (capacity, np.int8),  # and its column
            (steps, np.int32),  # items visited from one
            (steps, np.int32),  # items visited from any
        )

    def propose(self, queries: Queries, k: int) -> Candidates:
        """The items that walks from the latest items visit most."""
        n = len(queries.history)
        out = Candidates(
            np.full((n, k), -1, np.int32), np.zeros((n, k), np.float32), np.full((n, k), -1, np.int8)
        )
        _propose(
            queries.history[:, :SESSION], self.newest, self.index, self.steps,
            self._scratch.arrays, out.rows, out.scores, out.sources,
        )  # fmt: skip
        return out


@njit(cache=True, nogil=True)
def _propose(  # type: ignore[no-untyped-def]
    asked, newest, index, steps,
    scratch, out_rows, out_scores, out_sources,
):  # fmt: skip
    score, visits, most, source, visited, among = scratch
    for n in range(len(asked)):
        query = asked[n]
        known = 0
        while known < len(query) and query[known] >= 0:
            known += 1
        random = np.uint64(0x9E3779B97F4A7C15)
        for column in range(known):
            random = (random ^ np.uint64(query[column])) * np.uint64(0xBF58476D1CE4E5B9)
        share, count = (1 - AGE_DECAY) / (1 - AGE_DECAY ** max(known, 1)), 0
        for column in range(known):
            reached, random = _walk(query[column], int(steps * share), newest, index, random, visits, visited)
            for j in range(reached):
                b = visited[j]
                part = np.float32(visits[b])
                visits[b] = 0
                if b == query[0]:
                    continue
                if score[b] == 0:
                    among[count], most[b] = b, 0
                    count += 1
                score[b] += part
                if part > most[b]:
                    most[b], source[b] = part, column
            share *= AGE_DECAY
        kept = select(score, among, count, out_rows[n], out_scores[n])
        for j in range(kept):
            out_sources[n, j] = source[out_rows[n, j]]
        for j in range(count):
            score[among[j]] = 0


@njit(cache=True, nogil=True)
def _walk(start, steps, newest, index, random, visits, visited):  # type: ignore[no-untyped-def]
    """Count the visits to items other than `start`.  Returns how many such items, and the random state."""
    slots, latest = len(index.numbers), index.rings.shape[1]
    reached, item = 0, start
    for _ in range(steps):
        random = _next(random)
        u = _uniform(random)
        live = min(index.counts[item], latest)
        if live > 0:
            number = index.rings[item, int(u * u * live)]  # the newer the likelier
            slot = (newest - np.int64(age_of(newest, number))) % slots
            random = _next(random)
            item = _near(index.items[slot], index.sizes[slot], item, random)
            if item != start:
                if visits[item] == 0:
                    visited[reached] = item
                    reached += 1
                visits[item] += 1
        random = _next(random)
        if live == 0 or _uniform(random) < RESTART:
            item = start
    return reached, random


@njit(cache=True, nogil=True)
def _near(items, size, item, random):  # type: ignore[no-untyped-def]
    """An item of the session near to this one, itself if it is alone: a position further with odds 3 to 1."""
    centre = 0
    while centre < size and items[centre] != item:
        centre += 1
    if size < 2 or centre == size:
        return item
    forward = centre == 0 or (centre < size - 1 and random & np.uint64(7) < 5)
    room = size - 1 - centre if forward else centre
    distance, random = 1, random >> np.uint64(3)
    while distance < room and random & np.uint64(3) != 0:
        distance, random = distance + 1, random >> np.uint64(2)
    return items[centre + distance] if forward else items[centre - distance]


@njit(cache=True, nogil=True, inline="always")
def _next(random):  # type: ignore[no-untyped-def]
    """Xorshift64* (Vigna 2016) without its last multiplication, which `_uniform` does."""
    random ^= random >> np.uint64(12)
    random ^= random << np.uint64(25)
    return random ^ (random >> np.uint64(27))


@njit(cache=True, nogil=True, inline="always")
def _uniform(random):  # type: ignore[no-untyped-def]
    """0 ≤ u < 1, of the highest 53 bits."""
    return (random * np.uint64(2685821657736338717) >> np.uint64(11)) / 9007199254740992.0
