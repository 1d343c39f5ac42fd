"""The generator `graph`: random walks with restart over the recent users' histories."""

from typing import Literal

import numpy as np

from models.core import SESSION, Batch, Candidates, QueryBatch, Rows
from models.kernels.jit import Array, kernel
from models.kernels.scratch import Scratch
from models.kernels.splitmix import GOLDEN, mixed
from models.kernels.topk import select
from models.retrieval.recent_sessions import ITEMS, SIZE, Index, RecentSessions, age_of

AGE_DECAY = 0.6
"""Walks from a query's item against those from the one after it."""
FAR = (1 + np.log(1 - (np.arange(256) + 0.5) / 256) / np.log(0.75)).astype(np.int32)
"""Distance, in positions, to a near item by eight random bits: one further with odds 3 to 1."""
FORWARD = 5
"""Steps of eight that lead to an item after the current one; the others lead to one before it."""


class Walks:
    """Items that random walks over the graph of recent users and items visit most.

        score(b | q) = Σ_{i ∈ q} visits_i(b)    visits_i: of `steps` · 0.6^age_i / Σ_j 0.6^age_j steps from i

    A step leads from an item to one of the latest users' histories with it (the newer the likelier), and on
    to an item near to it there, rather after than before it; after each step half of the walkers stop, so
    that half of the steps are first ones from i, a quarter second ones, and so on: a restart with probability
    ½.  The latest item itself is not proposed.

    Pixie (Eksombatchai et al. 2018, "Pixie: A System for Recommending 3+ Billion Items to 200+ Million Users
    in Real-Time").  Where Pixie biases edges by features of the user, we bias them by recency and by distance
    in the history; its boost of what is reached from several items, (Σ √visits)², lost 2 points of MRR@20 on
    bol-toy (valid) and 0.1 on diginetica (first cycles), and is left out.

    One step is a sampled user kNN; further ones reach what no neighbour had: more candidates for rare items.
    Random numbers come from a hash of the query's items, so that a replica walks as the learner does.  All
    walkers take a step before any takes the next one, so that the processor fetches for many of them at a
    time.

    Cost: learn about 0.5 µs an event; propose 0.04 µs a step, twice that where no cache holds the sessions.
    Memory: that of `RecentSessions`, and 5 bytes an item of scratch for each thread.

    Parameters
    ----------
    capacity, by, slots_per_item, length, latest
        As of `models.retrieval.recent_sessions.RecentSessions`.
    steps
        Steps of all walks of a query.  2,000 gained a point of recall on bol-toy at four times the cost.

    Examples
    --------
    >>> from models.small_batches import query_batch, session_batch
    >>> generator = Walks(100)
    >>> generator.learn(session_batch([[0, 1], [1, 2]]))
    >>> generator.propose(query_batch([[0]]), 2).scores.tolist()
    [[330.0, 119.0]]
    """

    def __init__(
        self,
        capacity: int,
        by: Literal["session", "user"] = "user",
        slots_per_item: float = 2.0,
        length: int = 16,
        latest: int = 96,
        steps: int = 500,
    ) -> None:
        self.state = RecentSessions(capacity, by, slots_per_item, length, latest)
        self.steps = steps
        # a view that kernels know to be contiguous
        self._words = self.state.records.view(np.int32).reshape(self.state.rows, -1)
        self._scratch = Scratch(
            (capacity, np.float32),  # visits to an item
            (capacity, np.int8),  # the column of the query from which it was visited first
            (steps, np.int32),  # items visited
            (steps, np.int32),  # where each walker is
            (steps, np.int32),  # the slot of the session that it reads
        )

    def learn(self, batch: Batch) -> None:
        """Append each example's item to the user's history."""
        self.state.learn(batch)

    def evict(self, rows: Rows) -> None:
        """Remove these items from all histories."""
        self.state.evict(rows)

    def propose(self, queries: QueryBatch, k: int) -> Candidates:
        """The items that walks from the latest items visit most."""
        out = Candidates.empty(len(queries.history), k)
        _propose(
            queries.history[:, :SESSION], self.state.newest, self.state.index, self._words, self.steps,
            self._scratch.arrays, out.rows, out.scores, out.sources,
        )  # fmt: skip
        return out


@kernel
def _propose(
    queries: Array,
    newest: int,
    index: Index,
    words: Array,
    steps: int,
    scratch: tuple[Array, ...],
    out_rows: Array,
    out_scores: Array,
    out_sources: Array,
) -> None:
    visits, source, visited, places, sessions = scratch
    for n in range(len(queries)):
        query = queries[n]
        known, random = 0, np.uint64(0)
        while known < len(query) and query[known] >= 0:
            random = mixed(random ^ np.uint64(query[known]))
            known += 1
        share, count = (1 - AGE_DECAY) / (1 - AGE_DECAY ** max(known, 1)), 0
        for column in range(known):
            start = query[column]
            walkers = (int(steps * share) + 1) // 2 if index.counts[start] > 0 else 0
            share *= AGE_DECAY
            places[:walkers] = start
            while walkers > 0:
                random = _step(places[:walkers], sessions, newest, index, words, random)
                for b in places[:walkers]:
                    if b == start:
                        continue
                    if visits[b] == 0:
                        visited[count], source[b] = b, column
                        count += 1
                    visits[b] += 1
                walkers //= 2
        if known > 0:
            visits[query[0]] = 0
        selected = select(visits, visited, count, out_rows[n], out_scores[n])
        for j in range(selected):
            out_sources[n, j] = source[out_rows[n, j]]
        for j in range(count):
            visits[visited[j]] = 0


@kernel
def _step(
    places: Array, sessions: Array, newest: int, index: Index, words: Array, random: np.uint64
) -> np.uint64:
    """Move each walker from its item to one near to it in a session; where there is none it stays.

    Returns the state of the random numbers.
    """
    slots, latest, current = len(words), index.rings.shape[1], newest % len(words)
    length = words.shape[1] - ITEMS
    for w in range(len(places)):
        item = places[w]
        random += GOLDEN
        u = np.float32(mixed(random) >> np.uint64(40)) * np.float32(2**-24)
        number = index.rings[item, int(u * u * min(index.counts[item], latest))]  # the newer the likelier
        slot = current - np.int64(age_of(newest, number))
        # never outside, even if a ring is wrong: an item that is not in the session stays where it is
        sessions[w] = max(slot + slots, 0) if slot < 0 else slot
    for w in range(len(places)):
        slot, item = sessions[w], places[w]
        random += GOLDEN
        bits = mixed(random)
        at = length
        for p in range(length):  # all of them: without a branch it takes a few vector instructions
            at = min(at, p if words[slot, ITEMS + p] == item else length)
        before, after = at, words[slot, SIZE] - 1 - at
        far = FAR[bits & np.uint64(255)]
        forward = (before == 0) | ((after > 0) & ((bits >> np.uint64(8)) % np.uint64(8) < FORWARD))
        near = at + (min(far, after) if forward else -min(far, before))
        if after >= 0:
            places[w] = words[slot, ITEMS + near]
    return random
