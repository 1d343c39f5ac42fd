"""Small batches of item rows, for the examples in docstrings and for tests; nothing else uses them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.core import HISTORY, SESSION, Batch, QueryBatch, Rows


def query_batch(
    history: ArrayLike, sizes: Rows | None = None, times: NDArray[np.int64] | None = None
) -> QueryBatch:
    """Queries without context after int32[n, at most HISTORY], newest first.

    By default all items are of the current session, and times are 0.

    >>> query_batch([[4, 3]]).history[:, :3].tolist()
    [[4, 3, -1]]
    """
    latest = np.asarray(history, np.int32)
    n, width = latest.shape
    padded = np.full((n, HISTORY), -1, np.int32)
    padded[:, :width] = latest
    if sizes is None:
        sizes = (padded >= 0).sum(1).astype(np.int32)
    session = np.where(np.arange(SESSION) < sizes[:, None], padded[:, :SESSION], -1).astype(np.int32)
    times = np.zeros(n, np.int64) if times is None else times
    kinds, ages = np.zeros((n, HISTORY), np.int8), np.zeros((n, HISTORY), np.float32)
    nothing = np.zeros((n, 0), np.uint32)
    contexts = np.full(n, -1, np.int32)
    hidden = nothing.view(np.int32)
    return QueryBatch(padded, sizes, session, times, contexts, kinds, ages, hidden, nothing, nothing)


def session_batch(sessions: Sequence[Sequence[int]]) -> Batch:
    """Examples from sessions of item rows, oldest first, each of a user of its own, at time 0.

    >>> session_batch([[3, 4, 5]]).queries.history[:, :2].tolist()
    [[-1, -1], [3, -1], [4, 3]]
    """
    examples = [
        (user, item, session[:at][::-1][:HISTORY])
        for user, session in enumerate(sessions)
        for at, item in enumerate(session)
    ]
    history = np.full((len(examples), HISTORY), -1, np.int32)
    for n, (_, _, latest) in enumerate(examples):
        history[n, : len(latest)] = latest
    items = np.array([item for _, item, _ in examples], np.int32)
    users = np.array([user for user, _, _ in examples], np.uint64)
    return Batch(items, query_batch(history), np.ones(len(items), np.float32), users, users)
