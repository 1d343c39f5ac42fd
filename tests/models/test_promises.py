"""What every candidate generator promises, over the registry: a new one is tested by its row there."""

from collections import deque
from dataclasses import replace

import numpy as np
import pytest

from models.catalog import Catalog, Entry, columns
from models.components import Borrower
from models.core import HISTORY, Batch, Query, QueryBatch
from models.model import Model
from models.published import Prepared
from models.recommender import AT_ONCE, OWN, POPULAR, Recommender
from models.registry import GENERATORS
from models.retrieval.covisitation import CoVisitation
from models.small_batches import query_batch, session_batch
from models.statistics import ItemStatistics
from models.units import HOUR_MS
from streams.settings import Settings
from tests.models import arrays
from tests.models.arrays import example

CAPACITY = 60
GENERATOR_NAMES = sorted(GENERATORS)


def batch(seed: int, n: int = 200, items: int = 40) -> Batch:
    """Random sessions, some items and times odd on purpose."""
    rng = np.random.default_rng(seed)
    history = rng.integers(0, items, (n, HISTORY)).astype(np.int32)
    lengths = rng.integers(0, HISTORY + 1, n)
    history[np.arange(HISTORY)[None, :] >= lengths[:, None]] = -1
    examples = arrays.batch(
        rng.integers(-1, items, n),
        history,
        rng.random(n),
        rng.integers(0, 10**10, n),
        sizes=rng.integers(0, lengths + 1).astype(np.int32),
        users=rng.integers(0, 20, n),
    )
    return arrays.in_contexts(examples, rng.integers(-1, 4, n))


def all_rows(generator) -> np.ndarray:
    return np.arange(generator.state.rows, dtype=np.int32)


def random_queries(seed: int = 9, n: int = 30) -> QueryBatch:
    return batch(seed, n).queries


def make(name, seed=0, capacity=CAPACITY):
    """A generator that has learnt nothing; one that borrows has a catalog, and neighbours to borrow."""
    catalog, statistics = Catalog(capacity), ItemStatistics(capacity)
    generator = GENERATORS[name].build(capacity, seed, {"catalog": catalog, "statistics": statistics})
    if isinstance(generator, Borrower):
        lender = CoVisitation(capacity)
        for part in (statistics, lender):
            part.learn(session_batch([[n, n + 1] for n in range(20)] * 6))
        generator.borrow_from([lender])
        catalog.begin()
        catalog.put(np.arange(40), columns(Entry(text=f"kind-{row % 7} {row % 3}") for row in range(40)))
        generator.refresh()
    return generator


def trained(name, *batch_seeds, seed=0):
    generator = make(name, seed)
    for batch_seed in batch_seeds:
        generator.learn(batch(batch_seed))
    return generator


def same(a, b) -> bool:
    return all(
        np.array_equal(x, y)
        for x, y in zip((a.rows, a.scores, a.sources), (b.rows, b.scores, b.sources), strict=True)
    )


@pytest.fixture(params=GENERATOR_NAMES)
def name(request):
    return request.param


@pytest.fixture(params=[name for name in GENERATOR_NAMES if name != "content"])
def alone(request):
    """A generator that proposes something in a model of its own, without a catalog."""
    return request.param


@pytest.fixture(params=[name for name in GENERATOR_NAMES if make(name).state.rows])
def learning_name(request):
    """A generator that keeps state: the others repeat what the query has."""
    return request.param


def test_cold_start_proposes_nothing_and_does_not_fail(learning_name):
    proposed = make(learning_name).propose(random_queries(), 10)
    assert (proposed.rows == -1).all()
    assert (proposed.scores == 0).all()


def test_before_anything_is_learnt_there_is_nothing_to_publish(name):
    state = make(name).state
    records = state.dump(state.touched())
    assert records.shape == (0,)
    assert records.dtype == state.dtype
    state.apply(records)


def test_empty_batches_and_empty_sessions(name):
    generator = trained(name, 1)
    generator.learn(batch(2, n=0))
    empty = np.full((3, HISTORY), -1, np.int32)
    assert generator.propose(query_batch(empty), 5).rows.shape == (3, 5)
    assert generator.propose(query_batch(empty[:0]), 5).rows.shape == (0, 5)


def test_candidates_are_distinct_finite_known_and_best_first(name):
    proposed = trained(name, 1, 2, 3).propose(random_queries(), 20)
    assert proposed.rows.dtype == np.int32
    assert proposed.scores.dtype == np.float32
    assert np.isfinite(proposed.scores).all()
    assert (proposed.scores >= 0).all()
    assert (np.diff(proposed.scores, axis=1) <= 0).all()
    for rows, scores in zip(proposed.rows, proposed.scores, strict=True):
        candidates = rows[rows >= 0]
        assert len(set(candidates)) == len(candidates)
        assert (candidates < 40).all()
        assert (rows[len(candidates) :] == -1).all()
        assert (scores[: len(candidates)] > 0).all()
    assert (proposed.rows >= 0).any()


def test_sources_point_into_the_history(name):
    queries = random_queries()
    sources = trained(name, 1, 2).propose(queries, 10).sources
    assert ((sources >= -1) & (sources < HISTORY)).all()
    rows, columns = np.nonzero(sources >= 0)
    assert (queries.history[rows, sources[rows, columns]] >= 0).all()


def test_reading_never_changes_state(name):
    generator = trained(name, 1, 2)
    before = generator.state.dump(all_rows(generator)).tobytes()
    first = generator.propose(random_queries(), 10)
    assert same(generator.propose(random_queries(), 10), first)
    assert generator.state.dump(all_rows(generator)).tobytes() == before


def test_seeded_runs_repeat(name):
    first, second = (trained(name, 1, 2, seed=5).propose(random_queries(), 10) for _ in range(2))
    assert same(first, second)


def test_replica_equals_learner_after_any_number_of_checkpoints(name):
    learner, replica = make(name), make(name)
    for seed in range(6):
        learner.learn(batch(seed))
        replica.state.apply(learner.state.dump(learner.state.touched()))
        assert same(replica.propose(random_queries(seed), 15), learner.propose(random_queries(seed), 15))


def test_a_restored_learner_continues_as_if_uninterrupted(name):
    uninterrupted, first, second = make(name), make(name), make(name)
    for seed in (1, 2):
        uninterrupted.learn(batch(seed))
        first.learn(batch(seed))
    second.state.apply(first.state.dump(first.state.touched()))
    uninterrupted.learn(batch(3))
    second.learn(batch(3))
    rows = all_rows(first)
    assert second.state.dump(rows).tobytes() == uninterrupted.state.dump(rows).tobytes()


def test_touched_rows_are_all_that_changed_and_are_returned_once(name):
    generator = make(name)
    for seed in range(4):
        before = generator.state.dump(all_rows(generator))
        generator.learn(batch(seed, n=10))
        changed = np.flatnonzero(before != generator.state.dump(all_rows(generator)))
        touched = generator.state.touched()
        assert set(changed) <= set(touched.tolist())
        assert sorted(set(touched.tolist())) == touched.tolist()
        assert not len(generator.state.touched())


def test_of_a_row_applied_twice_the_last_one_counts(name):
    learner, replica = make(name), make(name)
    dumps = []
    for seed in (1, 2):
        learner.learn(batch(seed))
        dumps.append(learner.state.dump(learner.state.touched()))
    replica.state.apply(np.concatenate(dumps))
    assert same(replica.propose(random_queries(), 10), learner.propose(random_queries(), 10))


def test_evicted_items_are_in_no_list(learning_name):
    learner, replica = trained(learning_name, 1, 2), make(learning_name)
    replica.state.apply(learner.state.dump(all_rows(learner)))
    evicted = np.array([3, 7, 11], np.int32)
    learner.state.touched()
    learner.evict(evicted)
    assert not np.isin(learner.propose(random_queries(), 30).rows, evicted).any()
    replica.state.apply(learner.state.dump(learner.state.touched()))
    assert same(replica.propose(random_queries(), 30), learner.propose(random_queries(), 30))


def test_unknown_items_teach_nothing(learning_name):
    generator = make(learning_name)
    examples = batch(1)
    generator.learn(replace(examples, items=np.full_like(examples.items, -1)))
    assert (generator.propose(random_queries(), 10).rows == -1).all()


def test_an_item_stays_below_two_kibibytes_in_all_that_are_on_by_default():
    """Everything that is allocated, scratch and rings too, over the items."""
    capacity, allocated = 100_000, 0
    for name in Settings().generators:
        generator = make(name, capacity=capacity)
        if isinstance(generator, Borrower):
            generator.borrow_from([])  # counted where they are
        generator.learn(batch(1))
        allocated += arrays.nbytes(generator)
    assert allocated / capacity <= 2048


def growth(model: Model) -> int:
    """Bytes by which a model grows while five times as many items as it has rows come and go."""
    rng = np.random.default_rng(1)
    for step in range(60):
        names = [f"item-{step * 5 + n}" for n in rng.integers(0, 10, 20)]
        model.learn([example(item, names[0], offset=n, time=step * HOUR_MS) for n, item in enumerate(names)])
        if step == 20:
            settled = arrays.nbytes(model)
    return arrays.nbytes(model) - settled


FLUCTUATION = 16 * 1024
"""Bytes that lists and dicts of a bounded length may take more than at another time."""


def test_memory_is_bounded_by_the_rows(alone):
    """Arrays and Python objects: nothing grows, nothing fails, and the model still proposes.

    With 5,000,000 items and users: `python -m tests.bench caps`.
    """
    model = Model([alone], capacity=CAPACITY)
    assert growth(model) <= FLUCTUATION
    assert len(model.items) <= CAPACITY
    assert len(model.items.ids) <= CAPACITY
    latest = next(item for item in reversed(model.items.ids) if item)
    assert (model.generators[alone].propose(model.queries([Query((latest,), 1, 0)]), 5).rows >= 0).any()


@pytest.mark.parametrize("hoard", [dict, set, list, deque], ids=lambda kind: kind.__name__)
def test_a_generator_that_hoards_is_seen(hoard, monkeypatch):
    """51,000 entries, a thousand at each micro-batch; and one at each example."""
    model = Model(["popularity"], capacity=CAPACITY)
    generator = model.generators["popularity"]
    generator.hoarded, learn = hoard(), generator.learn

    def keep(*entries: int) -> None:
        for entry in entries:
            match generator.hoarded:
                case dict():
                    generator.hoarded[entry] = f"entry {entry}"
                case set():
                    generator.hoarded.add(entry)
                case _:
                    generator.hoarded.append(entry)

    def learn_and_hoard(batch: Batch) -> None:
        learn(batch)
        keep(*range(len(generator.hoarded), len(generator.hoarded) + each))

    monkeypatch.setattr(generator, "learn", learn_and_hoard)
    each = 20
    assert growth(model) > FLUCTUATION
    before = arrays.nbytes(generator)
    keep(*range(10**6, 10**6 + 51_000))
    assert arrays.nbytes(generator) - before > 51_000 * 28, "at least the numbers"


def test_a_whole_model_is_the_same_in_its_replica_through_expiry():
    weights = dict.fromkeys(GENERATORS, 1.0)
    learner, replica = Model(weights, CAPACITY), Model(weights, CAPACITY)
    rng = np.random.default_rng(2)
    for step in range(40):
        names = [f"item-{step * 4 + n}" for n in rng.integers(0, 12, 30)]
        learner.learn(
            [
                example(item, *names[max(n - 3, 0) : n], offset=n, time=step * HOUR_MS + n)
                for n, item in enumerate(names)
            ]
        )
        published = list(learner.dump_touched().items())
        third = 1 + len(published) // 3
        parts = [replica.prepare(published[n : n + third]) for n in range(0, len(published), third)]
        replica.apply(Prepared.joined(parts))  # as it comes from Kafka
        queries = [Query(h, len(h), 0) for h in (tuple(names[:3]), (names[5],), ("never seen",), ())]
        slates = Recommender(learner, weights).recommend(queries, 10)
        assert Recommender(replica, weights).recommend(queries, 10) == slates
        assert replica.items.ids == learner.items.ids
        for query, slate in zip(queries, slates, strict=True):
            assert len(set(slate.items)) == len(slate.items) == len(slate.reasons)
            assert "" not in slate.items
            assert not query.history or query.history[-1] not in slate.items


def test_a_model_of_this_generator_alone_recommends(alone):
    model = Model([alone], CAPACITY)
    clicks = [example(f"i{n % 9}", f"i{(n + 4) % 9}", offset=n, time=n) for n in range(300)]
    model.learn(clicks)
    queries = [Query(history, 1, 0) for history in (("i5", "i3"), (), ("unknown",))]
    slates = Recommender(model, {alone: 1.0}).recommend(queries, 5)
    assert slates[0].items
    assert "i3" not in slates[0].items
    for reason in (reason for slate in slates for reason in slate.reasons):
        assert reason in (POPULAR, OWN) or reason.endswith((" i5", " i3"))


def test_several_threads_list_what_one_does():
    weights = dict.fromkeys(GENERATORS, 1.0)
    model, rng = Model(weights, CAPACITY, rankers=["mlp", "din"]), np.random.default_rng(3)
    for ranker in ("blend", "mlp", "din"):
        sequential, threaded = (Recommender(model, weights, ranker, threads=threads) for threads in (1, 4))
        for step in range(5):  # several first: the first to propose ranks what changed
            names = [f"item-{n}" for n in rng.integers(0, 60, 40)]
            model.learn([example(item, *names[max(n - 3, 0) : n], time=step) for n, item in enumerate(names)])
            queries = [Query((names[n % 40], names[n % 37]), 1 + n % 2, 99) for n in range(20 * AT_ONCE + 5)]
            assert threaded.recommend(queries, 10) == sequential.recommend(queries, 10)


def test_those_that_decay_say_so_in_the_registry():
    model = Model(dict.fromkeys(GENERATORS, 1.0), CAPACITY)
    before = model.half_lives_ms
    assert set(before) == {name for name, row in GENERATORS.items() if row.decays}
    model.set_half_lives({"next": 5.0, "no such part": 1.0})
    assert model.half_lives_ms == before | {"next": 5.0}
    model.set_half_lives({})
    assert model.half_lives_ms == before
