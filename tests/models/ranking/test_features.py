"""Features by hand, and that they are free of scale and of the clock."""

import numpy as np
import pytest

from models.core import QueryBatch
from models.kernels.fastmath import exp, log
from models.ranking.features import features as look
from models.ranking.features import names
from models.ranking.pool import Pool
from models.ranking.statistics import HALF_LIVES_MS, ItemStatistics
from tests.models.arrays import batch

HOUR = 3_600_000
START = 1_700_000_000_000


def statistics(start: int = START, times: int = 1) -> ItemStatistics:
    known = ItemStatistics(20)
    for _ in range(times):
        known.learn(batch([1, 2, 2, 3], times=[start, start, start + HOUR, start + 2 * HOUR]))
    return known


def one(start: int = START, scale: float = 1.0, times: int = 1) -> dict[str, list[float]]:
    """The features of items 2, 1, 3 and 4 for who had 2, 1 and 2, two of them just now."""
    history = np.full((1, 32), -1, np.int32)
    history[0, :3] = [2, 1, 2]
    queries = QueryBatch.of(history, np.array([2], np.int32), np.array([start + 3 * HOUR]))
    rows = np.array([[2, 1, 3, 4, -1, -1, -1, -1]], np.int32)
    scores = np.zeros((1, 2, 8), np.float32)
    scores[0, 0, :4], scores[0, 1, :4] = [4, 2, 0, 1], [0, 0, 0, 0]
    pool = Pool(rows, np.array([4], np.int32), scores * np.float32(scale), np.zeros((1, 8), np.int16))
    seen = look(queries, pool, statistics(start, times))
    of_candidate, of_query = names(["a", "b"])
    found = {name: seen.candidates[0, f, :4].tolist() for f, name in enumerate(of_candidate)}
    assert (seen.candidates[0, len(of_candidate) :, :4] == 0).all()
    return found | {name: [float(seen.queries[0, f])] for f, name in enumerate(of_query)}


def test_shares_are_of_the_generators_best():
    found = one()
    assert found["a share"] == [1, 0.5, 0, 0.25]
    assert found["b share"] == [0, 0, 0, 0]
    assert found["a log share"] == pytest.approx([1, 1 - np.log(2) / 8, 0, 1 - np.log(4) / 8], abs=1e-3)


def test_repeats_are_found_where_they_are():
    found = one()
    assert found["newest"] == [1, 0, 0, 0]
    assert found["one before"] == [0, 1, 0, 0]
    assert found["in session"] == pytest.approx([np.log(2), np.log(2), 0, 0])
    assert found["in history"] == pytest.approx([np.log(3), np.log(2), 0, 0])
    assert found["nearness"] == pytest.approx([1, 0.5, 0, 0])


@pytest.mark.parametrize(
    ("session", "size", "repeats", "alike"),
    [
        ([5], 1, 0, (0, 0, 0)),
        ([5, 5], 2, 1 / 2, (1, 0, 0)),
        ([5, 6, 5], 3, 1 / 3, (0, 1, 0)),
        ([6, 5, 5], 3, 1 / 3, (0, 0, 1)),
        ([5, 5, 5, 7], 4, 2 / 4, (1, 1, 1)),
    ],
)
def test_a_query_says_how_its_session_goes_back(session, size, repeats, alike):
    history = np.full((1, 32), -1, np.int32)
    history[0, : size + 2] = [*session, 5, 6]  # what is older is of another session
    found = of_query(history, size)
    short = ("one item", "two items", "three items")
    assert [found[name] for name in short] == [size == n for n in (1, 2, 3)]
    assert found["session size"] == pytest.approx(0.3 * np.log(1 + size))
    assert found["history size"] == pytest.approx(0.3 * np.log(3 + size))
    assert found["repeats in it"] == pytest.approx(repeats)
    pairs = ("newest = one before", "newest = two before", "one before = two before")
    assert tuple(found[name] for name in pairs) == alike


@pytest.mark.parametrize(("hour", "sine", "cosine"), [(0, 0, 1), (6, 1, 0), (12, 0, -1), (18, -1, 0)])
def test_midnight_is_next_to_the_hour_before(hour, sine, cosine):
    found = of_query(np.full((1, 32), -1, np.int32), 0, 20_000 * 24 * HOUR + hour * HOUR)
    assert (found["day, sine"], found["day, cosine"]) == pytest.approx((sine, cosine), abs=1e-6)


def of_query(history: np.ndarray, size: int, time: int = START) -> dict[str, float]:
    queries = QueryBatch.of(history, np.array([size], np.int32), np.array([time]))
    nothing = np.full((1, 8), -1, np.int32)
    pool = Pool(nothing, np.array([0], np.int32), np.zeros((1, 1, 8), np.float32), nothing.astype(np.int16))
    seen = look(queries, pool, ItemStatistics(20))
    return dict(zip(names(["a"])[1], seen.queries[0].tolist(), strict=True))


def test_ages_are_logarithms_of_seconds():
    found = one()
    last = [2 * 3600, 3 * 3600, 3600, 0]
    assert found["last seen"] == pytest.approx([0.1 * np.log1p(s) for s in last], abs=1e-4)
    assert found["first seen"][0] == pytest.approx(0.1 * np.log1p(3 * 3600), abs=1e-4)


def test_popularity_is_decayed_to_now_and_against_the_mean():
    found = one()
    decays = [[0.5**3 + 0.5**2], [0.5**3], [0.5**1]]
    logs = np.log(np.array(decays)[:, 0])
    level = logs.sum() / 4
    assert found["popularity 1 h"] == pytest.approx(list(0.2 * (np.append(logs, 0) - level)), abs=1e-4)


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_they_do_not_grow_with_the_scores(scale):
    here, there = one(), one(scale=scale)
    assert all(there[name] == pytest.approx(here[name], abs=1e-5) for name in here if name != "a best")


def test_they_do_not_move_with_the_clock():
    assert one(START) == one(START + 10 * 365 * 24 * HOUR)


def test_statistics_are_the_same_in_any_order_and_wait_for_nobody():
    rng = np.random.default_rng(1)
    items, times = rng.integers(0, 9, 300), rng.integers(START, START + 100 * HOUR, 300)
    order = rng.permutation(300)
    ahead, shuffled = ItemStatistics(9), ItemStatistics(9)
    ahead.learn(batch(items, times=times))
    shuffled.learn(batch(items[order], times=times[order]))
    assert shuffled.popularity == pytest.approx(ahead.popularity, abs=1e-4)
    ages = (ahead.last[0] - times[items == 0]) / np.array(HALF_LIVES_MS)[:, None]
    assert ahead.popularity[0] == pytest.approx(np.log((0.5**ages).sum(1)), abs=1e-4)


def test_fast_logarithm_and_exponential():
    x = np.geomspace(1e-30, 1e30, 5000).astype(np.float32)
    assert max(abs(log(v) - np.log(v)) for v in x) < 1e-4
    y = np.linspace(-86, 80, 5000).astype(np.float32)
    assert max(abs(exp(v) / np.exp(np.float64(v)) - 1) for v in y) < 1e-5
