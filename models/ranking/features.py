"""The features that rankers read: each candidate in numbers that depend neither on scale nor on the clock.

Candidate and generator: the candidate's share of the generator's best score, and the logarithm of that share.
Item: log popularity in three half-lives against the candidates' mean, log seconds since it was last and first
seen.  Item and user: where in the user's history it is, how often, how long ago, and whether they liked it,
left it in the cart or bought it.  Query: how sure each generator is, how long the session is and whether it
repeats items, the kind of the latest event and the pause before it, the time of the day; these reach the
score through a hidden layer only.

Shares, because the scores of a generator that counts grow with the traffic; differences of times, because the
clock runs on: with the numbers themselves a ranker would have to start over every week.

Layout: candidates last, so that kernels run along them.  Cost: about 5 µs a query for 200 candidates.
"""

from collections.abc import Sequence

import numpy as np

from models.core import BOUGHT, CARTED, LIKED, RETURNED, Features, QueryBatch
from models.kernels.decay import LN2
from models.kernels.fastmath import log
from models.kernels.jit import ANY_ORDER, Array, kernel
from models.ranking.pool import Pool
from models.statistics import HALF_LIVES_MS, ItemStatistics
from models.units import DAY_MS, HOUR_MS

ITEM = (*(f"popularity {ms // HOUR_MS} h" for ms in HALF_LIVES_MS), "last seen", "first seen")
REPEAT = (
    "newest", "one before", "of the session", "of the history", "nearness", "in session", "in history",
    "age", "liked", "in cart", "bought, -1: sent back",
)  # fmt: skip
QUERY = (
    "session size", "one item", "two items", "three items", "repeats in it",
    "newest = one before", "newest = two before", "one before = two before", "history size", "candidates",
    "day, sine", "day, cosine", "newest liked", "newest in cart", "newest bought", "pause before it",
)  # fmt: skip


def feature_names(generators: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of a candidate's features and of a query's, in order.

    >>> [len(part) for part in feature_names(["next", "previous"])]
    [20, 18]
    """
    of_generators = tuple(f"{name} {kind}" for name in generators for kind in ("share", "log share"))
    of_candidate = of_generators + ITEM + REPEAT
    return of_candidate, tuple(f"{name} best" for name in generators) + QUERY


def featurize(queries: QueryBatch, pool: Pool, statistics: ItemStatistics) -> Features:
    """The features of each candidate and of each query."""
    n, generators, m = pool.scores.shape
    size = padded_size(2 * generators + len(ITEM) + len(REPEAT))
    out = Features(
        pool.rows,
        pool.counts,
        np.empty((n, size, m), np.float32),
        np.empty((n, generators + len(QUERY)), np.float32),
        queries.history,
    )
    _featurize(
        queries.history, queries.sizes, queries.times, queries.kinds, queries.ages,
        pool.rows, pool.counts, pool.scores,
        statistics.first, statistics.last, statistics.popularity, statistics.known, _DECAYS,
        out.candidates, out.queries,
    )  # fmt: skip
    return out


def padded_size(features: int) -> int:
    """The next multiple of 4: kernels read four features at once.

    >>> padded_size(17)
    20
    """
    return -(-features // 4) * 4


_DECAYS = np.array([LN2 / ms for ms in HALF_LIVES_MS])
"""Decay constants of the three half-lives, 1/ms."""
_LOWEST = np.float32(8.0)
"""A share of e^-8 and less is as good as none."""


@kernel(fastmath=ANY_ORDER, error_model="numpy")
def _featurize(
    history: Array,
    sizes: Array,
    times: Array,
    kinds: Array,
    ages: Array,
    rows: Array,
    counts: Array,
    scores: Array,
    first: Array,
    last: Array,
    popularity: Array,
    known: Array,
    decays: Array,
    out: Array,
    out_query: Array,
) -> None:
    generators, width = scores.shape[1], scores.shape[2]
    since_last, since_first = np.empty(width, np.float32), np.empty(width, np.float32)
    for n in range(len(rows)):
        count, x = counts[n], out[n]
        for g in range(generators):
            share, log_share, score = x[2 * g], x[2 * g + 1], scores[n, g]
            highest = np.float32(0.0)
            for j in range(count):
                highest = max(highest, score[j])
            scale = np.float32(1.0) / highest if highest > 0 else np.float32(0.0)
            for j in range(count):
                share[j] = score[j] * scale
                scaled = np.float32(1.0) + log(share[j] + np.float32(1e-4)) / _LOWEST
                log_share[j] = max(scaled, np.float32(0.0))
            out_query[n, g] = max(log(highest + np.float32(1e-6)) / _LOWEST, np.float32(-1.0))
        f = 2 * generators

        # features of the item
        mean = np.zeros(len(decays), np.float32)
        for j in range(count):
            b = rows[n, j]
            if known[b]:
                elapsed = max(times[n] - last[b], 0)
                since_last[j] = elapsed
                since_first[j] = max(times[n] - first[b], 0)
                for h in range(len(decays)):
                    p = popularity[b, h] - np.float32(min(decays[h] * elapsed, 20.0))
                    x[f + h, j] = p
                    mean[h] += p
            else:
                since_last[j], since_first[j] = 0, 0
                for h in range(len(decays)):
                    x[f + h, j] = 0
        for h in range(len(decays)):
            level = mean[h] / max(count, 1)
            for j in range(count):
                x[f + h, j] = np.float32(0.2) * (x[f + h, j] - level)
        f += len(decays)
        for j in range(count):
            x[f, j] = log(np.float32(1.0) + np.float32(0.001) * since_last[j]) * np.float32(0.1)
            x[f + 1, j] = log(np.float32(1.0) + np.float32(0.001) * since_first[j]) * np.float32(0.1)
        f += 2

        # features of the item in the user's history
        x[f:, :count] = 0
        length = 0
        while length < history.shape[1] and history[n, length] >= 0:
            length += 1
        size = min(sizes[n], length)
        for j in range(min(count, length)):  # the user's own items come first in the pool, in order
            b = rows[n, j]
            position = -1
            in_session, in_history = 0, 0
            liked, carted, bought, returned = False, False, False, False
            for column in range(length):  # from the newest on
                if history[n, column] == b:
                    if position < 0:
                        position = column
                    in_history += 1
                    in_session += column < size
                    kind = kinds[n, column]
                    liked |= kind == LIKED
                    carted |= kind == CARTED and not bought
                    returned |= kind == RETURNED and not bought
                    bought |= kind == BOUGHT
            if position < 0:
                break
            place = 3 if position >= size else min(position, 2)
            x[f + place, j] = 1
            x[f + 4, j] = np.float32(1.0) / (1 + position)
            x[f + 5, j] = np.log(np.float32(1 + in_session))
            x[f + 6, j] = np.log(np.float32(1 + in_history))
            x[f + 7, j] = log(np.float32(1.0) + ages[n, position]) * np.float32(0.1)
            x[f + 8, j], x[f + 9, j] = liked, carted
            x[f + 10, j] = -1 if returned else bought

        # features of the query
        repeats = 0
        for column in range(size):
            for older in range(column + 1, size):
                if history[n, column] == history[n, older]:
                    repeats += 1
                    break
        q = generators
        out_query[n, q] = np.log(np.float32(1 + size)) * np.float32(0.3)
        for small in range(1, 4):
            out_query[n, q + small] = size == small
        out_query[n, q + 4] = np.float32(repeats) / max(size, 1)
        out_query[n, q + 5] = size > 1 and history[n, 0] == history[n, 1]
        out_query[n, q + 6] = size > 2 and history[n, 0] == history[n, 2]
        out_query[n, q + 7] = size > 2 and history[n, 1] == history[n, 2]
        out_query[n, q + 8] = np.log(np.float32(1 + length)) * np.float32(0.3)
        out_query[n, q + 9] = np.float32(count) / width
        angle = times[n] % DAY_MS * (2 * np.pi / DAY_MS)
        out_query[n, q + 10], out_query[n, q + 11] = np.sin(angle), np.cos(angle)
        for kind in range(LIKED, BOUGHT + 1):
            out_query[n, q + 10 + kind] = length > 0 and kinds[n, 0] == kind
        pause = ages[n, 1] - ages[n, 0] if length > 1 else np.float32(0.0)
        out_query[n, q + 15] = log(np.float32(1.0) + max(pause, np.float32(0.0))) * np.float32(0.1)
