"""The gradient by differences, and planted truths that only item vectors tell."""

import numpy as np
import pytest

from models.core import Features
from models.ranking.deep import INTERACTIONS, Deep
from models.ranking.features import feature_names, padded_size
from tests.models.ranking.test_promises import CAPACITY, WEIGHTS, random_features

DIM = 8


class Vectors:
    """Vectors of items of `DIM` kinds: those of a kind point in the same direction."""

    def __init__(self, seed: int = 0) -> None:
        kinds = np.eye(DIM, dtype=np.float32)[np.arange(CAPACITY) % DIM]
        noise = np.random.default_rng(seed).normal(0, 0.1, (CAPACITY, DIM))
        self.vectors = (kinds + noise).astype(np.float32)
        self.events = np.ones(CAPACITY, np.int32)


@pytest.fixture(params=sorted(INTERACTIONS))
def interaction(request):
    return request.param


def test_the_gradient_is_that_of_the_loss(interaction):
    ranker = Deep(WEIGHTS, Vectors(), interaction, hidden=4)
    rng = np.random.default_rng(1)
    start = rng.normal(0, 0.3, len(ranker.state.values)).astype(np.float32)
    features, targets = random_features(1, n=1)

    def loss(parameter: int, step: float) -> float:
        ranker.state.values[:] = start
        ranker.state.values[parameter] += step
        return -float(np.log(ranker.score(features)[0, targets[0]]))

    ranker.state.values[:] = start
    ranker.learn(features, targets, np.ones(1, np.float32))
    slopes = np.sqrt(ranker.state.squares - np.float32(1e-4))
    of_interaction = rng.choice(np.arange(ranker._network, len(start)), 20)
    of_network = rng.choice(ranker._network, 20)
    for parameter in (*of_interaction, *of_network):
        slope = (loss(parameter, 1e-3) - loss(parameter, -1e-3)) / 2e-3
        assert abs(slope) == pytest.approx(slopes[parameter], rel=0.05, abs=5e-3)


def of_a_kind(seed: int, n: int = 300, m: int = 16) -> tuple[Features, np.ndarray]:
    """Features that tell nothing; the next item is of the kind of the latest one."""
    rng = np.random.default_rng(seed)
    of_candidate, of_query = feature_names(list(WEIGHTS))
    history = rng.integers(0, CAPACITY, (n, 32)).astype(np.int32)
    history[:, 20:] = -1
    rows = np.argsort(rng.random((n, CAPACITY)), axis=1)[:, :m].astype(np.int32)
    candidates = np.zeros((n, padded_size(len(of_candidate)), m), np.float32)
    queries = np.zeros((n, len(of_query)), np.float32)
    counts = np.full(n, m, np.int32)
    same = rows % DIM == history[:, :1] % DIM
    some = same.any(1)
    return Features(rows, counts, candidates, queries, history).take(np.flatnonzero(some)), same[some].argmax(
        1
    )


def test_vectors_tell_what_features_do_not(interaction):
    ranker = Deep(WEIGHTS, Vectors(), interaction)
    for step in range(12):
        features, targets = of_a_kind(step)
        ranker.learn(features, targets.astype(np.int32), np.ones(len(targets), np.float32))
    features, targets = of_a_kind(99)
    best = ranker.score(features).argmax(1)
    right = features.rows[np.arange(len(best)), best] % DIM == features.history[:, 0] % DIM
    assert right.mean() > 0.5  # by chance: an eighth


def test_without_vectors_it_says_what_is_missing(interaction):
    with pytest.raises(ValueError, match=f"ranker {interaction}: .* add embedding"):
        Deep(WEIGHTS, None, interaction)
