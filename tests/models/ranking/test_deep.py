"""What looks at vectors: the gradient by differences, and planted truths that only vectors tell."""

import numpy as np
import pytest

from models.core import Features
from models.ranking.deep import INTERACTIONS, Deep
from models.ranking.features import names, padded
from tests.models.test_rank_promises import CAPACITY, WEIGHTS, seen

DIM = 8


class Vectors:
    """Of items in `KINDS` kinds: those of a kind point in the same direction."""

    def __init__(self, seed: int = 0) -> None:
        kinds = np.eye(DIM, dtype=np.float32)[np.arange(CAPACITY) % DIM]
        noise = np.random.default_rng(seed).normal(0, 0.1, (CAPACITY, DIM))
        self.vectors = (kinds + noise).astype(np.float32)


@pytest.fixture(params=sorted(INTERACTIONS))
def look(request):
    return request.param


def test_the_gradient_is_that_of_the_loss(look):
    one = Deep(look, WEIGHTS, Vectors(), hidden=4)
    rng = np.random.default_rng(1)
    start = rng.normal(0, 0.3, len(one._parameters)).astype(np.float32)
    features, targets = seen(1, n=1)

    def loss(parameter: int, step: float) -> float:
        one._parameters[:] = start
        one._parameters[parameter] += step
        return -float(np.log(one.score(features)[0, targets[0]]))

    one._parameters[:] = start
    one.learn(features, targets, np.ones(1, np.float32))
    slopes = np.sqrt(one._squares - np.float32(1e-4))
    of_look = rng.choice(np.arange(one._network, len(start)), 20)
    of_network = rng.choice(one._network, 20)
    for parameter in (*of_look, *of_network):
        slope = (loss(parameter, 1e-3) - loss(parameter, -1e-3)) / 2e-3
        assert abs(slope) == pytest.approx(slopes[parameter], rel=0.05, abs=5e-3)


def of_a_kind(seed: int, n: int = 300, m: int = 16) -> tuple[Features, np.ndarray]:
    """Features that say nothing; what comes next is of the kind of the latest item."""
    rng = np.random.default_rng(seed)
    of_candidate, of_query = names(list(WEIGHTS))
    history = rng.integers(0, CAPACITY, (n, 32)).astype(np.int32)
    history[:, 20:] = -1
    rows = np.argsort(rng.random((n, CAPACITY)), axis=1)[:, :m].astype(np.int32)
    candidates = np.zeros((n, padded(len(of_candidate)), m), np.float32)
    queries = np.zeros((n, len(of_query)), np.float32)
    counts = np.full(n, m, np.int32)
    same = rows % DIM == history[:, :1] % DIM
    some = same.any(1)
    return Features(rows, counts, candidates, queries, history).take(np.flatnonzero(some)), same[some].argmax(
        1
    )


def test_vectors_tell_what_features_do_not(look):
    one = Deep(look, WEIGHTS, Vectors())
    for step in range(12):
        features, targets = of_a_kind(step)
        one.learn(features, targets.astype(np.int32), np.ones(len(targets), np.float32))
    features, targets = of_a_kind(99)
    best = one.score(features).argmax(1)
    right = features.rows[np.arange(len(best)), best] % DIM == features.history[:, 0] % DIM
    assert right.mean() > 0.5  # by chance: an eighth


def test_without_vectors_it_says_what_is_missing(look):
    with pytest.raises(ValueError, match=f"ranker {look}: .* add embedding"):
        Deep(look, WEIGHTS, None)
