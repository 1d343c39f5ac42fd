"""Item vectors: how they start, and how all items or some candidates are scored by them.

`vectors` are float32[items, dim], `bias` float32[items], `squares` float32[items, 2] (Adagrad's accumulators
of both; an item at `EPSILON` or below has learnt nothing).  `repeat[n]` is added to an item's score if it is
n steps back in the history.
"""

import numpy as np

from models.core import Candidates, Floats, Rows
from models.kernels.jit import Array, kernel
from models.kernels.splitmix import GOLDEN, mixed
from models.kernels.topk import select

EPSILON = 1e-6
"""Adagrad's accumulators at the start."""
QUERIES = 64
"""Queries scored against all items at once, which bounds the memory at 256 bytes an item."""
BLOCK = 2048
"""Items in a matrix product: always the same number, because its rounding depends on the shape."""
LEAST = np.float32(60)
"""An item that is e^60 times less likely than the best one scores 0."""


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
    """The k best of the first `used` items for each history and user vector, exactly: O(items) a query.

    The caller reads `used` once, because a page calls this from a thread of its own.
    """
    items = min(-(-used // BLOCK) * BLOCK, len(vectors))
    out = Candidates.empty(len(history), k)
    offset = np.where(squares[:items, 1] > EPSILON, bias[:items], np.float32(-np.inf))
    for at in range(0, len(history), QUERIES):
        part = slice(at, at + QUERIES)
        logits = np.empty((len(users[part]), items), np.float32)
        for first in range(0, items, BLOCK):
            block = slice(first, first + BLOCK)
            logits[:, block] = users[part] @ vectors[block].T
        logits += offset
        _select(history[part], logits, repeat, out.rows[part], out.scores[part], out.sources[part])
    return out


@kernel
def start_vectors(rows: Array, dim: int, seed: int) -> Array:
    """The first vectors of these rows, float32[n, dim]: uniform in ±0.05 by a hash of (seed, row, column)."""
    out = np.empty((len(rows), dim), np.float32)
    for n in range(len(rows)):
        for d in range(dim):
            z = np.uint64(seed) * GOLDEN
            z += np.uint64(rows[n]) * np.uint64(dim) + np.uint64(d)
            z = mixed((z + np.uint64(1)) * GOLDEN)
            out[n, d] = (np.float64(z >> np.uint64(11)) / 9007199254740992.0 - 0.5) * 0.1
    return out


@kernel
def begin_like(rows: Array, near: Array, parts: Array, vectors: Array, bias: Array, squares: Array) -> None:
    """Give each row the sum of those that it is near to and that have learnt, each times its part.

    Such a row counts as learnt; its first event moves it as far as it moves a new item.
    """
    for n in range(len(rows)):
        x = rows[n]
        vectors[x], bias[x], squares[x] = 0, 0, 0
        found = False
        for j in range(near.shape[1]):
            c = near[n, j]
            if c >= 0 and squares[c, 1] > EPSILON:
                found = True
                bias[x] += parts[n, j] * bias[c]
                for d in range(vectors.shape[1]):
                    vectors[x, d] += parts[n, j] * vectors[c, d]
        if found:
            squares[x] = 2 * np.float32(EPSILON)


@kernel
def score(
    history: Array,
    users: Array,
    rows: Array,
    vectors: Array,
    bias: Array,
    squares: Array,
    repeat: Array,
    out: Array,
) -> None:
    """Write the softmax of the candidates' scores into `out`, float32[n, m], for rows int32[n, m].

    It is 0 for rows of -1, for items that have learnt nothing, and for users without a history.
    """
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
        _softmax(out[n])


@kernel
def _select(
    history: Array, logits: Array, repeat: Array, out_rows: Array, out_scores: Array, out_sources: Array
) -> None:
    among = np.arange(logits.shape[1])
    for n in range(len(history)):
        if history[n, 0] < 0:
            continue
        row = logits[n]
        for age in range(history.shape[1]):
            if 0 <= history[n, age] < len(row):  # not an item that nothing was learnt of
                row[history[n, age]] += repeat[age]
        highest = np.float32(-np.inf)
        for logit in row:
            highest = max(highest, logit)
        if highest == -np.inf:  # nothing is learnt
            continue
        row += LEAST - highest
        selected = select(row, among, len(among), out_rows[n], out_scores[n])
        out_sources[n, :selected] = 0
        _softmax(out_scores[n, :selected])


@kernel
def _softmax(scores: Array) -> None:
    """Softmax in place; -inf becomes 0, and so does everything where nothing is finite."""
    highest = np.float32(-np.inf)
    for logit in scores:
        highest = max(highest, logit)
    total = np.float32(0)
    for j in range(len(scores)):
        scores[j] = np.exp(scores[j] - highest) if scores[j] > -np.inf else np.float32(0)
        total += scores[j]
    for j in range(len(scores)):
        if total > 0:
            scores[j] /= total


@kernel(fastmath=True)
def _dot(u: Array, v: Array) -> np.float32:
    total = np.float32(0)
    for d in range(len(u)):
        total += u[d] * v[d]
    return total
