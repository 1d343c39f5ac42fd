"""Protocols on logs with a planted truth, and nothing is learnt before it is predicted."""

import random
from collections.abc import Iterator

import numpy as np
import pytest

from models.core import HISTORY, Example
from models.evaluation import protocols
from models.evaluation.evaluated import EvaluatedRecommender
from models.evaluation.example_columns import example_columns
from models.evaluation.exclusions import exclude_latest, exclude_nothing, exclude_seen
from models.evaluation.protocols import Pace, Step
from models.evaluation.replicas import DelayedReplica
from models.evaluation.run import RunResult, run
from models.evaluation.segments import segments
from models.evaluation.summary import over_time, summarise
from models.model import Model
from models.recommender import Recommender

EACH = Pace(delay_ms=0, max_examples=1)
SECONDS = Pace(delay_ms=1000, max_examples=100)
NEXT = {"k": 6, "names": ["next"]}


def drifting(every: int, items: int = 100):
    """A chain that drifts: after each `every` events another permutation says which item follows another."""
    orders = [random.Random(n).sample(range(items), items) for n in range(10)]
    return lambda rng, at, k: orders[k // every][at]


def log(n: int, following, users: int = 20, seed: int = 1) -> list[Example]:
    """n examples a second apart; `following(rng, item, n)` is the item after the user's latest."""
    rng = random.Random(seed)
    histories: dict[int, tuple[str, ...]] = {}
    examples = []
    for k in range(n):
        user = rng.randrange(users)
        history = histories.get(user, ())
        at = int(history[-1][1:]) if history else rng.randrange(50)
        item = f"i{following(rng, at, k)}"
        examples.append(
            Example(
                f"u{user}",
                k,
                1000 * k,
                "view",
                item,
                history=history,
                session_size=min(len(history), 1),
                session=1,
            )
        )
        histories[user] = (*history, item)[-HISTORY:]
    return examples


def chain(step: int, items: int = 40):
    """A chain of so few items that each generator proposes all of them, so that a blend ranks them all."""
    return lambda rng, at, k: (at + step) % items


def model(*names: str) -> Model:
    return Model(names or ("next", "popularity"), 2000)


def result_of(
    examples: list[Example],
    steps: Iterator[Step],
    k: int = 5,
    exclude=exclude_nothing,
    refresh=(),
    names=(),
    show=lambda *_: None,
) -> RunResult:
    live = model(*names)
    weights = dict.fromkeys(live.generators, 1.0)
    recommenders = [EvaluatedRecommender("all", live, Recommender(live, weights))]
    replicas = [DelayedReplica(str(every), model(*names), every) for every in refresh]
    recommenders += [
        EvaluatedRecommender(replica.name, replica.model, Recommender(replica.model, weights))
        for replica in replicas
    ]
    users = example_columns(examples).users
    return run(examples, users, steps, recommenders, replicas, exclude, k, show)


def prequential(examples: list[Example], warm_up: int = 0, pace: Pace = EACH) -> Iterator[Step]:
    columns = example_columns(examples)
    return protocols.prequential(columns.times, np.ones(len(examples), bool), warm_up, pace)


def recall(result: RunResult, name: str = "all") -> float:
    return float((result.recommenders[name].ranks > 0).mean())


# planted truth


def test_a_chain_is_learnt_almost_perfectly():
    examples = log(2000, chain(1))
    result = result_of(examples, prequential(examples, 500), k=1)
    assert len(result.predicted) == 1500
    assert recall(result) > 0.97


def test_a_random_log_gives_chance():
    examples = log(4000, lambda rng, at, k: rng.randrange(100))
    assert recall(result_of(examples, prequential(examples, 1000), k=10)) == pytest.approx(0.10, abs=0.02)


@pytest.mark.parametrize("pace", [EACH, SECONDS, Pace(10**9, 7)])
def test_an_item_without_earlier_events_is_never_predicted(pace):
    """The event itself is the only signal: a hit would mean that it was learnt before it was predicted."""
    examples = log(500, lambda rng, at, k: k)
    assert recall(result_of(examples, prequential(examples, pace=pace))) == 0


def test_a_frozen_model_misses_a_drift_and_a_learning_model_follows_it():
    """The log drifts at the start of the second of two windows."""
    examples = log(4000, drifting(2000))
    columns = example_columns(examples)
    window_of = np.arange(4000) // 2000
    predicted = np.ones(4000, bool)
    frozen = result_of(examples, protocols.windows(columns.times, window_of, predicted, True, None), **NEXT)
    paced = result_of(
        examples, protocols.windows(columns.times, window_of, predicted, True, Pace(60_000, 50)), **NEXT
    )
    learning = result_of(
        examples, protocols.windows(columns.times, window_of, predicted, False, EACH), **NEXT
    )
    assert len(frozen.predicted) == len(learning.predicted) == 2000
    assert recall(frozen) < 0.25
    assert recall(learning) > 0.6
    paced_ranks, frozen_ranks = (r.recommenders["all"].ranks for r in (paced, frozen))
    assert (paced_ranks == frozen_ranks).all(), "counts do not depend on micro-batches"
    assert frozen.learnt == learning.learnt == paced.learnt == 4000


def test_held_out_examples_are_not_learnt():
    examples = log(3000, lambda rng, at, k: (at + (1 if k < 2000 else 7)) % 50)
    columns, place = example_columns(examples), np.arange(3000)
    train, test = place < 2000, place >= 2500
    predicted = np.ones(3000, bool)
    frozen = result_of(examples, protocols.holdout(columns.times, train, test, predicted, True, SECONDS), k=1)
    assert frozen.learnt == 2000
    assert frozen.predicted.tolist() == list(range(2500, 3000))
    assert recall(frozen) < 0.01
    learning = result_of(examples, protocols.holdout(columns.times, train, test, predicted, False, EACH), k=1)
    assert learning.learnt == 2500


def test_a_replica_refreshed_always_equals_the_live_model_and_others_lag():
    examples = log(3000, drifting(1000))
    result = result_of(examples, prequential(examples, 1000), refresh=(0, 300_000, None), **NEXT)
    live = result.recommenders["all"].ranks
    assert (result.recommenders["0"].ranks == live).all()
    assert recall(result) > recall(result, "300000") > recall(result, "None") >= 0
    assert recall(result, "None") < 0.25


def test_the_older_the_model_the_worse_on_a_log_that_drifts():
    examples = log(3000, drifting(1000))
    fresh, stale = (
        recall(result_of(examples, prequential(examples, pace=Pace(delay, 10_000)), **NEXT))
        for delay in (1000, 300_000)
    )
    assert fresh > stale + 0.1


# exclusions


def test_lists_leave_out_the_latest_item_or_all_seen_items():
    examples = log(600, lambda rng, at, k: rng.randrange(8), users=3)
    columns = example_columns(examples)
    for exclude, mask in (
        (exclude_latest(examples), columns.repeats_latest),
        (exclude_seen(examples), columns.known_to_user),
    ):
        result = result_of(examples, prequential(examples, 100), k=8, exclude=exclude, names=["popularity"])
        hit = result.recommenders["all"].ranks > 0
        assert not hit[mask[result.predicted]].any()
    assert columns.known_to_user.sum() == 600 - 24
    assert 40 < columns.repeats_latest.sum() < 110
    # popularity lists every known item unless it is left out
    assert hit[~columns.known_to_user[result.predicted]].all()


# order of predicting and learning


def every_protocol(seed: int) -> Iterator[tuple[int, Iterator[Step]]]:
    rng = np.random.default_rng(seed)
    n = 300
    times = np.cumsum(rng.integers(0, 2000, n)) - rng.integers(0, 5000, n)
    mask = rng.random(n) < 0.7
    window_of = rng.integers(0, 4, n) if seed % 2 else np.sort(rng.integers(0, 4, n))
    part = rng.integers(0, 3, n)
    pace = Pace(int(rng.integers(0, 20_000)), int(rng.integers(1, 50)))
    yield n, protocols.prequential(times, mask, 50, pace)
    for frozen in (True, False):
        yield n, protocols.windows(times, window_of, mask, frozen, pace)
        yield n, protocols.holdout(times, part == 0, part == 1, mask, frozen, pace)
    yield n, protocols.windows(times, window_of, mask, True, None)


@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_learnt_before_it_is_predicted_nor_twice(seed):
    for n, steps in every_protocol(seed):
        learnt, predicted = np.zeros(n, int), np.zeros(n, int)
        for step in steps:
            assert not learnt[step.predicted].any()
            predicted[step.predicted] += 1
            learnt[step.learnt] += 1
        assert learnt.max() == 1
        assert predicted.max() == 1


def test_progress_says_how_much_of_the_work_is_done():
    """A quarter is only learnt, so that a seventh of the work is done when the first is predicted."""
    examples, calls = log(2000, chain(1)), []
    result_of(examples, prequential(examples, 500, Pace(10**9, 100)), show=lambda *call: calls.append(call))
    shares = [done for _, _, done in calls]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert next(done for quality, _, done in calls if quality.count) == pytest.approx(600 / 3500)


@pytest.mark.parametrize(("predictions", "first"), [(1, 0), (5, 2), (400, 10), (4000, 20)])
def test_lines_over_time_begin_with_a_tenth_of_the_fading_window(predictions, first):
    examples = log(predictions, chain(1))
    result, columns = result_of(examples, prequential(examples)), example_columns(examples)
    times = over_time(result, columns, 5)["time"]
    assert times[0] == columns.times[first]
    assert times[-1] == columns.times[-1]


def test_micro_batches_are_bounded_in_time_and_number():
    times = np.array([0, 500, 999, 1000, 900, 5000, 5000, 5000])
    by_number = [b.tolist() for b in protocols.micro_batches(np.arange(8), times, Pace(1000, 2))]
    assert by_number == [[0, 1], [2, 3], [4], [5, 6], [7]]
    by_time = [b.tolist() for b in protocols.micro_batches(np.arange(8), times, Pace(1000, 100))]
    assert by_time == [[0, 1, 2], [3, 4], [5, 6, 7]]


# summary


def test_segments_and_windows_add_up():
    examples = log(1000, lambda rng, at, k: rng.randrange(30))
    columns = example_columns(examples)
    window_of = np.arange(1000) // 250
    result = result_of(examples, protocols.windows(columns.times, window_of, np.ones(1000, bool), True, None))
    summary = summarise(result, examples, columns, (5, 2), seed=0)
    entry = summary["recommenders"]["all"]
    assert list(entry["windows"]) == [1, 2, 3]
    assert entry["mean over windows"]["recall@5"] == pytest.approx(
        np.mean([w["recall"] for w in entry["windows"].values()]), abs=1e-5
    )
    masks = segments(examples, columns, result)
    for kind in ("user: ", "item: ", "target: ", "type: "):
        segment_counts = sum(mask.astype(int) for name, mask in masks.items() if name.startswith(kind))
        assert segment_counts.tolist() == [1] * 750, kind
    low, high = entry["intervals"]["recall@5"]
    assert low <= entry["recall@5"] <= high
    assert entry["recall@2"] <= entry["recall@5"]
    assert summarise(result, examples, columns, (5, 2), seed=0) == summary, "the same seed"
