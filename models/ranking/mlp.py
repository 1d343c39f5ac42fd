"""The rankers `mlp`, a small network over the features, and `linear`, the same without hidden units."""

from collections.abc import Mapping

import numpy as np

from models.core import Features, Floats, Rows
from models.ranking import network
from models.ranking.features import feature_names, padded_size
from models.state import Parameters

SHARPNESS = 4.0
"""Factor of the blend's weights in the first softmax: the blend gives an order, and no probabilities."""
FIRST_SQUARES = 0.1
"""Adagrad's accumulators at the start.  With next to 0 the first step is as long as the rate for any
gradient, and could turn so many features of the query at once that hidden units never recovered."""


class Mlp:
    """A small network over the features of a candidate and its query, learnt one example at a time.

        logit_j = w · x_j + v · relu(W x_j + U q + b)
        P(j) = exp(logit_j) / Σ_i exp(logit_i)                  over the candidates of one query
        loss = −log P(what came next)

    x_j are the features of a candidate, q those of the query (`models.ranking.features`).  The softmax over
    the list is ListNet's with one relevant document (Cao et al. 2007, "Learning to Rank: From Pairwise
    Approach to Listwise Approach"); the linear path beside the hidden layer is Wide & Deep's (Cheng et al.
    2016).  Steps are Adagrad's (Duchi, Hazan and Singer 2011), one an example.

    At the start w is the blend's and v is 0: a cold ranker lists what the blend lists.  A step whose gradient
    is not finite is dropped and counted.  Cost, for 160 candidates, 28 features and 16 hidden units: score 5
    µs a query, learn 11 µs an example; linear 1 µs each.  Memory: 8 bytes a parameter, of which there are
    about 850.

    Parameters
    ----------
    weights
        Weight of each generator in the blend, by name.
    hidden
        Hidden units; 0 makes it linear.  32 gained 0.1 points of recall at twice the cost.
    learning_rate
        Step length of Adagrad for W, U, b and v; 0.04 lost 0.15 points of recall.
    learning_rate_linear
        Step length of Adagrad for w.
    seed
        Seed of the first W.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> rows, counts = np.arange(8, dtype=np.int32)[None], np.array([8], np.int32)
    >>> x, q = rng.random((1, 20, 8), np.float32), rng.random((1, 17), np.float32)
    >>> features, ranker = Features(rows, counts, x, q, rows), Mlp({"next": 1.0})
    >>> for _ in range(20):
    ...     ranker.learn(features, np.array([3], np.int32), np.ones(1, np.float32))
    >>> int(ranker.score(features).argmax())
    3
    """

    def __init__(
        self,
        weights: Mapping[str, float],
        hidden: int = 16,
        learning_rate: float = 0.1,
        learning_rate_linear: float = 0.1,
        seed: int = 0,
    ) -> None:
        of_candidate, of_query = (len(part) for part in feature_names(list(weights)))
        self._shape = hidden, padded_size(of_candidate), of_query
        self._rates = np.float32(learning_rate_linear), np.float32(learning_rate)
        self.dropped = 0
        """Steps that were dropped because they were not finite."""
        self.state = Parameters(network.size(self._shape), FIRST_SQUARES)
        start = network.split(self.state.values, *self._shape)
        start.linear[0 : 2 * len(weights) : 2] = [SHARPNESS * weight for weight in weights.values()]
        rng = np.random.default_rng(seed)
        start.inner[:, :of_candidate] = rng.uniform(-1, 1, (hidden, of_candidate)) / np.sqrt(of_candidate)

    def score(self, features: Features) -> Floats:
        """Probability of each candidate that it comes next, were it one of them; float32[n, m]."""
        return network.scores(
            features.candidates, features.queries, features.counts, self._shape, self.state.values
        )

    def learn(self, features: Features, targets: Rows, weights: Floats) -> None:
        """Take a step for each example whose target is a column, not -1."""
        self.dropped += network.learn(
            features.candidates, features.queries, features.counts, targets, weights,
            self._shape, self._rates, self.state.values, self.state.squares,
        )  # fmt: skip
        if (targets >= 0).any():
            self.state.mark_all()

    def evict(self, rows: Rows) -> None:
        """Do nothing: nothing is kept of single items."""
