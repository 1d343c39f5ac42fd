"""What a ranker looks at: each candidate in numbers, free of scale and of the clock.

Of a candidate, by generator: its share of the generator's best, and the logarithm of that share.  Of the
item: log popularity in three half-lives against the candidates' mean, log seconds since it was last and
first seen.  Of the two together: where in the user's history it is, and how often.  Of the query: how sure
each generator is, how long the session is and whether it goes back to what it had, the time of the day; these
reach the score through a hidden layer only.

Shares, because the scores of a generator that counts grow with the traffic; differences of times, because
the clock runs on: a ranker that saw either would have to learn every week anew.

Layout: candidates last, so that kernels run along them.  Cost: about 5 µs a query for 200 candidates.
"""

from collections.abc import Sequence

import numpy as np
from numba import njit

from models.core import Features, QueryBatch
from models.kernels.fastmath import log
from models.ranking.pool import Pool
from models.ranking.statistics import HALF_LIVES_MS, ItemStatistics

ITEM = (*(f"popularity {int(ms / 3_600_000)} h" for ms in HALF_LIVES_MS), "last seen", "first seen")
REPEAT = ("newest", "one before", "of the session", "of the history", "nearness", "in session", "in history")
QUERY = (
    "session size", "one item", "two items", "three items", "repeats in it",
    "newest = one before", "newest = two before", "one before = two before", "history size", "candidates",
    "day, sine", "day, cosine",
)  # fmt: skip


def names(generators: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The features of a candidate and of a query, in order.

    >>> [len(part) for part in names(["next", "previous"])]
    [16, 14]
    """
    of_generators = tuple(f"{name} {kind}" for name in generators for kind in ("share", "log share"))
    of_candidate = of_generators + ITEM + REPEAT
    return of_candidate, tuple(f"{name} best" for name in generators) + QUERY


def features(queries: QueryBatch, pool: Pool, statistics: ItemStatistics) -> Features:
    """The features of each candidate."""
    n, generators, m = pool.scores.shape
    wide = padded(2 * generators + len(ITEM) + len(REPEAT))
    out = Features(
        pool.rows,
        pool.counts,
        np.empty((n, wide, m), np.float32),
        np.empty((n, generators + len(QUERY)), np.float32),
        queries.history,
    )
    _features(
        queries.history, queries.sizes, queries.times, pool.rows, pool.counts, pool.scores,
        statistics.first, statistics.last, statistics.popularity, statistics.known, _FADES,
        out.candidates, out.queries,
    )  # fmt: skip
    return out


def padded(features: int) -> int:
    """The next multiple of 4: kernels take four features at once."""
    return -(-features // 4) * 4


_FADES = np.array([0.6931471805599453 / ms for ms in HALF_LIVES_MS])
_LOWEST = np.float32(8.0)
"""A share of e^-8 and less is as good as none."""
_DAY_MS = 86_400_000


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "nsz"}, error_model="numpy")
def _features(  # type: ignore[no-untyped-def]
    history, sizes, times, rows, counts, scores, first, last, popularity, known, fades, out, out_query
):
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
                near = np.float32(1.0) + log(share[j] + np.float32(1e-4)) / _LOWEST
                log_share[j] = max(near, np.float32(0.0))
            out_query[n, g] = max(log(highest + np.float32(1e-6)) / _LOWEST, np.float32(-1.0))
        f = 2 * generators

        # the item by itself
        mean = np.zeros(len(fades), np.float32)
        for j in range(count):
            b = rows[n, j]
            if known[b]:
                elapsed = max(times[n] - last[b], 0)
                since_last[j] = elapsed
                since_first[j] = max(times[n] - first[b], 0)
                for h in range(len(fades)):
                    p = popularity[b, h] - np.float32(min(fades[h] * elapsed, 20.0))
                    x[f + h, j] = p
                    mean[h] += p
            else:
                since_last[j], since_first[j] = 0, 0
                for h in range(len(fades)):
                    x[f + h, j] = 0
        for h in range(len(fades)):
            level = mean[h] / max(count, 1)
            for j in range(count):
                x[f + h, j] = np.float32(0.2) * (x[f + h, j] - level)
        f += len(fades)
        for j in range(count):
            x[f, j] = log(np.float32(1.0) + np.float32(0.001) * since_last[j]) * np.float32(0.1)
            x[f + 1, j] = log(np.float32(1.0) + np.float32(0.001) * since_first[j]) * np.float32(0.1)
        f += 2

        # the user's own items
        x[f:, :count] = 0
        length = 0
        while length < history.shape[1] and history[n, length] >= 0:
            length += 1
        size = min(sizes[n], length)
        for j in range(min(count, length)):  # the user's own come first, in order
            b = rows[n, j]
            position = -1
            in_session, in_history = 0, 0
            for column in range(length):
                if history[n, column] == b:
                    if position < 0:
                        position = column
                    in_history += 1
                    in_session += column < size
            if position < 0:
                break
            kind = 3 if position >= size else min(position, 2)
            x[f + kind, j] = 1
            x[f + 4, j] = np.float32(1.0) / (1 + position)
            x[f + 5, j] = np.log(np.float32(1 + in_session))
            x[f + 6, j] = np.log(np.float32(1 + in_history))

        # the query
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
        angle = times[n] % _DAY_MS * (2 * np.pi / _DAY_MS)
        out_query[n, q + 10], out_query[n, q + 11] = np.sin(angle), np.cos(angle)
