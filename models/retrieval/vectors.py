"""What models of item vectors share: how rows start and step, and how all items or some are scored.

Kernels over rows: vectors float32[items, dim], bias float32[items], squares float32[items, 2] (Adagrad's
accumulators of both; a row at `EPSILON` or below has learnt nothing).  `repeat` is what an item's score
gains by being so many steps back in the history.
"""

import numpy as np
from numba import njit

from models.core import Candidates, Floats, Rows
from models.kernels.splitmix import GOLDEN, mixed
from models.kernels.topk import select

EPSILON = 1e-6
QUERIES = 64
"""QueryBatch scored against all items at once: bounds the memory at 256 bytes an item."""
BLOCK = 2048
"""Items in a matrix product: always as many, because its rounding depends on the shape."""


def retrieve(
    history: Rows,
    users: Floats,
    vectors: Floats,
    bias: Floats,
    squares: Floats,
    repeat: Floats,
    used: int,
    k: int,
) -> Candidates:
    """The k best of the first `used` items for each history, exactly: O(items) a query.

    `used` is read once by the caller: a page asks from a thread of its own.
    """
    n, items = len(history), min(-(-used // BLOCK) * BLOCK, len(vectors))
    out = Candidates(
        np.full((n, k), -1, np.int32), np.zeros((n, k), np.float32), np.full((n, k), -1, np.int8)
    )
    offset = np.where(squares[:items, 1] > EPSILON, bias[:items], np.float32(-np.inf))
    for at in range(0, n, QUERIES):
        part = slice(at, at + QUERIES)
        logits = np.empty((len(users[part]), items), np.float32)
        for first in range(0, items, BLOCK):
            block = slice(first, first + BLOCK)
            logits[:, block] = users[part] @ vectors[block].T
        logits += offset
        _best(history[part], logits, repeat, out.rows[part], out.scores[part], out.sources[part])
    return out


@njit(cache=True, nogil=True)
def start_vectors(rows, dim, seed):  # type: ignore[no-untyped-def]
    """Uniform in ±0.05 by splitmix64 of (seed, row, column)."""
    out = np.empty((len(rows), dim), np.float32)
    for n in range(len(rows)):
        for d in range(dim):
            z = np.uint64(seed) * GOLDEN
            z += np.uint64(rows[n]) * np.uint64(dim) + np.uint64(d)
            z = mixed((z + np.uint64(1)) * GOLDEN)
            out[n, d] = (np.float64(z >> np.uint64(11)) / 9007199254740992.0 - 0.5) * 0.1
    return out


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "nsz"})
def adagrad(  # type: ignore[no-untyped-def]
    rows, of_vectors, of_bias, rate, max_norm, vectors, bias, squares, dirty
):
    """One step of each row, of constant length where gradients are constant; how many were not finite."""
    dropped, dim = 0, vectors.shape[1]
    for n in range(len(rows)):
        row, square = rows[n], np.float32(0)
        for d in range(dim):
            square += of_vectors[n, d] * of_vectors[n, d]
        if not (np.isfinite(square) and np.isfinite(of_bias[n])):
            dropped += 1
            continue
        squares[row, 0] += square / np.float32(dim)
        squares[row, 1] += of_bias[n] * of_bias[n]
        step = np.float32(rate) / np.sqrt(squares[row, 0])
        norm = np.float32(0)
        for d in range(dim):
            vectors[row, d] -= step * of_vectors[n, d]
            norm += vectors[row, d] * vectors[row, d]
        if norm > max_norm * max_norm:
            vectors[row] *= np.float32(max_norm / np.sqrt(norm))
        bias[row] -= np.float32(rate) * of_bias[n] / np.sqrt(squares[row, 1])
        dirty[row] = True
    return dropped


LEAST = np.float32(60)
"""What is e^60 times less likely than the best is nothing."""


@njit(cache=True, nogil=True)
def _best(history, logits, repeat, out_rows, out_scores, out_sources):  # type: ignore[no-untyped-def]
    among = np.arange(logits.shape[1])
    for n in range(len(history)):
        if history[n, 0] < 0:
            continue
        score = logits[n]
        for age in range(history.shape[1]):
            if 0 <= history[n, age] < len(score):  # not an item that nothing was learnt of
                score[history[n, age]] += repeat[age]
        highest = np.float32(-np.inf)
        for one in score:
            highest = max(highest, one)
        if highest == -np.inf:  # nothing is learnt
            continue
        score += LEAST - highest
        found = select(score, among, len(among), out_rows[n], out_scores[n])
        out_rows[n, found:] = -1
        out_scores[n, found:] = 0
        out_sources[n, :found] = 0
        _normalise(out_scores[n, :found])


@njit(cache=True, nogil=True)
def _normalise(scores):  # type: ignore[no-untyped-def]
    """Softmax in place; -inf becomes 0, and so does everything where nothing is finite."""
    highest = np.float32(-np.inf)
    for score in scores:
        highest = max(highest, score)
    total = np.float32(0)
    for j in range(len(scores)):
        scores[j] = np.exp(scores[j] - highest) if scores[j] > -np.inf else np.float32(0)
        total += scores[j]
    for j in range(len(scores)):
        if total > 0:
            scores[j] /= total


@njit(cache=True, nogil=True, fastmath=True)
def _dot(u, v):  # type: ignore[no-untyped-def]
    total = np.float32(0)
    for d in range(len(u)):
        total += u[d] * v[d]
    return total


@njit(cache=True, nogil=True)
def score(history, users, rows, vectors, bias, squares, repeat, out):  # type: ignore[no-untyped-def]
    for n in range(len(history)):
        if history[n, 0] < 0:
            continue
        size = 0
        while size < history.shape[1] and history[n, size] >= 0:
            size += 1
        for j in range(rows.shape[1]):
            b = rows[n, j]
            if b < 0 or squares[b, 1] <= EPSILON:
                out[n, j] = -np.inf
                continue
            out[n, j] = _dot(users[n], vectors[b]) + bias[b]
            for age in range(size):
                if history[n, age] == b:
                    out[n, j] += repeat[age]
        _normalise(out[n])
