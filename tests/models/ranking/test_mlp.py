"""The network's gradient is torch's, and its steps are Adagrad's."""

import numpy as np
import pytest
import torch

from models.ranking.mlp import FIRST_SQUARES, Mlp
from tests.models.ranking.test_promises import WEIGHTS, random_features


@pytest.mark.parametrize("hidden", [0, 16])
def test_one_step_is_torchs(hidden):
    ranker = Mlp(WEIGHTS, hidden=hidden)
    rng = np.random.default_rng(1)
    start = rng.normal(0, 0.3, len(ranker.state.values)).astype(np.float32)
    features, targets = random_features(1, n=1)
    ranker.state.values[:] = start
    ranker.learn(features, targets, np.array([0.7], np.float32))

    parameters = torch.from_numpy(start.copy()).requires_grad_()
    _, wide, of_query = ranker._shape
    w, inner, query, bias, v = parameters.split([wide, hidden * wide, hidden * of_query, hidden, hidden])
    x = torch.from_numpy(features.candidates[0, :, : features.counts[0]])  # (wide, count)
    z = (
        inner.view(hidden, wide) @ x
        + (query.view(hidden, of_query) @ torch.from_numpy(features.queries[0]))[:, None]
    )
    logits = w @ x + v @ torch.relu(z + bias[:, None])
    loss = -0.7 * torch.log_softmax(logits, 0)[int(targets[0])]
    loss.backward()
    assert parameters.grad is not None
    gradient = parameters.grad.numpy()
    squares = FIRST_SQUARES + gradient**2
    rates = np.where(np.arange(len(start)) < wide, *ranker._rates)
    assert ranker.state.squares == pytest.approx(squares, rel=1e-3, abs=1e-6)
    assert ranker.state.values == pytest.approx(start - rates * gradient / np.sqrt(squares), abs=1e-4)


@pytest.mark.parametrize("seed", range(4))
def test_hidden_units_see_what_a_linear_one_cannot(seed):
    """A repeat is right in long sessions only: the query's feature must turn a candidate's weight."""
    linear, network = Mlp(WEIGHTS, hidden=0), Mlp(WEIGHTS, hidden=16, seed=seed)
    rng = np.random.default_rng(seed)

    def turned(step):
        features, _ = random_features(step)
        features.queries[:, 1] = rng.random(len(features.rows)) < 0.5
        sign = np.where(features.queries[:, 1] > 0, 1, -1)[:, None]
        decides = np.where(features.rows >= 0, sign * features.candidates[:, 9], -np.inf)
        return features, decides.argmax(1).astype(np.int32)

    for step in range(500):
        features, targets = turned(step)
        for ranker in (linear, network):
            ranker.learn(features, targets, np.ones(len(targets), np.float32))
    features, targets = turned(999)
    right = [(ranker.score(features).argmax(1) == targets).mean() for ranker in (linear, network)]
    assert right[0] < 0.35
    assert right[1] > 0.5
