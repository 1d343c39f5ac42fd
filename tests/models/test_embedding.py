"""What the embeddings learn, and what they refuse."""

from dataclasses import replace

import numpy as np
import torch

from models.core import Batch, Queries
from models.retrieval.embedding import Embedding
from tests.models.arrays import batch

ITEMS = 60


def chain(seed: int, n: int, noise: float = 0.1) -> Batch:
    """Sessions of one item, followed by (item + 7) mod ITEMS, or by anything."""
    rng = np.random.default_rng(seed)
    before = rng.integers(0, ITEMS, n)
    items = (before + 7) % ITEMS
    odd = rng.random(n) < noise
    items[odd] = rng.integers(0, ITEMS, odd.sum())
    return batch(items, before[:, None], times=np.arange(n))


def hit_rate(model: Embedding, k: int = 5) -> float:
    rows = model.propose(Queries.of(np.arange(ITEMS, dtype=np.int32)[:, None]), k).rows
    return float(np.mean([(n + 7) % ITEMS in rows[n] for n in range(ITEMS)]))


def test_a_planted_chain_is_learnt_and_noise_is_not():
    learnt, random = Embedding(ITEMS), Embedding(ITEMS)
    for seed in range(12):
        learnt.learn(chain(seed, 2_000))
        random.learn(chain(seed, 2_000, noise=1.0))
    assert hit_rate(learnt) > 0.9
    assert hit_rate(random) < 0.35  # chance is 5 of 60


def test_scores_of_candidates_agree_with_exact_retrieval():
    model = Embedding(ITEMS)
    model.learn(chain(1, 3_000))
    queries = chain(2, 20).queries
    everything = np.tile(np.arange(ITEMS, dtype=np.int32), (20, 1))
    scores = model.score(queries, everything)
    np.testing.assert_allclose(scores.sum(1), 1, rtol=1e-4)
    best = np.argsort(-scores, axis=1, kind="stable")[:, :5]
    assert (best == model.propose(queries, 5).rows).mean() > 0.98  # float ties aside


def test_updates_that_are_not_finite_are_dropped_and_counted():
    model = Embedding(ITEMS)
    model.learn(chain(1, 500))
    everything = np.arange(ITEMS, dtype=np.int32)
    good = chain(2, 300)
    weights = good.weights.copy()
    weights[5] = np.inf
    model.learn(replace(good, weights=weights))
    assert model.dropped > 0
    for field in ("input", "output", "bias", "squares"):
        assert np.isfinite(model.dump(everything)[field]).all(), field


def test_norms_are_capped():
    model = Embedding(ITEMS, learning_rate=50.0, max_norm=2.0)
    model.learn(chain(1, 3_000))
    dumped = model.dump(np.arange(ITEMS, dtype=np.int32))
    for field in ("input", "output"):
        assert (np.linalg.norm(dumped[field], axis=1) <= 2.0 + 1e-3).all()


def test_one_step_moves_against_the_gradient():
    """The gradient of torch against differences of the loss, for one batch without negatives."""
    model = Embedding(ITEMS, negatives=1)
    batch = chain(1, 8, noise=0.0)
    model.learn(batch)

    def loss(outputs: torch.Tensor) -> torch.Tensor:
        u = torch.from_numpy(model._input[batch.queries.session[:, 0]]).double()
        logits = u @ outputs[torch.from_numpy(batch.items).long()].T
        return torch.nn.functional.cross_entropy(logits, torch.arange(8), reduction="sum")

    outputs = torch.from_numpy(model._output).double().requires_grad_()
    loss(outputs).backward()
    row, column, step = int(batch.items[0]), 3, 1e-5
    moved = outputs.detach().clone()
    moved[row, column] += step
    difference = (loss(moved) - loss(outputs.detach())) / step
    assert abs(difference - outputs.grad[row, column]) < 1e-4
    before = Embedding(ITEMS, negatives=1)
    before._start(np.unique(np.concatenate([batch.items, batch.queries.session[:, 0]])))
    assert loss(outputs.detach()) < loss(torch.from_numpy(before._output).double()), "a step lowers the loss"
