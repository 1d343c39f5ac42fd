"""What the factors learn, and what they refuse."""

from dataclasses import replace

import numpy as np
import pytest

from models.core import HISTORY, Batch, QueryBatch
from models.retrieval.matrix_factorisation import MatrixFactorisation
from tests.models.arrays import batch

ITEMS = 60
EVERYTHING = np.arange(ITEMS, dtype=np.int32)


def tastes(seed: int, n: int, noise: float = 0.0) -> Batch:
    """Users who like the items of their kind, one of six, in any order."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 6, n)
    items = kind[:, None] + 6 * rng.integers(0, ITEMS // 6, (n, 5))
    items = np.where(rng.random((n, 5)) < noise, rng.integers(0, ITEMS, (n, 5)), items)
    return batch(items[:, 4], items[:, :4])


def precision(model: MatrixFactorisation, k: int = 8) -> float:
    """Of the k best for a user of two items of a kind, how many are of that kind; chance is 1/6."""
    rows = model.propose(QueryBatch.of(np.array([[kind, kind + 6] for kind in range(6)], np.int32)), k).rows
    return float(np.mean(rows % 6 == np.arange(6)[:, None]))


def learnt(noise: float, **more) -> MatrixFactorisation:
    model = MatrixFactorisation(ITEMS, ring=4096, **more)
    for seed in range(6):
        model.learn(tastes(seed, 2_000, noise))
    return model


def test_planted_tastes_are_learnt_and_noise_is_not():
    assert precision(learnt(0.2)) > 0.95
    assert precision(learnt(1.0)) < 0.4


def test_the_bias_is_log_popularity_where_nobody_has_a_taste():
    model = MatrixFactorisation(4, dim=2, ring=4096)
    rng = np.random.default_rng(1)
    share = np.array([0.6, 0.25, 0.1, 0.05])
    for _ in range(30):
        model.learn(batch(rng.choice(4, 2_000, p=share), rng.integers(0, 4, (2_000, 1))))
    scores = model.score(QueryBatch.of(np.zeros((1, 1), np.int32)), np.arange(4, dtype=np.int32)[None])
    np.testing.assert_allclose(scores[0], share, atol=0.06)


def test_the_order_of_the_history_does_not_matter():
    model = learnt(0.3)
    forth, back = (
        model.propose(QueryBatch.of(np.array([h], np.int32)), 10) for h in ([3, 9, 20], [20, 3, 9])
    )
    assert (forth.rows == back.rows).all()


def test_one_step_is_down_the_loss_gradient(monkeypatch):
    """What a step hands to Adagrad, against differences of the loss in double precision."""
    model = MatrixFactorisation(ITEMS, dim=4, ring=4096)
    model.learn(tastes(1, 400, 0.2))
    given: dict[int, tuple[np.ndarray, ...]] = {}
    monkeypatch.setattr(model, "_descend", lambda side, *more: given.update({side: more}))
    drawn = np.arange(0, 40, 2, dtype=np.int32)
    monkeypatch.setattr(model._recent, "sample", lambda n, rng: drawn)
    lesson = tastes(2, 5, 0.2)
    model.learn(lesson)
    noise = np.log(len(drawn) * model._recent.odds(EVERYTHING))
    at = [model._factors.astype(float), model._biases.astype(float)]

    def loss(factors, biases) -> float:
        total = 0.0
        for item, history in zip(lesson.items, lesson.queries.history, strict=True):
            h = history[history >= 0]
            p, b = factors[1, h].sum(0) / 2, biases[1, h].sum() / 2  # four items: |H|^-1/2 = 1/2
            logit = b + biases[0] - noise + factors[0] @ p
            total += np.log1p(np.exp(-logit[item])) + np.log1p(np.exp(logit[drawn])).sum()
        return float(total)

    def difference(which: int, place: tuple[int, ...]) -> float:
        up, down = [one.copy() for one in at], [one.copy() for one in at]
        up[which][place] += 1e-5
        down[which][place] -= 1e-5
        return (loss(*up) - loss(*down)) / 2e-5

    for side, (rows, of_factors, of_bias) in given.items():
        for n in range(0, len(rows), 4):
            row = int(rows[n])
            assert of_factors[n, 1] == pytest.approx(difference(0, (side, row, 1)), abs=1e-3)
            assert of_bias[n] == pytest.approx(difference(1, (side, row)), abs=1e-3)


def test_updates_that_are_not_finite_are_dropped_and_counted():
    model = learnt(0.2)
    bad = tastes(7, 300)
    weights = bad.weights.copy()
    weights[5] = np.inf
    model.learn(replace(bad, weights=weights))
    assert model.dropped > 0
    dumped = model.dump(EVERYTHING)
    assert all(np.isfinite(dumped[field]).all() for field in ("factors", "biases", "squares"))


def test_norms_are_capped():
    dumped = learnt(0.2, learning_rate=50.0, max_norm=2.0).dump(EVERYTHING)
    assert (np.linalg.norm(dumped["factors"], axis=2) <= 2.0 + 1e-3).all()


def test_a_user_of_unknown_items_is_not_answered():
    model = MatrixFactorisation(ITEMS, ring=4096)
    model.learn(batch(np.arange(20), np.arange(1, 21)[:, None]))
    assert (model.propose(QueryBatch.of(np.full((1, HISTORY), 50, np.int32)), 5).rows == -1).all()
