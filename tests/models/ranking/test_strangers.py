"""Lists for users without a history, after a ranker has learnt."""

import random

import numpy as np
import pytest

from models.core import Example, Query
from models.model import Model
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


def in_contexts(generators, context_key="country+device"):
    """Two countries and two devices with best sellers of their own, and a third country with one event."""
    model = Model(generators, 1000, rankers=["mlp"], context_key=context_key)
    examples = []
    for n in range(1200):
        country, device = "NO" if n % 3 else "SE", "phone" if n % 2 else "desk"
        item = f"{country} {device} {n % 7}" if n % 4 else f"everywhere {n % 5}"
        context = {"country": country, "device": device}
        examples.append(Example(f"u{n}", n, START_MS + 1000 * n, "view", item, context=context))
    only = {"country": "DK", "device": "desk"}
    examples.append(Example("dane", 1200, START_MS + 1_200_000, "view", "danish", context=only))
    for at in range(0, len(examples), 50):
        model.learn(examples[at : at + 50])
    return model


def answered(model, **context):
    query = Query((), 0, START_MS + 1_210_000, context)
    (slate,) = Recommender(model, {}, "mlp").recommend([query], 7)
    return slate


@pytest.mark.parametrize("on", [{}, {"context-popularity": 0.1}])
def test_a_stranger_gets_the_best_sellers_of_the_context(on):
    """Also where the generator `context-popularity`, which counts the same, is on."""
    model = in_contexts(default_weights() | on)
    assert ("in-context" in model.parts.layouts) == (not on)
    for country in ("NO", "SE"):
        for device in ("phone", "desk"):
            slate = answered(model, country=country, device=device)
            assert all(item.startswith((f"{country} {device}", "everywhere")) for item in slate.items)
            assert sum(item.startswith(f"{country} {device}") for item in slate.items) >= 2
            assert set(slate.reasons) == {"popular in this context"}


def test_a_context_of_which_little_is_known_has_the_best_sellers_of_all():
    model = in_contexts(default_weights())
    everybody = answered(model)
    assert set(everybody.reasons) == {"popular now"}
    assert answered(model, country="FI", device="phone").items == everybody.items
    assert answered(model, country="DK", device="desk").items == everybody.items, "one event says little"


def test_what_was_popular_in_a_context_long_ago_counts_less():
    model = in_contexts(default_weights())
    later = Query((), 0, START_MS + 20 * 86_400_000, {"country": "SE", "device": "desk"})
    (slate,) = Recommender(model, {}, "mlp").recommend([later], 7)
    assert slate.items == answered(model).items


def test_the_hour_of_the_day_is_a_context():
    model = Model(default_weights(), 1000, rankers=["mlp"], context_key="hour")
    hour = 3_600_000
    examples = [
        Example(f"u{n}", n, START_MS + hour * n // 60, "view", f"h{(START_MS // hour + n // 60) % 24}")
        for n in range(24 * 60)
    ]
    for at in range(0, len(examples), 50):
        model.learn(examples[at : at + 50])
    now = START_MS + 24 * hour + 5 * hour
    (slate,) = Recommender(model, {}, "mlp").recommend([Query((), 0, now)], 3)
    assert slate.items[0] == f"h{now // hour % 24}"
