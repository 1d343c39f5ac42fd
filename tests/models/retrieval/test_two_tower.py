"""Planted chains and repeats, equality of a tower's two sides, the gradient, and steps that are dropped."""

from dataclasses import replace

import numpy as np
import pytest

from models.core import Batch, QueryBatch
from models.retrieval.sequences import pack
from models.retrieval.towers import TOWERS, first_weights, split
from models.retrieval.two_tower import TwoTower
from models.small_batches import query_batch
from tests.models.arrays import batch

ITEMS = 60
ALL_ROWS = np.arange(ITEMS, dtype=np.int32)


@pytest.fixture(params=sorted(TOWERS))
def tower(request):
    return request.param


def pairs(seed: int, n: int, noise: float = 0.1) -> Batch:
    """Sessions of two items: any, then (it + 7) mod ITEMS or, at times, any."""
    rng = np.random.default_rng(seed)
    first = rng.integers(0, ITEMS, n)
    second = np.where(rng.random(n) < noise, rng.integers(0, ITEMS, n), (first + 7) % ITEMS)
    return sessions(np.stack([first, second], 1), seed)


def sessions(items, seed: int = 0) -> Batch:
    """Sessions int[n, length], one after the other."""
    n, length = items.shape
    before = np.full((n, length, length), -1, np.int32)
    for at in range(1, length):
        before[:, at, :at] = items[:, at - 1 :: -1][:, :at]
    users = np.repeat(np.arange(n) + 1_000_000 * seed, length)
    return batch(items.ravel(), before.reshape(n * length, length), users=users)


def after(*items: int) -> QueryBatch:
    return query_batch([items[::-1]])


def hit_rate(model: TwoTower, k: int = 5) -> float:
    rows = model.propose(query_batch(ALL_ROWS[:, None]), k).rows
    return float(np.mean([(n + 7) % ITEMS in rows[n] for n in range(ITEMS)]))


def trained(tower: str, *batches: Batch, **parameters) -> TwoTower:
    model = TwoTower(ITEMS, tower, ring=4096, **parameters)
    for examples in batches:
        model.learn(examples)
    return model


def test_a_planted_chain_is_learnt_and_noise_is_not(tower):
    assert hit_rate(trained(tower, *(pairs(seed, 1_000) for seed in range(6)))) > 0.9
    assert hit_rate(trained(tower, *(pairs(seed, 1_000, noise=1.0) for seed in range(6)))) < 0.35


@pytest.mark.parametrize("tower", ["gru", "transformer"])
def test_the_order_of_a_session_tells(tower):
    """0 1 is followed by 2, 1 0 by 3: no mean of the two knows."""
    both = np.tile([[0, 1, 2], [1, 0, 3]], (300, 1))
    model = trained(tower, *(sessions(both, seed) for seed in range(4)))
    assert model.propose(after(0, 1), 1).rows[0, 0] == 2
    assert model.propose(after(1, 0), 1).rows[0, 0] == 3


def test_repeats_are_told_from_what_is_similar():
    """Who looks at a and b comes back to a, whatever they are."""
    rng = np.random.default_rng(1)
    first, second = rng.integers(0, ITEMS, (2, 3_000))
    threes = np.stack([first, second, first], 1)
    model = trained("mean", *(sessions(threes, seed) for seed in range(3)), tower_rate=0.05)
    assert np.mean([model.propose(after(n, (n + 11) % ITEMS), 1).rows[0, 0] == n for n in range(ITEMS)]) > 0.9


def a_tower(tower: str, seed: int, dim: int = 16, length: int = 8):
    """Flat weights that are no longer those at the start, and their shapes."""
    rng = np.random.default_rng(seed)
    shapes = TOWERS[tower].shapes(dim, length)
    flat = np.concatenate([first_weights(rng, name, shape).ravel() for name, shape in shapes.items()])
    return flat + rng.normal(0, 0.1, len(flat)).astype(np.float32), shapes


def test_both_sides_of_a_tower_agree(tower):
    """The newest step as a replica computes it, without torch, against the walk of the learner."""
    rng = np.random.default_rng(3)
    history = rng.integers(0, ITEMS, (50, 8)).astype(np.int32)
    history[np.arange(8) >= rng.integers(0, 9, 50)[:, None]] = -1
    vectors = rng.normal(size=(ITEMS, 16)).astype(np.float32)
    flat, shapes = a_tower(tower, 3)
    sequences = pack(history)
    walked, _ = TOWERS[tower].walk(flat, shapes, vectors[sequences.items], sequences.sizes)
    served = TOWERS[tower].last(split(flat, shapes), vectors, history)
    assert served.dtype == np.float32
    assert (served[sequences.last < 0] == 0).all()
    some = sequences.last >= 0
    np.testing.assert_allclose(served[some], walked[sequences.last[some]], atol=2e-6)


def test_a_step_does_not_depend_on_later_ones(tower):
    vectors = np.random.default_rng(4).normal(size=(ITEMS, 16)).astype(np.float32)
    flat, shapes = a_tower(tower, 4)
    whole, part = pack(np.array([[4, 3, 2, 1]], np.int32)), pack(np.array([[2, 1]], np.int32))
    of_whole, of_part = (
        TOWERS[tower].walk(flat, shapes, vectors[sequences.items], sequences.sizes)[0]
        for sequences in (whole, part)
    )
    np.testing.assert_allclose(of_whole[:2], of_part, atol=1e-6)


def test_one_step_is_down_the_loss_gradient(tower, monkeypatch):
    """The gradients that the optimisers get, against differences of the loss in double precision."""
    model = TwoTower(ITEMS, tower, dim=8, negatives=20, dropout=0.0, replay=0.0, ring=4096)
    model.learn(sessions(np.random.default_rng(5).integers(0, ITEMS, (200, 4)), 1))
    gradients: dict[str, np.ndarray] = {}
    monkeypatch.setattr(
        model, "_descend", lambda rows, v, b: gradients.update(rows=rows, vectors=v.copy(), bias=b.copy())
    )
    monkeypatch.setattr(model, "_descend_tower", lambda gradient: gradients.update(tower=gradient.copy()))
    drawn = np.arange(0, 40, 2, dtype=np.int32)
    monkeypatch.setattr(model, "_negatives", lambda rng: drawn)
    items = np.random.default_rng(6).integers(0, ITEMS, (5, 4)).astype(np.int32)
    items[0] = [7, 9, 7, 9]  # repeats
    model.learn(sessions(items, 2))
    candidates = np.union1d(drawn, items[:, 1:])
    log_odds = np.log(-np.expm1((15 + 20) * np.log1p(-model._clicks.odds(ALL_ROWS))))

    def loss(vectors, bias, flat) -> float:
        repeat, total = split(flat, model._shapes)["repeat"], 0.0
        for session in items:
            u, _ = model._tower.walk(flat, model._shapes, vectors[session[:3]], np.ones(3, np.int32))
            for step in range(3):
                own, target = session[: step + 1], session[step + 1]
                logit = vectors @ u[step] + bias - log_odds
                logit[np.unique(own)] += log_odds[np.unique(own)]
                for age in range(step + 1):
                    logit[session[step - age]] += repeat[age]
                among = logit[np.union1d(candidates, own)]
                total += among.max() + np.log(np.exp(among - among.max()).sum()) - logit[target]
        return float(total)

    at = [model.vectors.astype(float), model._bias.astype(float), model._blocks["tower"].astype(float)]
    rows = gradients["rows"].tolist()
    assert sorted(rows) == np.unique(np.concatenate([items.ravel(), drawn])).tolist()

    def difference(which: int, place: tuple[int, ...]) -> float:
        up, down = ([array.copy() for array in at] for _ in range(2))
        up[which][place] += 1e-5
        down[which][place] -= 1e-5
        return (loss(*up) - loss(*down)) / 2e-5

    rng = np.random.default_rng(7)
    for n in [*rng.integers(0, len(rows), 6).tolist(), rows.index(7), rows.index(9)]:
        d = int(rng.integers(8))
        assert gradients["vectors"][n, d] == pytest.approx(difference(0, (rows[n], d)), abs=2e-4)
        assert gradients["bias"][n] == pytest.approx(difference(1, (rows[n],)), abs=2e-4)
    places = np.concatenate([[0], rng.integers(0, len(at[2]), 6), len(at[2]) - model.length + np.arange(3)])
    for place in places.tolist():
        assert gradients["tower"][place] == pytest.approx(difference(2, (place,)), abs=2e-4)


def test_scores_of_candidates_agree_with_exact_retrieval(tower):
    model = trained(tower, pairs(1, 1_000))
    queries = pairs(2, 20).queries
    known = queries.take(queries.history[:, 0] >= 0)
    scores = model.score(known, np.tile(ALL_ROWS, (20, 1)))
    np.testing.assert_allclose(scores.sum(1), 1, rtol=1e-4)
    best = np.argsort(-scores, axis=1, kind="stable")[:, :5]
    assert (best == model.propose(known, 5).rows).mean() > 0.98  # float ties aside


def test_approximate_retrieval_finds_nearly_what_exact_does(monkeypatch):
    pytest.importorskip("usearch")
    model = TwoTower(3_000, "mean", ring=4096)
    rng = np.random.default_rng(9)
    walks = np.cumsum(rng.integers(1, 9, (4_000, 3)), 1) + rng.integers(0, 2_900, 4_000)[:, None]
    model.learn(sessions(walks, 1))
    queries = query_batch(np.arange(100, 2_800, 50, dtype=np.int32)[:, None])
    exact = model.propose(queries, 20)
    monkeypatch.setattr("models.retrieval.nearest.EXACT", 1_000)
    approximate = model.propose(queries, 20)
    assert (
        np.mean([len(np.intersect1d(*both)) for both in zip(exact.rows, approximate.rows, strict=True)]) > 18
    )
    evicted = exact.rows[:, 0].copy()
    model.evict(evicted)
    assert not np.isin(model.propose(queries, 20).rows, evicted).any()


def test_updates_that_are_not_finite_are_dropped_and_counted(tower):
    model = trained(tower, pairs(1, 300))
    bad = pairs(2, 200)
    weights = bad.weights.copy()
    weights[5] = np.inf
    model.learn(replace(bad, weights=weights))
    assert model.dropped > 0
    records = model.state.dump(ALL_ROWS)
    assert all(np.isfinite(records[field]).all() for field in ("vector", "bias", "squares"))
    assert np.isfinite(model._blocks["tower"]).all()
    assert np.isfinite(model._blocks["moments"]).all()


def test_norms_are_capped():
    model = trained("mean", pairs(1, 1_500), learning_rate=50.0, max_norm=2.0)
    assert (np.linalg.norm(model.state.dump(ALL_ROWS)["vector"], axis=1) <= 2.0 + 1e-3).all()


def test_a_checkpoint_has_the_rows_of_a_micro_batch_and_no_more():
    """20 clicks among 5,000 items: their items, those drawn, and the ring's pages."""
    model = TwoTower(5_000, "mean", negatives=30, replay=0.0)
    rng = np.random.default_rng(8)
    model.learn(sessions(rng.integers(0, 5_000, (2_000, 2)), 1))
    model.state.touched()
    model.learn(sessions(rng.integers(0, 5_000, (10, 2)), 2))
    rows = model.state.touched()
    assert (rows < 5_000).sum() <= 20 + 30
    assert (rows >= 5_000).sum() <= 20


def test_small_micro_batches_share_the_drawn_negatives():
    """Ten micro-batches of 10 clicks: the items of 100 clicks, and those drawn at most twice."""
    model = TwoTower(5_000, "mean", negatives=100, redraw=100, replay=0.0)
    rng = np.random.default_rng(8)
    model.learn(sessions(rng.integers(0, 5_000, (2_000, 2)), 1))
    model.state.touched()
    for n in range(10):
        model.learn(sessions(rng.integers(0, 5_000, (5, 2)), 2 + n))
    assert (model.state.touched() < 5_000).sum() <= 100 + 2 * 100


def test_a_new_click_moves_only_the_items_just_before_it_in_a_mean():
    model = TwoTower(100, "mean", negatives=1, replay=0.0)
    session, keys = np.arange(10, 24), np.zeros(14, np.int64)
    model.learn(batch(session[:13], users=keys[:13]))
    before = model.vectors.copy()
    model.learn(batch(session[13:], users=keys[13:]))
    moved = np.flatnonzero((model.vectors != before).any(1))
    assert set(session[-9:].tolist()) <= set(moved.tolist())
    assert len(moved) <= 9 + 1


def test_a_query_longer_than_a_history_is_refused():
    with pytest.raises(ValueError, match="length"):
        TwoTower(ITEMS, length=33)


def test_an_item_without_examples_begins_like_others_until_it_has_one():
    generator = TwoTower(ITEMS, "mean")
    for seed in range(30):
        generator.learn(pairs(seed, 100))
    generator.evict(np.array([5, 6], np.int32))
    near, parts = np.array([[12, -1], [3, 6], [1, 2]], np.int32), np.array([[1, 0], [0.5, 0.5], [1, 1]])
    rows = np.array([5, 6, 7], np.int32)
    before = generator.vectors.copy()
    generator.state.touched()
    generator.begin_like(rows, near, parts.astype(np.float32))
    assert np.array_equal(generator.vectors[5], before[12])
    assert np.allclose(generator.vectors[6], before[3] / 2), "6 has learnt nothing, and counts for nothing"
    assert np.array_equal(generator.vectors[7], before[7]), "it has examples"
    assert not len(generator.state.touched()), "nothing of it travels"
    assert 19 in generator.propose(query_batch([[5]]), 3).rows[0], "what comes after 12"
    begun = generator.vectors[5].copy()
    generator.learn(sessions(np.array([[5, 12]])))
    assert 5 in generator.state.touched()
    assert np.linalg.norm(generator.vectors[5] - begun) < np.linalg.norm(begun), "and goes on from there"
    learnt = generator.vectors[5].copy()
    generator.begin_like(rows, near, parts.astype(np.float32))
    assert np.array_equal(generator.vectors[5], learnt)
