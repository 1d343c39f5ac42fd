"""The k best of many: a heap over preallocated arrays, ties to the lower row.

Ties are broken the same way everywhere, so that a replica and the learner list the same items.
"""

from typing import Any

from numba import njit


@njit(cache=True, nogil=True, inline="always")
def _worse(score_a: float, row_a: int, score_b: float, row_b: int) -> bool:
    return score_a < score_b or (score_a == score_b and row_a > row_b)


@njit(cache=True, nogil=True)
def _sift_down(rows: Any, scores: Any, start: int, size: int) -> None:
    at = start
    while True:
        child = 2 * at + 1
        if child >= size:
            return
        if child + 1 < size and _worse(scores[child + 1], rows[child + 1], scores[child], rows[child]):
            child += 1
        if not _worse(scores[child], rows[child], scores[at], rows[at]):
            return
        rows[at], rows[child] = rows[child], rows[at]
        scores[at], scores[child] = scores[child], scores[at]
        at = child


@njit(cache=True, nogil=True)
def select(values: Any, among: Any, count: int, rows: Any, scores: Any) -> int:
    """Write the best of `among[:count]` by `values[row]` into `rows`, `scores` (k each), best first.

    Returns how many there are; what is not above 0 is left out.
    """
    k, size = len(rows), 0
    for n in range(count):
        row = among[n]
        score = values[row]
        if score <= 0:
            continue
        if size < k:
            rows[size], scores[size] = row, score
            size += 1
            if size == k:
                for start in range(k // 2 - 1, -1, -1):
                    _sift_down(rows, scores, start, k)
        elif _worse(scores[0], rows[0], score, row):
            rows[0], scores[0] = row, score
            _sift_down(rows, scores, 0, k)
    if size < k:
        for start in range(size // 2 - 1, -1, -1):
            _sift_down(rows, scores, start, size)
    for end in range(size - 1, 0, -1):
        rows[0], rows[end] = rows[end], rows[0]
        scores[0], scores[end] = scores[end], scores[0]
        _sift_down(rows, scores, 0, end)
    return size
