"""Against the exact search: recall, moves, expiry, the order of insertion."""

import numpy as np
import pytest

from models.retrieval.nearest import VectorIndex

ITEMS, DIM = 3000, 16


def planted(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vectors in clusters, biases, and queries near to clusters."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(60, DIM))
    vectors = centres[rng.integers(60, size=ITEMS)] + 0.7 * rng.normal(size=(ITEMS, DIM))
    queries = centres[rng.integers(60, size=100)] + 0.5 * rng.normal(size=(100, DIM))
    return vectors.astype(np.float32), rng.normal(size=ITEMS).astype(np.float32), queries.astype(np.float32)


def best(vectors, biases, queries, k: int) -> np.ndarray:
    return np.argsort(-(queries @ vectors.T + biases), axis=1)[:, :k]


def recall(rows, true) -> float:
    return float(np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(rows, true.tolist(), strict=True)]))


def filled(order) -> tuple[VectorIndex, np.ndarray, np.ndarray, np.ndarray]:
    vectors, biases, queries = planted()
    index = VectorIndex(DIM)
    for rows in np.array_split(order, 10):
        index.update(rows, vectors[rows], biases[rows])
    return index, vectors, biases, queries


def test_few_of_the_best_twenty_are_missed_among_a_hundred():
    index, vectors, biases, queries = filled(np.arange(ITEMS))
    assert len(index) == ITEMS
    assert recall(index.search(queries, 100).tolist(), best(vectors, biases, queries, 20)) > 0.95


def test_another_order_of_insertion_finds_nearly_the_same():
    first, *_, queries = filled(np.arange(ITEMS))
    second, *_ = filled(np.arange(ITEMS)[::-1])
    assert recall(first.search(queries, 100).tolist(), second.search(queries, 100)[:, :20]) > 0.95


def test_moved_rows_are_found_at_their_new_place_and_evicted_rows_nowhere():
    index, vectors, biases, queries = filled(np.arange(ITEMS))
    moved = np.arange(0, ITEMS, 3)
    vectors[moved] = vectors[moved][::-1]
    index.update(moved, vectors[moved], biases[moved])
    evicted = np.arange(1, ITEMS, 3)
    index.evict(evicted)
    index.evict(evicted[:5])
    assert len(index) == ITEMS - len(evicted)
    rows = index.search(queries, 100)
    assert not np.isin(rows, evicted).any()
    biases[evicted] = -np.inf
    assert recall(rows.tolist(), best(vectors, biases, queries, 20)) > 0.95


def test_a_row_comes_back_with_another_item():
    index = VectorIndex(2)
    rows, far = np.array([5, 6]), np.array([[1, 0], [0, 1]], np.float32)
    index.update(rows, far, np.zeros(2, np.float32))
    index.evict(rows[:1])
    index.update(rows[:1], -far[:1], np.zeros(1, np.float32))
    assert index.search(np.array([[-1, 0.1]], np.float32), 1).tolist() == [[5]]


def test_a_vector_that_hardly_moved_keeps_its_place():
    index, vectors, biases, _ = filled(np.arange(ITEMS))
    before = np.array(index._index.get(np.array([7], np.uint64)))
    index.update(np.array([7]), vectors[[7]] * np.float32(1.05), biases[[7]])
    assert np.array_equal(index._index.get(np.array([7], np.uint64)), before)


@pytest.mark.parametrize("n", [0, 2])
def test_an_empty_index_finds_nothing(n):
    assert (VectorIndex(DIM).search(np.zeros((n, DIM), np.float32), 4) == -1).all()
