"""Protocols on logs whose truth is planted, and that nothing is learnt before it is predicted."""

import random
from collections.abc import Iterator

import numpy as np
import pytest

from models.core import HISTORY, Example
from models.evaluation import protocols
from models.evaluation.facts import facts
from models.evaluation.protocols import Pace, Step
from models.evaluation.replicas import Twin
from models.evaluation.run import Contender, Result, latest, nothing, run, seen
from models.evaluation.summary import over_time, segments, summarise
from models.model import Model
from models.recommender import Recommender

EACH = Pace(delay_ms=0, most=1)
SECONDS = Pace(delay_ms=1000, most=100)
NEXT = {"k": 6, "names": ["next"]}


def turning(every: int, items: int = 100):
    """What follows an item changes after each `every` events: another permutation."""
    orders = [random.Random(n).sample(range(items), items) for n in range(10)]
    return lambda rng, at, k: orders[k // every][at]


def log(n: int, following, users: int = 20, seed: int = 1) -> list[Example]:
    """A second apart, an item in the session of the one before it; `following` says which comes after it."""
    rng = random.Random(seed)
    histories: dict[int, tuple[str, ...]] = {}
    found = []
    for k in range(n):
        user = rng.randrange(users)
        history = histories.get(user, ())
        at = int(history[-1][1:]) if history else rng.randrange(50)
        item = f"i{following(rng, at, k)}"
        found.append(
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
    return found


def chain(step: int, items: int = 40):
    """Fewer items than a generator may propose: a blend of two ranks what both were asked about."""
    return lambda rng, at, k: (at + step) % items


def model(*names: str) -> Model:
    return Model(names or ("next", "popularity"), 2000)


def nobody(*_) -> None:
    """Shows nothing."""


def result_of(
    examples: list[Example],
    steps: Iterator[Step],
    k: int = 5,
    exclude=nothing,
    refresh=(),
    names=(),
    show=nobody,
) -> Result:
    live = model(*names)
    weights = dict.fromkeys(live.generators, 1.0)
    contenders = [Contender("all", live, Recommender(live, weights))]
    twins = []
    for every in refresh:
        twins.append(Twin(str(every), model(*names), every))
        contenders.append(Contender(str(every), twins[-1].model, Recommender(twins[-1].model, weights)))
    return run(examples, facts(examples).users, steps, contenders, twins, exclude, k, show)


def prequential(examples: list[Example], warm_up: int = 0, pace: Pace = EACH) -> Iterator[Step]:
    about = facts(examples)
    return protocols.prequential(about.times, np.ones(len(examples), bool), warm_up, pace)


def recall(found: Result, name: str = "all") -> float:
    return float((found.outcomes[name].ranks > 0).mean())


# planted truth


def test_a_chain_is_learnt_almost_perfectly():
    examples = log(2000, chain(1))
    found = result_of(examples, prequential(examples, 500), k=1)
    assert len(found.scored) == 1500
    assert recall(found) > 0.97


def test_a_random_log_gives_chance():
    examples = log(4000, lambda rng, at, k: rng.randrange(100))
    assert recall(result_of(examples, prequential(examples, 1000), k=10)) == pytest.approx(0.10, abs=0.02)


@pytest.mark.parametrize("pace", [EACH, SECONDS, Pace(10**9, 7)])
def test_an_item_that_never_was_before_is_never_predicted(pace):
    """The event itself is the only signal: any hit would be of an event learnt before it was predicted."""
    examples = log(500, lambda rng, at, k: k)
    assert recall(result_of(examples, prequential(examples, pace=pace))) == 0


def test_frozen_is_frozen_and_learning_learns():
    """The log turns in the second of two windows: who is frozen misses it, who learns sees it."""
    examples = log(4000, turning(2000))
    about = facts(examples)
    window_of = np.arange(4000) // 2000
    every = np.ones(4000, bool)
    frozen = result_of(examples, protocols.windows(about.times, window_of, every, True, None), **NEXT)
    paced = result_of(
        examples, protocols.windows(about.times, window_of, every, True, Pace(60_000, 50)), **NEXT
    )
    learning = result_of(examples, protocols.windows(about.times, window_of, every, False, EACH), **NEXT)
    assert len(frozen.scored) == len(learning.scored) == 2000
    assert recall(frozen) < 0.25
    assert recall(learning) > 0.6
    assert (paced.outcomes["all"].ranks == frozen.outcomes["all"].ranks).all(), "counts know no micro-batches"
    assert frozen.learnt == learning.learnt == paced.learnt == 4000


def test_what_is_held_out_is_not_learnt():
    examples = log(3000, lambda rng, at, k: (at + (1 if k < 2000 else 7)) % 50)
    about, place = facts(examples), np.arange(3000)
    train, test = place < 2000, place >= 2500
    every = np.ones(3000, bool)
    frozen = result_of(examples, protocols.holdout(about.times, train, test, every, True, SECONDS), k=1)
    assert frozen.learnt == 2000
    assert frozen.scored.tolist() == list(range(2500, 3000))
    assert recall(frozen) < 0.01
    learning = result_of(examples, protocols.holdout(about.times, train, test, every, False, EACH), k=1)
    assert learning.learnt == 2500


def test_a_twin_refreshed_always_is_the_live_model_and_others_lag():
    examples = log(3000, turning(1000))
    found = result_of(examples, prequential(examples, 1000), refresh=(0, 300_000, None), **NEXT)
    live = found.outcomes["all"].ranks
    assert (found.outcomes["0"].ranks == live).all()
    assert recall(found) > recall(found, "300000") > recall(found, "None") >= 0
    assert recall(found, "None") < 0.25


def test_the_older_the_model_the_worse_on_a_log_that_drifts():
    examples = log(3000, turning(1000))
    fresh, stale = (
        recall(result_of(examples, prequential(examples, pace=Pace(delay, 10_000)), **NEXT))
        for delay in (1000, 300_000)
    )
    assert fresh > stale + 0.1


# who may be in a list


def test_lists_leave_out_the_latest_or_all_that_was_seen():
    examples = log(600, lambda rng, at, k: rng.randrange(8), users=3)
    for exclude, kept in ((latest(examples), "repeat"), (seen(examples), "again")):
        found = result_of(examples, prequential(examples, 100), k=8, exclude=exclude, names=["popularity"])
        hit = found.outcomes["all"].ranks > 0
        assert not hit[getattr(facts(examples), kept)[found.scored]].any()
    about = facts(examples)
    assert about.again.sum() == 600 - 24
    assert 40 < about.repeat.sum() < 110
    # popularity lists every known item unless it is left out
    assert hit[~about.again[found.scored]].all()


# the order of things


def every_protocol(seed: int) -> Iterator[tuple[int, Iterator[Step]]]:
    rng = np.random.default_rng(seed)
    n = 300
    times = np.cumsum(rng.integers(0, 2000, n)) - rng.integers(0, 5000, n)
    scored = rng.random(n) < 0.7
    window_of = rng.integers(0, 4, n) if seed % 2 else np.sort(rng.integers(0, 4, n))
    part = rng.integers(0, 3, n)
    pace = Pace(int(rng.integers(0, 20_000)), int(rng.integers(1, 50)))
    yield n, protocols.prequential(times, scored, 50, pace)
    for frozen in (True, False):
        yield n, protocols.windows(times, window_of, scored, frozen, pace)
        yield n, protocols.holdout(times, part == 0, part == 1, scored, frozen, pace)
    yield n, protocols.windows(times, window_of, scored, True, None)


@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_learnt_before_it_is_predicted_nor_twice(seed):
    for n, steps in every_protocol(seed):
        learnt, predicted = np.zeros(n, int), np.zeros(n, int)
        for step in steps:
            assert not learnt[step.scored].any()
            predicted[step.scored] += 1
            learnt[step.learnt] += 1
        assert learnt.max() == 1
        assert predicted.max() == 1


def test_progress_says_how_much_of_the_work_is_done():
    """A quarter only teaches, so that a seventh of the work is done when the first is predicted."""
    examples, said = log(2000, chain(1)), []
    result_of(examples, prequential(examples, 500, Pace(10**9, 100)), show=lambda *one: said.append(one))
    shares = [done for _, _, done in said]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert next(done for quality, _, done in said if quality.count) == pytest.approx(600 / 3500)


@pytest.mark.parametrize(("predictions", "first"), [(1, 0), (5, 2), (400, 10), (4000, 20)])
def test_lines_over_time_begin_with_a_tenth_of_the_fading_window(predictions, first):
    examples = log(predictions, chain(1))
    found, about = result_of(examples, prequential(examples)), facts(examples)
    times = over_time(found, about, 5)["time"]
    assert times[0] == about.times[first]
    assert times[-1] == about.times[-1]


def test_micro_batches_keep_to_time_and_number():
    times = np.array([0, 500, 999, 1000, 900, 5000, 5000, 5000])
    cut = [b.tolist() for b in protocols.micro_batches(np.arange(8), times, Pace(1000, 2))]
    assert cut == [[0, 1], [2, 3], [4], [5, 6], [7]]
    whole = [b.tolist() for b in protocols.micro_batches(np.arange(8), times, Pace(1000, 100))]
    assert whole == [[0, 1, 2], [3, 4], [5, 6, 7]]


# figures


def test_segments_and_windows_add_up():
    examples = log(1000, lambda rng, at, k: rng.randrange(30))
    about = facts(examples)
    window_of = np.arange(1000) // 250
    found = result_of(examples, protocols.windows(about.times, window_of, np.ones(1000, bool), True, None))
    whole = summarise(found, examples, about, (5, 2), seed=0)
    entry = whole["recommenders"]["all"]
    assert list(entry["windows"]) == [1, 2, 3]
    assert entry["mean over windows"]["recall@5"] == pytest.approx(
        np.mean([w["recall"] for w in entry["windows"].values()]), abs=1e-5
    )
    parts = segments(examples, about, found)
    for kind in ("user: ", "item: ", "target: ", "type: "):
        assert sum(flags.astype(int) for name, flags in parts.items() if name.startswith(kind)).tolist() == (
            [1] * 750
        ), kind
    low, high = entry["intervals"]["recall@5"]
    assert low <= entry["recall@5"] <= high
    assert entry["recall@2"] <= entry["recall@5"]
    assert summarise(found, examples, about, (5, 2), seed=0) == whole, "seeded"
