"""Features by hand, and that they are free of scale and of the clock."""

import numpy as np
import pytest

from models.core import BOUGHT, CARTED, LIKED, RETURNED
from models.ranking.features import feature_names, featurize
from models.ranking.pool import Pool
from models.small_batches import query_batch
from models.statistics import ItemStatistics
from models.units import HOUR_MS
from tests.models.arrays import batch

START = 1_700_000_000_000
KEPT = "bought, -1: sent back"


def statistics(start: int = START, times: int = 1) -> ItemStatistics:
    known = ItemStatistics(20)
    for _ in range(times):
        known.learn(batch([1, 2, 2, 3], times=[start, start, start + HOUR_MS, start + 2 * HOUR_MS]))
    return known


def features(start: int = START, scale: float = 1.0, times: int = 1) -> dict[str, list[float]]:
    """Features of items 2, 1, 3 and 4 for a user who had 2, 1 and 2, two of them in this session."""
    history = np.full((1, 32), -1, np.int32)
    history[0, :3] = [2, 1, 2]
    queries = query_batch(history, np.array([2], np.int32), np.array([start + 3 * HOUR_MS]))
    rows = np.array([[2, 1, 3, 4, -1, -1, -1, -1]], np.int32)
    scores = np.zeros((1, 2, 8), np.float32)
    scores[0, 0, :4], scores[0, 1, :4] = [4, 2, 0, 1], [0, 0, 0, 0]
    pool = Pool(rows, np.array([4], np.int32), scores * np.float32(scale), np.zeros((1, 8), np.int16))
    computed = featurize(queries, pool, statistics(start, times))
    of_candidate, of_query = feature_names(["a", "b"])
    values = {name: computed.candidates[0, f, :4].tolist() for f, name in enumerate(of_candidate)}
    assert (computed.candidates[0, len(of_candidate) :, :4] == 0).all()
    return values | {name: [float(computed.queries[0, f])] for f, name in enumerate(of_query)}


def test_shares_are_of_the_generators_best():
    values = features()
    assert values["a share"] == [1, 0.5, 0, 0.25]
    assert values["b share"] == [0, 0, 0, 0]
    assert values["a log share"] == pytest.approx([1, 1 - np.log(2) / 8, 0, 1 - np.log(4) / 8], abs=1e-3)


def test_repeats_are_told_by_their_position():
    values = features()
    assert values["newest"] == [1, 0, 0, 0]
    assert values["one before"] == [0, 1, 0, 0]
    assert values["in session"] == pytest.approx([np.log(2), np.log(2), 0, 0])
    assert values["in history"] == pytest.approx([np.log(3), np.log(2), 0, 0])
    assert values["nearness"] == pytest.approx([1, 0.5, 0, 0])


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
def test_a_query_tells_how_its_session_repeats_items(session, size, repeats, alike):
    history = np.full((1, 32), -1, np.int32)
    history[0, : size + 2] = [*session, 5, 6]  # older items are of another session
    values = of_query(history, size)
    short = ("one item", "two items", "three items")
    assert [values[name] for name in short] == [size == n for n in (1, 2, 3)]
    assert values["session size"] == pytest.approx(0.3 * np.log(1 + size))
    assert values["history size"] == pytest.approx(0.3 * np.log(3 + size))
    assert values["repeats in it"] == pytest.approx(repeats)
    pairs = ("newest = one before", "newest = two before", "one before = two before")
    assert tuple(values[name] for name in pairs) == alike


@pytest.mark.parametrize(("hour", "sine", "cosine"), [(0, 0, 1), (6, 1, 0), (12, 0, -1), (18, -1, 0)])
def test_midnight_is_next_to_the_hour_before(hour, sine, cosine):
    values = of_query(np.full((1, 32), -1, np.int32), 0, 20_000 * 24 * HOUR_MS + hour * HOUR_MS)
    assert (values["day, sine"], values["day, cosine"]) == pytest.approx((sine, cosine), abs=1e-6)


def test_kinds_and_ages_of_the_users_events_are_told():
    """A tent liked, put in the cart and looked at; a stove bought a day ago and put in the cart before."""
    tent, stove, lamp = 2, 1, 3
    history = np.full((1, 32), -1, np.int32)
    history[0, :5] = [tent, tent, tent, stove, stove]
    queries = query_batch(history)
    queries.kinds[0, :5] = [1, CARTED, LIKED, BOUGHT, CARTED]
    queries.ages[0, :5] = [0, 60, 90, 86_400, 90_000]
    rows = np.array([[tent, stove, lamp]], np.int32)
    pool = Pool(rows, np.array([3], np.int32), np.zeros((1, 1, 3), np.float32), np.zeros((1, 3), np.int16))
    computed = featurize(queries, pool, ItemStatistics(20))
    of_candidate, of_query = feature_names(["a"])
    values = dict(zip(of_candidate, computed.candidates[0].tolist(), strict=False))
    assert (values["liked"], values["in cart"], values[KEPT]) == ([1, 0, 0], [1, 0, 0], [0, 1, 0])
    assert values["age"] == pytest.approx([0, 0.1 * np.log1p(86_400), 0], abs=1e-4)
    query = dict(zip(of_query, computed.queries[0].tolist(), strict=True))
    assert query["pause before it"] == pytest.approx(0.1 * np.log1p(60), abs=1e-4)
    assert [query[f"newest {what}"] for what in ("liked", "in cart", "bought")] == [0, 0, 0]


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [([RETURNED, BOUGHT], -1), ([BOUGHT, RETURNED], 1), ([1, RETURNED], -1), ([1, 1], 0)],
)
def test_what_was_sent_back_and_not_bought_again_is_told(kinds, expected):
    history = np.full((1, 32), -1, np.int32)
    history[0, :2] = 4
    queries = query_batch(history)
    queries.kinds[0, :2] = kinds
    rows = np.array([[4]], np.int32)
    pool = Pool(rows, np.array([1], np.int32), np.zeros((1, 1, 1), np.float32), np.zeros((1, 1), np.int16))
    computed = featurize(queries, pool, ItemStatistics(20))
    assert computed.candidates[0, feature_names(["a"])[0].index(KEPT), 0] == expected


def of_query(history: np.ndarray, size: int, time: int = START) -> dict[str, float]:
    queries = query_batch(history, np.array([size], np.int32), np.array([time]))
    nothing = np.full((1, 8), -1, np.int32)
    pool = Pool(nothing, np.array([0], np.int32), np.zeros((1, 1, 8), np.float32), nothing.astype(np.int16))
    computed = featurize(queries, pool, ItemStatistics(20))
    return dict(zip(feature_names(["a"])[1], computed.queries[0].tolist(), strict=True))


def test_ages_are_logarithms_of_seconds():
    values = features()
    last = [2 * 3600, 3 * 3600, 3600, 0]
    assert values["last seen"] == pytest.approx([0.1 * np.log1p(s) for s in last], abs=1e-4)
    assert values["first seen"][0] == pytest.approx(0.1 * np.log1p(3 * 3600), abs=1e-4)


def test_popularity_is_decayed_to_now_and_against_the_mean():
    values = features()
    decays = [[0.5**3 + 0.5**2], [0.5**3], [0.5**1]]
    logs = np.log(np.array(decays)[:, 0])
    level = logs.sum() / 4
    assert values["popularity 1 h"] == pytest.approx(list(0.2 * (np.append(logs, 0) - level)), abs=1e-4)


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_features_do_not_grow_with_the_scores(scale):
    plain, scaled = features(), features(scale=scale)
    assert all(scaled[name] == pytest.approx(plain[name], abs=1e-5) for name in plain if name != "a best")


def test_features_do_not_move_with_the_clock():
    assert features(START) == features(START + 10 * 365 * 24 * HOUR_MS)
