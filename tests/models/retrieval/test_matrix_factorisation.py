"""Planted tastes, the gradient, and steps that are dropped."""

from dataclasses import replace

import numpy as np
import pytest

from models.core import HISTORY, Batch
from models.retrieval.matrix_factorisation import MatrixFactorisation
from models.small_batches import query_batch
from tests.models.arrays import batch

ITEMS = 60
ALL_ROWS = np.arange(ITEMS, dtype=np.int32)


def tastes(seed: int, n: int, noise: float = 0.0) -> Batch:
    """Users who like the items of their kind, one of six, in any order."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 6, n)
    items = kind[:, None] + 6 * rng.integers(0, ITEMS // 6, (n, 5))
    items = np.where(rng.random((n, 5)) < noise, rng.integers(0, ITEMS, (n, 5)), items)
    return batch(items[:, 4], items[:, :4])


def precision(model: MatrixFactorisation, k: int = 8) -> float:
    """Share of the k best, for a user of two items of a kind, that are of that kind; chance is 1/6."""
    rows = model.propose(query_batch([[kind, kind + 6] for kind in range(6)]), k).rows
    return float(np.mean(rows % 6 == np.arange(6)[:, None]))


def trained(noise: float, **parameters) -> MatrixFactorisation:
    model = MatrixFactorisation(ITEMS, ring=4096, **parameters)
    for seed in range(6):
        model.learn(tastes(seed, 2_000, noise))
    return model


def test_planted_tastes_are_learnt_and_noise_is_not():
    assert precision(trained(0.2)) > 0.95
    assert precision(trained(1.0)) < 0.4


def test_the_bias_is_log_popularity_where_nobody_has_a_taste():
    model = MatrixFactorisation(4, dim=2, ring=4096)
    rng = np.random.default_rng(1)
    share = np.array([0.6, 0.25, 0.1, 0.05])
    for _ in range(30):
        model.learn(batch(rng.choice(4, 2_000, p=share), rng.integers(0, 4, (2_000, 1))))
    scores = model.score(query_batch(np.zeros((1, 1), np.int32)), np.arange(4, dtype=np.int32)[None])
    np.testing.assert_allclose(scores[0], share, atol=0.06)


def test_the_order_of_the_history_does_not_matter():
    model = trained(0.3)
    forth, back = (model.propose(query_batch([h]), 10) for h in ([3, 9, 20], [20, 3, 9]))
    assert (forth.rows == back.rows).all()


def test_one_step_is_down_the_loss_gradient(monkeypatch):
    """The gradients that Adagrad gets, against differences of the loss in double precision."""
    model = MatrixFactorisation(ITEMS, dim=4, ring=4096)
    model.learn(tastes(1, 400, 0.2))
    gradients: dict[int, tuple[np.ndarray, ...]] = {}
    monkeypatch.setattr(
        model, "_descend", lambda side, *rest: gradients.update({int(side is model._history): rest})
    )
    drawn = np.arange(0, 40, 2, dtype=np.int32)
    monkeypatch.setattr(model._clicks, "sample", lambda n, rng: drawn)
    examples = tastes(2, 5, 0.2)
    model.learn(examples)
    noise = np.log(len(drawn) * model._clicks.odds(ALL_ROWS))
    sides = (model._item, model._history)
    at = [np.stack([getattr(side, name) for side in sides]).astype(float) for name in ("factors", "bias")]

    def loss(factors, biases) -> float:
        total = 0.0
        for item, history in zip(examples.items, examples.queries.history, strict=True):
            h = history[history >= 0]
            p, b = factors[1, h].sum(0) / 2, biases[1, h].sum() / 2  # four items: |H|^-1/2 = 1/2
            logit = b + biases[0] - noise + factors[0] @ p
            total += np.log1p(np.exp(-logit[item])) + np.log1p(np.exp(logit[drawn])).sum()
        return float(total)

    def difference(which: int, place: tuple[int, ...]) -> float:
        up, down = ([array.copy() for array in at] for _ in range(2))
        up[which][place] += 1e-5
        down[which][place] -= 1e-5
        return (loss(*up) - loss(*down)) / 2e-5

    assert set(gradients) == {0, 1}
    for side, (rows, factors, bias) in gradients.items():
        for n in range(0, len(rows), 4):
            row = int(rows[n])
            assert factors[n, 1] == pytest.approx(difference(0, (side, row, 1)), abs=1e-3)
            assert bias[n] == pytest.approx(difference(1, (side, row)), abs=1e-3)


def test_updates_that_are_not_finite_are_dropped_and_counted():
    model = trained(0.2)
    bad = tastes(7, 300)
    weights = bad.weights.copy()
    weights[5] = np.inf
    model.learn(replace(bad, weights=weights))
    assert model.dropped > 0
    records = model.state.dump(ALL_ROWS)
    assert all(np.isfinite(records[field]).all() for field in records.dtype.names)


def test_norms_are_capped():
    records = trained(0.2, learning_rate=50.0, max_norm=2.0).state.dump(ALL_ROWS)
    for factors in (records["factors"], records["history_factors"]):
        assert (np.linalg.norm(factors, axis=1) <= 2.0 + 1e-3).all()


def test_a_user_of_unknown_items_has_no_candidates():
    model = MatrixFactorisation(ITEMS, ring=4096)
    model.learn(batch(np.arange(20), np.arange(1, 21)[:, None]))
    assert (model.propose(query_batch(np.full((1, HISTORY), 50, np.int32)), 5).rows == -1).all()
