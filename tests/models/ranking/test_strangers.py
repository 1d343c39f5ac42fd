"""Lists for users without a history, after a ranker has learnt."""

import random

import numpy as np
import pytest

from models.core import Example, Query
from models.model import Model
from models.ranking.strangers import Strangers
from models.recommender import Recommender
from models.registry import RANKERS, default_weights

START_MS = 1_800_000_000_000
LEARNT = [name for name, row in RANKERS.items() if row.learns]
ONCE = [f"once {n}" for n in range(5)]
"""Items of one event, seen last."""


def learnt(ranker: str, seed: int, generators: dict[str, float] | None = None) -> Model:
    """A model after 480 views of 20 items by 80 users, none repeated, and a few other items seen once."""
    rng = random.Random(seed)
    views = [(f"u{n}", f"often {item}") for n in range(80) for item in rng.sample(range(20), 6)]
    rng.shuffle(views)
    views += [(f"someone {n}", item) for n, item in enumerate(ONCE)]
    model, history = Model(generators or default_weights(), 1000, seed=seed, rankers=[ranker]), {}
    examples = []
    for n, (user, item) in enumerate(views):
        before = history.get(user, ())
        examples.append(
            Example(user, n, START_MS + 1000 * n, "view", item, history=before, session_size=len(before))
        )
        history[user] = (*before, item)
    for at in range(0, len(examples), 50):
        model.learn(examples[at : at + 50])
    return model


def stranger(*history: str) -> Query:
    """A request a second after the last view."""
    return Query(history, len(history), START_MS + 486_000)


@pytest.mark.parametrize("ranker", LEARNT)
@pytest.mark.parametrize("seed", [1, 3, 4])
def test_a_stranger_gets_best_sellers_before_items_of_one_event(ranker, seed):
    model = learnt(ranker, seed)
    recommender = Recommender(model, {}, ranker)
    best_sellers = [model.items.ids[row] for row in model.popularity.top(25)[0].tolist()]
    assert set(best_sellers[20:]) == set(ONCE)
    for query in (stranger(), stranger("never seen")):
        (slate,) = recommender.recommend([query], 25)
        assert list(slate.items) == best_sellers
        assert list(slate.scores) == sorted(slate.scores, reverse=True)
        assert 0 < sum(slate.scores) <= 1, "probabilities"
        assert set(slate.reasons) == {"popular now"}


def test_lists_of_users_with_a_history_are_the_rankers():
    """Bit for bit, also beside strangers."""
    model = learnt("mlp", 1)
    recommender = Recommender(model, {}, "mlp")
    queries = [
        stranger("often 3"),
        stranger(),
        stranger("never seen", "once 2"),
        stranger("often 1", "often 2"),
    ]
    slates = recommender.recommend(queries, 10)
    for n in (0, 2, 3):
        batch = model.queries([queries[n]])
        latest = np.array([[model.items.row(queries[n].history[-1])]], np.int32)
        pool, features = model.shortlist.featurize(batch, latest, 10)
        scores = (model.rankers["mlp"].score(features) * model.coverage.score(features)[:, None])[0]
        best = np.argsort(-scores[: pool.counts[0]], kind="stable")[:10]
        assert [model.items.ids[row] for row in pool.rows[0, best].tolist()] == list(slates[n].items)
        assert np.round(scores[best].astype(np.float64), 5).tolist() == list(slates[n].scores)


def test_without_popularity_a_stranger_gets_the_blend():
    weights = {"next": 1.0, "trending": 0.1}
    model = learnt("mlp", 1, weights)
    (slate,) = Recommender(model, {}, "mlp").recommend([stranger()], 5)
    (blend,) = Recommender(model, weights, "blend").recommend([stranger()], 5)
    assert slate.items == blend.items


def test_before_anything_is_learnt_a_stranger_gets_nothing():
    model = Model(default_weights(), 100, rankers=["mlp"])
    assert Recommender(model, {}, "mlp").recommend([stranger()], 5)[0].items == ()
    assert Strangers({"popularity": 1.0}).score(model.shortlist.featurize(
        model.queries([stranger()]), np.zeros((1, 0), np.int32)
    )[1]).sum() == 0  # fmt: skip
