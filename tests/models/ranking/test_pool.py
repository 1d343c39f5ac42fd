"""The pool against a few lines of Python that compute the same."""

import numpy as np
import pytest

from models.core import Candidates
from models.ranking.pool import WIDTH, Merger
from models.small_batches import query_batch

CAPACITY = 300


def proposals(rng: np.random.Generator, n: int, k: int) -> Candidates:
    rows = np.argsort(rng.random((n, CAPACITY)), axis=1)[:, :k].astype(np.int32)
    scores = -np.sort(-rng.random((n, k)).astype(np.float32) - 0.01, axis=1)
    short = np.arange(k) >= rng.integers(0, k + 1, n)[:, None]
    rows[short], scores[short] = -1, 0
    return Candidates(rows, scores, rng.integers(-1, 8, (n, k)).astype(np.int8))


def naive(n, history, excluded, proposed, weights, width):
    """(prior, code, scores) of the candidates of query n, by item."""
    candidates: dict[int, tuple[float, int, list[float]]] = {}
    parts: dict[int, list[float]] = {}
    for item in history[n].tolist():
        if item >= 0:
            candidates[item] = (np.inf, len(weights) * WIDTH, [0.0] * len(weights))
    for g, (proposal, weight) in enumerate(zip(proposed, weights, strict=True)):
        for item, score, source in zip(
            proposal.rows[n], proposal.scores[n], proposal.sources[n], strict=True
        ):
            if item < 0:
                break
            part = np.float32(np.float32(weight) / proposal.scores[n, 0]) * score
            prior, code, scores = candidates.get(int(item), (0.0, -1, [0.0] * len(weights)))
            if part > max(parts.setdefault(int(item), []), default=-1):
                code = g * WIDTH + int(source) + 1
            parts[int(item)].append(part)
            scores[g] = float(score)
            candidates[int(item)] = (prior + part, code, scores)
    for item in excluded[n].tolist():
        candidates.pop(item, None)
    best = sorted(candidates, key=lambda item: -candidates[item][0])[:width]
    return {item: candidates[item] for item in best}


@pytest.mark.parametrize("width", [40, 64, 200])
def test_the_pool_is_the_union_cut_by_the_prior(width):
    rng = np.random.default_rng(width)
    n, weights = 50, [1.0, 0.6, 0.2]
    history = rng.integers(0, CAPACITY, (n, 32)).astype(np.int32)
    history[np.arange(32) >= rng.integers(0, 33, n)[:, None]] = -1
    excluded = np.where(rng.random((n, 5)) < 0.5, rng.integers(0, CAPACITY, (n, 5)), -1).astype(np.int32)
    excluded[:, 0] = history[:, 0]
    proposed = [proposals(rng, n, k) for k in (30, 40, 50)]
    merger = Merger(CAPACITY, weights, 4, width)
    for _ in range(2):  # scratch is clean again
        pool = merger.merge(query_batch(history), proposed, excluded, np.ones(CAPACITY, np.bool_))
        for q in range(n):
            expected = naive(q, history, excluded, proposed, weights, width)
            count = pool.counts[q]
            rows = pool.rows[q, :count].tolist()
            assert sorted(rows) == sorted(expected)
            assert (pool.rows[q, count:] == -1).all()
            for column, item in enumerate(rows):
                _, code, scores = expected[item]
                assert pool.scores[q, :3, column].tolist() == pytest.approx(scores)
                own = item in history[q] and not any(scores)
                assert pool.codes[q, column] == (4 * WIDTH if own else code)
            assert (pool.scores[q, :, count:] == 0).all()
            assert (pool.scores[q, 3] == 0).all()


def test_the_users_own_items_come_first_and_are_never_cut():
    history = np.full((1, 32), -1, np.int32)
    history[0, :5] = [7, 8, 7, 9, 299]
    many = Candidates(
        np.arange(100, 200, dtype=np.int32)[None],
        np.linspace(1, 0.1, 100, dtype=np.float32)[None],
        np.zeros((1, 100), np.int8),
    )
    merger = Merger(CAPACITY, [1.0], 1, 16)
    pool = merger.merge(query_batch(history), [many], np.zeros((1, 0), np.int32), np.ones(CAPACITY, np.bool_))
    assert pool.rows[0].tolist() == [7, 8, 9, 299, *range(100, 112)]
