"""The generators `session-knn` and `user-knn`: what was in the recent sessions that look like this one."""

from typing import Literal

import numpy as np

from models.core import HISTORY, SESSION, Batch, Candidates, QueryBatch, Rows
from models.kernels.hash_table import size_for
from models.kernels.jit import Array, kernel
from models.kernels.scratch import Scratch
from models.kernels.splitmix import GOLDEN_32
from models.kernels.topk import select
from models.retrieval.recent_sessions import Index, RecentSessions, age_of, contains
from models.units import DAY_MS

AGE_DECAY = 0.7
"""Weight of a query's item against the one after it; .6 to .8 are as good."""
REACH = 4.0
"""Positions over which a neighbour's item loses a factor e; 2 is worse, 8 as good."""
BEFORE = 0.8
"""Weight of what came before the match against what came after it."""
LEVELS = 256
"""Levels of similarity that are distinguished when the neighbours are picked."""


class SessionKnn:
    """Items of the recent sessions most similar to the user's, near to what they have in common.

        sim(s, q) = Σ_{i ∈ q ∩ s} 0.7^age_i · idf_i                 idf_i = ln(1 + sessions / sessions with i)
        score(b | q) = Σ_{s ∈ N(q)} sim(s, q)² · e^(−age_s / τ) · e^(−(distance_s(b, m) − 1) / 4) · side

    N(q): the most similar of the sessions in the rings of q's items; m: the latest item of q that is in s;
    distance: in positions of s, from where m is first; side: 1 after that, 0.8 before.  So m is proposed
    where s repeats it.

    Vector-Multiplication-Indexed-Session kNN (Kersbergen, Sprangers and Schelter 2022, "Serenade: Low-Latency
    Session-Based Recommendation in e-Commerce at Scale"), from V-SkNN (Ludewig and Jannach 2018, "Evaluation
    of Session-based Recommendation Algorithms"), over sessions that are learnt one click at a time.  We
    differ in the square, in the decay of old sessions, and in weighting by distance to the match: Serenade
    counts all of a neighbour's items alike.  Neighbours are picked by similarity, in `LEVELS` of it; of equal
    ones those that share the latest item, and began last, come first.  Keyed by user instead of session it is
    user kNN, and the query is the whole history.

    Cost: learn about 0.5 µs an event; propose 8 to 20 µs a query.
    Memory: that of `RecentSessions`, and 9 bytes an item of scratch for each thread.

    Parameters
    ----------
    capacity, by, slots_per_item, length, latest
        As of `models.retrieval.recent_sessions.RecentSessions`.
    neighbours
        Sessions that items are proposed from; 75 to 300 are as good.
    tau_ms
        Event time over which a session's weight falls by a factor e, ms; 28 to 400 days are as good in shops.

    Examples
    --------
    >>> from models.small_batches import query_batch, session_batch
    >>> generator = SessionKnn(100)
    >>> generator.learn(session_batch([[0, 1], [0, 1, 2]]))
    >>> candidates = generator.propose(query_batch([[0]]), 1)
    >>> int(candidates.rows[0, 0]), round(float(candidates.scores[0, 0]), 2)
    (1, 0.96)
    """

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
        self.state = RecentSessions(capacity, by, slots_per_item, length, latest)
        self.neighbours, self.tau_ms = neighbours, float(tau_ms)
        columns = SESSION if by == "session" else HISTORY
        met = size_for(columns * latest)
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

    def learn(self, batch: Batch) -> None:
        """Append each example's item to its session."""
        self.state.learn(batch)

    def evict(self, rows: Rows) -> None:
        """Remove these items from all sessions."""
        self.state.evict(rows)

    def propose(self, queries: QueryBatch, k: int) -> Candidates:
        """The items of the sessions most like each query, near to what they have in common."""
        items = self.state.lookup_items(queries)
        out = Candidates.empty(len(items), k)
        _propose(
            items, queries.times, self.state.newest, self.state.index, self.neighbours, self.tau_ms,
            self._scratch.arrays, out.rows, out.scores, out.sources,
        )  # fmt: skip
        return out


@kernel
def _propose(
    queries: Array,
    times: Array,
    newest: int,
    index: Index,
    neighbours: int,
    tau_ms: float,
    scratch: tuple[Array, ...],
    out_rows: Array,
    out_scores: Array,
    out_sources: Array,
) -> None:
    met, similarity, match, places, score, strongest, source, among = scratch
    slots, length = index.items.shape
    near = np.exp(-(np.arange(length) - 1.0) / REACH).astype(np.float32)
    levels = np.empty(LEVELS + 1, np.int32)
    chosen, columns = np.empty(neighbours, np.int64), np.empty(neighbours, np.int8)
    weights = np.empty(neighbours, np.float32)
    for n in range(len(queries)):
        count, total = _meet(queries[n], newest, index, met, similarity, match, places)
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
        count = 0
        for j in range(picked):
            slot, column = chosen[j], columns[j]
            size, shared = index.sizes[slot], queries[n, column]
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
                    among[count] = b
                    count += 1
                    strongest[b] = 0
                score[b] += part
                if part > strongest[b]:
                    strongest[b], source[b] = part, column
        selected = select(score, among, count, out_rows[n], out_scores[n])
        for j in range(selected):
            out_sources[n, j] = source[out_rows[n, j]]
        for j in range(count):
            score[among[j]] = 0


@kernel
def _meet(
    query: Array, newest: int, index: Index, met: Array, similarity: Array, match: Array, places: Array
) -> tuple[int, np.float32]:
    """Add up the similarity of each session that shares an item with the query, in tables by hash.

    Returns the number of sessions, and the similarity of one that contains all items of the query.
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
                at = (number * GOLDEN_32 >> np.uint32(7)) & mask
                while similarity[at] > 0 and met[at] != number:
                    at = (at + np.uint32(1)) & mask
                if similarity[at] == 0:
                    met[at], match[at], places[count] = number, column, at
                    count += 1
                similarity[at] += weight
        vote *= AGE_DECAY
    return count, total
