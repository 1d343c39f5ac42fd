"""What every ranker promises, over the registry: a new one is tested by its row there."""

import numpy as np
import pytest

from models.core import Example, Features, Query
from models.model import Model
from models.ranking.features import feature_names, padded_size
from models.recommender import Recommender
from models.registry import RANKERS

WEIGHTS = {"next": 1.0, "previous": 0.5, "popularity": 0.1, "embedding": 0.2}
CAPACITY = 60
LEARNT = sorted(set(RANKERS) - {"blend"})


def clicks(seed: int, n: int = 150, start: int = 0) -> list[Example]:
    """Sessions that mostly lead from an item to the one after it, and often repeat items."""
    rng = np.random.default_rng(seed)
    before: dict[int, list[str]] = {}
    examples = []
    for offset in range(start, start + n):
        user = int(rng.integers(8))
        history = before.setdefault(user, [])
        newest = int(history[-1][1:]) if history else int(rng.integers(40))
        item = (
            history[int(rng.integers(len(history)))]
            if history and rng.random() < 0.2
            else f"i{(newest + 1) % 40}"
        )
        examples.append(
            Example(
                f"u{user}", offset, 1000 * offset, "view", item, history=tuple(history[-32:]),
                session_size=min(len(history), int(rng.integers(4))),
            )
        )  # fmt: skip
        history.append(item)
    return examples


def make(name: str, seed: int = 0) -> Model:
    return Model(WEIGHTS, CAPACITY, rankers=[name], seed=seed)


def some_queries() -> list[Query]:
    histories = [("i3",), ("i4", "i5"), ("i7", "i7", "i9"), ("unknown", "i2"), (), ("unknown",)]
    return [Query(history, len(history), 200_000) for history in histories]


def lists(model: Model, name: str):
    return Recommender(model, WEIGHTS, name).recommend(some_queries(), 10)


@pytest.fixture(params=LEARNT)
def name(request):
    return request.param


def random_features(seed: int, n: int = 40, m: int = 24) -> tuple[Features, np.ndarray]:
    """Random features; the target is the candidate in which one feature is highest."""
    rng = np.random.default_rng(seed)
    of_candidate, of_query = feature_names(list(WEIGHTS))
    wide = padded_size(len(of_candidate))
    counts = rng.integers(2, m + 1, n).astype(np.int32)
    rows = np.argsort(rng.random((n, CAPACITY)), axis=1)[:, :m].astype(np.int32)
    rows[np.arange(m) >= counts[:, None]] = -1
    candidates = rng.random((n, wide, m)).astype(np.float32)
    candidates[:, len(of_candidate) :] = 0
    decides = np.where(rows >= 0, candidates[:, 9], -1)
    history = rng.integers(0, CAPACITY, (n, 32)).astype(np.int32)
    queries = rng.random((n, len(of_query))).astype(np.float32)
    return Features(rows, counts, candidates, queries, history), decides.argmax(1).astype(np.int32)


def ranker(name: str, seed: int = 0):
    return make(name, seed).rankers[name]


def hits(ranker, features: Features, targets: np.ndarray) -> float:
    return float((ranker.score(features).argmax(1) == targets).mean())


def test_a_cold_ranker_lists_what_the_blend_lists(name):
    model = Model(WEIGHTS, CAPACITY, rankers=())
    model.learn(clicks(1))
    cold = make(name)
    cold.apply(cold.prepare(model.dump_touched().items()))
    for learnt, blended in zip(lists(cold, name), lists(cold, "blend"), strict=True):
        assert learnt.items[: len(blended.items)] == blended.items


def test_nothing_known_is_an_empty_list(name):
    assert all(slate.items == () for slate in lists(make(name), name))


def test_a_decisive_feature_is_learnt_and_chance_is_not_beaten(name):
    trained, noise = ranker(name), ranker(name)
    rng = np.random.default_rng(3)
    for step in range(20):
        features, targets = random_features(step, n=300)
        trained.learn(features, targets, np.ones(len(targets), np.float32))
        at_random = (rng.random(len(targets)) * features.counts).astype(np.int32)
        noise.learn(features, at_random, np.ones(len(targets), np.float32))
    features, targets = random_features(1000, n=300)
    assert hits(trained, features, targets) > 0.6
    assert hits(noise, features, targets) < 0.3


def test_scores_are_probabilities_over_the_candidates(name):
    trained = ranker(name)
    features, targets = random_features(1)
    trained.learn(features, targets, np.ones(len(targets), np.float32))
    scores = trained.score(features)
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()
    assert (scores >= 0).all()
    assert (scores[features.rows < 0] == 0).all()
    assert np.allclose(scores.sum(1), 1, atol=1e-4)


def test_reading_never_changes_state_and_seeded_runs_repeat(name):
    first, second = ranker(name, seed=5), ranker(name, seed=5)
    features, targets = random_features(1)
    for trained in (first, second):
        trained.learn(features, targets, np.ones(len(targets), np.float32))
    scores = first.score(features)
    assert np.array_equal(first.score(features), scores)
    assert np.array_equal(second.score(features), scores)
    rows = np.arange(first.state.rows, dtype=np.int32)
    assert first.state.dump(rows).tobytes() == second.state.dump(rows).tobytes()


def test_a_target_that_is_no_candidate_teaches_nothing(name):
    untaught = ranker(name)
    features, targets = random_features(1)
    before = untaught.score(features)
    untaught.learn(features, np.full_like(targets, -1), np.ones(len(targets), np.float32))
    assert np.array_equal(untaught.score(features), before)
    assert len(untaught.state.touched()) == 0


def test_updates_that_are_not_finite_are_dropped_and_counted(name):
    trained = ranker(name)
    features, targets = random_features(1)
    weights = np.ones(len(targets), np.float32)
    weights[3] = np.inf
    trained.learn(features, targets, weights)
    features.candidates[5] = np.nan
    trained.learn(features, targets, np.ones(len(targets), np.float32))
    assert trained.dropped >= 2
    assert np.isfinite(trained.score(random_features(2)[0])).all()


def test_replica_equals_learner_after_any_number_of_checkpoints(name):
    learner, replica = make(name), make(name)
    for step in range(5):
        learner.learn(clicks(step, start=150 * step))
        replica.apply(replica.prepare(learner.dump_touched().items()))
        assert lists(replica, name) == lists(learner, name)


def test_a_restored_learner_continues_as_if_uninterrupted(name):
    uninterrupted, first, second = make(name), make(name), make(name)
    for step in (0, 1):
        uninterrupted.learn(clicks(step, start=150 * step))
        first.learn(clicks(step, start=150 * step))
    second.apply(second.prepare(first.dump_touched().items()))
    uninterrupted.dump_touched()
    for model in (uninterrupted, second):
        model.learn(clicks(2, start=300))
    assert second.dump_touched() == uninterrupted.dump_touched()
    assert lists(second, name) == lists(uninterrupted, name)


def test_memory_is_bounded(name):
    model = make(name)
    for step in range(30):
        items = [f"item-{step * 5 + n % 10}" for n in range(20)]
        model.learn(
            [
                Example("u", n, step * 3_600_000, "view", item, history=tuple(items[:n]), session_size=n)
                for n, item in enumerate(items)
            ]
        )
        rows = model.dump_touched()
        assert (
            sum(len(value or b"") for key, value in rows.items() if key.startswith(name.encode())) < 100_000
        )
    assert len(model.items) <= CAPACITY
    assert Recommender(model, WEIGHTS, name).recommend([Query((items[0],), 1, 0)], 5)[0].items


def test_a_ranker_starts_over_with_other_generators(name):
    model = make(name)
    model.learn(clicks(1))
    published = model.dump_touched()
    other = Model({"next": 1.0, "embedding": 0.1}, CAPACITY, rankers=[name])
    other.apply(other.prepare(published.items()))
    assert Recommender(other, {}, name).recommend(some_queries(), 5)[0].items


def test_it_trains_on_the_model_from_before_the_micro_batch(name):
    """In one micro-batch nothing is proposed yet, so there is nothing to rank: the ranker learns nothing."""
    model = make(name)
    model.learn([Example("u", n, n, "view", f"i{n}", history=(f"i{n - 1}",) * (n > 0)) for n in range(20)])
    assert not any(key.startswith(name.encode()) for key in model.dump_touched())


def test_the_latest_item_is_listed_where_that_is_wanted(name):
    model = make(name)
    for step in range(4):
        model.learn(clicks(step, start=150 * step))
    query = [Query(("i4", "i3"), 2, 700_000)]
    assert "i3" not in Recommender(model, WEIGHTS, name).recommend(query, 60)[0].items
    assert "i3" in Recommender(model, WEIGHTS, name, list_latest=True).recommend(query, 60)[0].items
