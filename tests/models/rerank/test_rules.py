"""Promises that every rule keeps, and what each of them drops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.catalog import Catalog, Entry, Kept, columns
from models.core import BOUGHT, HISTORY, RETURNED, QueryBatch, attribute_code, code
from models.ranking.best import PINNED, Best
from models.ranking.pool import Pool
from models.rerank.drops import ENTRIES, Drops
from models.rerank.item_data import ItemData
from models.rerank.rules import RULES, Dropping, Rules, make_rule
from models.small_batches import query_batch
from tests.models.arrays import put

ITEMS, WIDTH, K = 60, 24, 5
DAY_S = 86_400
ALL = [
    {"rule": "one-of-group"},
    {"rule": "not-bought", "returns_after_days": {"c1": 2, "c2/x": 0.5}},
    {"rule": "not-recent", "last": 3},
    {"rule": "at-most", "of": "brand", "n": 2},
    {"rule": "at-most", "of": "category", "n": 3},
    {"rule": "hidden"},
    {"rule": "adult"},
    {"rule": "price-band", "factor": 2.0},
]
"""Rules that drop."""
OTHERS = [
    {"rule": "boost", "items": ["i3", "i9"], "categories": ["c1"], "factor": 5},
    {"rule": "bury", "brands": ["b1"], "factor": 5},
    {"rule": "novelty", "weight": 2},
    {"rule": "pin", "items": ["i5", "unknown", "i8", "i5"]},
    {"rule": "diversity", "weight": 0.3},
    {"rule": "diversity", "weight": 0.5, "method": "mmr", "over": "words"},
]
"""Rules that change the order, or what is listed, and drop nothing."""


def entry(row: int) -> Entry:
    """Groups of three, four brands, categories c0 to c4 and an inner one; every seventh item has none."""
    if row % 7 == 0:
        return Entry()
    return Entry(
        group=f"g{row // 3}", brand=f"b{row % 4}", categories=(f"c{row % 5}/x", f"d{row % 2}"),
        adult=row % 11 == 0, price=None if row % 3 == 0 else 1.5 ** (row % 10),
        currency="EUR" if row % 13 else "NOK", text=f"word{row % 5} word{row % 6}",
    )  # fmt: skip


@pytest.fixture(scope="module")
def data() -> ItemData:
    data = ItemData.empty(ITEMS)._replace(vectors=np.random.default_rng(1).normal(size=(ITEMS, 4)))
    data.catalog.begin()
    for row in range(ITEMS):
        assert data.items.admit(f"i{row}", 0) == row
        put(data.catalog, row, entry(row))
    known = np.arange(0, ITEMS, 2)
    data.statistics.known[known], data.statistics.popularity[known] = True, np.log(known + 1)[:, None]
    return data


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray, QueryBatch]:
    """Ranked lists of distinct items, and users who looked at, bought and sent back."""
    n = draw(st.integers(1, 3))
    rows = np.full((n, WIDTH), -1, np.int32)
    for ranked in rows:
        items = draw(st.lists(st.integers(0, ITEMS - 1), unique=True, max_size=WIDTH))
        ranked[: len(items)] = items
    length = draw(st.integers(1, 12))
    histories = draw(
        st.lists(
            st.lists(st.integers(0, ITEMS - 1), min_size=length, max_size=length), min_size=n, max_size=n
        )
    )
    queries = query_batch(histories)
    kinds = draw(st.lists(st.sampled_from([1, 3, BOUGHT, RETURNED]), min_size=length, max_size=length))
    queries.kinds[:, :length] = kinds
    ages = draw(st.lists(st.integers(0, 4 * DAY_S), min_size=length, max_size=length))
    queries.ages[:, :length] = sorted(ages)
    hidden = draw(st.lists(st.integers(0, ITEMS - 1), min_size=2, max_size=2))
    brands, adult = draw(st.sampled_from(["", "b2"])), draw(st.sampled_from(["yes", "no"]))
    return rows, queries._replace(
        hidden=np.array([hidden] * n, np.int32),
        hidden_brands=np.array([[code(brands)]] * n, np.uint32),
        attributes=np.array([[attribute_code("adult", adult)]] * n, np.uint32),
    )


def best(rules: Rules, rows: np.ndarray, queries: QueryBatch, data: ItemData) -> Best:
    """The K best of candidates that score as they are ranked, but lie in another order."""
    counts = (rows >= 0).sum(1).astype(np.int32)
    scores = np.zeros(rows.shape, np.float32)
    candidates = np.full_like(rows, -1)
    for n, count in enumerate(counts):
        order = np.random.default_rng(n).permutation(count)
        candidates[n, :count], scores[n, :count] = rows[n, order], 1 / (1 + order)
    pool = Pool(
        candidates, counts, np.zeros((len(rows), 1, WIDTH), np.float32), np.full(rows.shape, 3, np.int16)
    )
    excluded = np.zeros((len(rows), 0), np.int32)
    return rules.best(pool, scores, queries, data, K, excluded, data.catalog.offered)


@pytest.mark.parametrize("setting", ALL, ids=lambda setting: "-".join(map(str, setting.values()))[:40])
@settings(max_examples=300, deadline=None)
@given(case=cases())
def test_a_rule_keeps_its_promises(data, setting, case):
    rows, queries = case
    before = rows.copy()
    rules = Rules([setting])
    dropped = rules.dropped_by(rows, queries, data)
    assert (rows == before).all(), "it changes no list"
    assert not dropped[rows < 0].any(), "padding is not counted"
    lists = best(rules, rows, queries, data)
    for n, ranking in enumerate(rows):
        kept = ranking[(ranking >= 0) & (dropped[n] == 0)]
        assert lists.rows[n].tolist() == [*kept[:K], *[-1] * (K - len(kept[:K]))], "in order, and filled"
        assert (lists.scores[n] > 0).tolist() == (lists.rows[n] >= 0).tolist()
        again = np.full((1, WIDTH), -1, np.int32)
        again[0, : len(kept)] = kept
        assert not rules.dropped_by(again, queries.take(slice(n, n + 1)), data).any(), "it drops at once"
        assert holds(setting, kept.tolist(), queries.take(slice(n, n + 1)))
        if setting["rule"] not in ("one-of-group", "at-most"):  # of the others the first of a name stays
            out = [row for row, number in zip(ranking, dropped[n], strict=True) if number]
            assert all(not holds(setting, [row], queries.take(slice(n, n + 1))) for row in out)


def holds(setting: dict, items: list[int], query: QueryBatch) -> bool:
    """Whether a list keeps a rule, by its entries alone."""
    history = [row for row in query.history[0].tolist() if row >= 0]
    entries = [entry(row) for row in items]
    if setting["rule"] == "not-recent":
        return not set(items) & set(history[: setting["last"]])
    if setting["rule"] == "not-bought":
        banned = set()
        for at, row in enumerate(history):
            categories = entry(row).categories
            period = 2 * DAY_S if categories and categories[0] == "c1/x" else None
            period = 0.5 * DAY_S if categories and categories[0] == "c2/x" else period
            sent_back = any(
                history[later] == row and query.kinds[0, later] == RETURNED for later in range(at)
            )
            due = period is not None and query.ages[0, at] >= period
            if query.kinds[0, at] == BOUGHT and not (sent_back or due):
                banned.add(row)
        groups = {entry(row).group for row in banned} - {""}
        return not (set(items) & banned or {e.group for e in entries} & groups)
    if setting["rule"] == "hidden":
        brands = {code(e.brand) for e in entries if e.brand}
        return not (
            set(items) & set(query.hidden[0].tolist()) or brands & set(query.hidden_brands[0].tolist())
        )
    if setting["rule"] == "adult":
        return attribute_code("adult", "yes") in query.attributes[0] or not any(e.adult for e in entries)
    if setting["rule"] == "price-band":
        seen = [entry(row) for row in query.session[0].tolist() if row >= 0]
        seen = [e for e in seen if e.price and e.currency == next(s.currency for s in seen if s.price)]
        if not seen:
            return True
        middle = np.exp(np.mean([np.log(e.price) for e in seen]))
        compared = [e.price for e in entries if e.price and e.currency == seen[0].currency]
        return all(middle / 2.001 <= price <= middle * 2.001 for price in compared)
    of, most = setting.get("of", "group"), setting.get("n", 1)
    names = [e.categories[0] if of == "category" and e.categories else getattr(e, of, "") for e in entries]
    return all(names.count(name) <= most for name in names if name)


@settings(max_examples=200, deadline=None)
@given(case=cases(), order=st.permutations(ALL))
def test_all_rules_hold_together_in_any_order_and_drops_are_counted_by_rule(data, case, order):
    rows, queries = case
    rules = Rules(order)
    lists = best(rules, rows, queries, data)
    dropped = rules.dropped_by(rows, queries, data)
    expected = dict.fromkeys([setting["rule"] for setting in order], 0)
    for n, listed in enumerate(lists.rows):
        items = listed[listed >= 0].tolist()
        assert all(holds(setting, items, queries.take(slice(n, n + 1))) for setting in order)
        last = rows[n].tolist().index(items[-1]) if len(items) == K else WIDTH
        for number in dropped[n, :last]:
            if number:
                expected[order[number - 1]["rule"]] += 1
    assert rules.dropped == expected
    of_items = [rules.dropped_of(row) for row in range(ITEMS)]
    for name, count in expected.items():
        assert sum(counts.get(name, 0) for counts in of_items) == count


@pytest.mark.parametrize("setting", OTHERS, ids=lambda setting: "-".join(map(str, setting.values()))[:40])
@settings(max_examples=200, deadline=None)
@given(case=cases())
def test_a_rule_that_changes_the_order_lists_candidates_once_and_fills_the_list(data, setting, case):
    rows, queries = case
    lists = best(Rules([setting]), rows, queries, data)
    pins = {5, 8} if setting["rule"] == "pin" else set()
    for n, ranking in enumerate(rows):
        candidates = set(ranking[ranking >= 0].tolist())
        listed = lists.rows[n][lists.rows[n] >= 0].tolist()
        assert len(set(listed)) == len(listed) == min(K, len(candidates | pins))
        assert set(listed) <= candidates | pins
        assert (lists.rows[n][len(listed) :] == -1).all()
        if pins:
            assert listed[:2] == [5, 8]
            assert listed[2:] == [row for row in ranking if row >= 0 and row not in pins][: K - 2]
            assert (lists.codes[n] == PINNED).tolist() == [True, True, *[False] * (K - 2)]


@settings(max_examples=200, deadline=None)
@given(case=cases(), order=st.permutations([*ALL, *OTHERS]))
def test_no_rule_undoes_what_another_drops(data, case, order):
    rows, queries = case
    lists = best(Rules(order), rows, queries, data)
    for n, listed in enumerate(lists.rows):
        items = listed[listed >= 0].tolist()
        assert all(holds(s, items, queries.take(slice(n, n + 1))) for s in order if s in ALL)


def test_every_rule_is_tested():
    assert {setting["rule"] for setting in [*ALL, *OTHERS]} == set(RULES)
    assert [setting for setting in OTHERS if isinstance(make_rule(setting)[1], Dropping)] == []


def listed(data, *settings, scores=(0.9, 0.8, 0.5, 0.1), rows=(10, 11, 12, 13), time=0, excluded=()):
    """The list of three of four candidates."""
    pool = Pool(
        np.array([rows], np.int32), np.array([4], np.int32), np.zeros((1, 1, 4), np.float32),
        np.zeros((1, 4), np.int16),
    )  # fmt: skip
    queries = query_batch([[20]], times=np.array([time]))
    banned = np.array([excluded or [-1]], np.int32)
    rules, scores = Rules(settings), np.array([scores], np.float32)
    return rules.best(pool, scores, queries, data, 3, banned, data.catalog.offered).rows[0].tolist()


def test_boosts_and_buries_act_in_their_time_on_what_they_name(data):
    assert listed(data) == [10, 11, 12]
    boost = {"rule": "boost", "items": ["i13"], "factor": 8.5, "start": 1000, "end": 2000}
    assert [listed(data, boost, time=time)[1] == 13 for time in (999, 1000, 1999, 2000)] == [0, 1, 1, 0]
    assert listed(data, {"rule": "boost", "categories": ["c2"], "factor": 2}) == [12, 10, 11]  # c2/x is below
    assert listed(data, {"rule": "bury", "brands": ["b2"], "factor": 10}) == [11, 12, 13]
    both = [{"rule": "boost", "items": ["i11"]}, {"rule": "bury", "items": ["i11"]}]
    assert listed(data, *both) == [10, 11, 12]


def test_what_is_pinned_comes_first_unless_it_is_excluded_or_dropped(data):
    assert listed(data, {"rule": "pin", "items": ["i13", "i30"]}) == [13, 30, 10]
    assert listed(data, {"rule": "pin", "items": ["i13", "i30"]}, excluded=(13,)) == [30, 10, 11]
    assert listed(data, {"rule": "pin", "items": ["i33"]}, {"rule": "adult"}) == [10, 12, 13]  # 11 and 33 are
    assert listed(data, {"rule": "pin", "items": ["i30"], "start": "2026-01-01T00:00:00Z"}) == [10, 11, 12]
    assert listed(data, {"rule": "pin", "items": [f"i{n}" for n in range(30, 40)]}) == [30, 31, 32]


def test_novelty_lifts_what_few_know(data):
    assert listed(data, {"rule": "novelty", "weight": 1}) == [11, 10, 12], "11 has no event, 10 eleven"
    assert listed(data, {"rule": "novelty", "weight": 0}) == [10, 11, 12]


@pytest.mark.parametrize("method", ["dpp", "mmr"])
def test_diversity_prefers_what_is_unlike_and_its_slider_goes_from_nothing_to_all(data, method):
    vectors = np.zeros((ITEMS, 2))
    vectors[[10, 11]], vectors[12], vectors[13] = (1, 0), (0.6, 0.8), (0, 1)
    planted = data._replace(vectors=vectors)

    def diverse(weight):
        return listed(planted, {"rule": "diversity", "method": method, "weight": weight})

    assert diverse(0) == [10, 11, 12]
    assert diverse(1)[:2] == [10, 13]
    assert diverse(0.4)[:2] == [10, 12 if method == "dpp" else 11]
    assert diverse(0.6)[:2] == [10, 13 if method == "mmr" else 12]


def test_diversity_over_a_vector_of_the_shop_reads_that_one(data):
    images = Kept({"image": 2})
    catalog = Catalog(ITEMS, kept=images)
    entries = [Entry(vectors={"image": vector}) for vector in ([1, 0], [2, 0], [0, 1])]
    catalog.put(np.array([10, 11, 12]), columns(entries, images))
    rule = {"rule": "diversity", "weight": 0.6}
    planted = data._replace(catalog=catalog)
    assert listed(planted, rule | {"over": "image"})[:2] == [10, 12]
    assert listed(planted, rule | {"over": "sound"})[:2] == [10, 11], "nothing is alike"


def test_the_greedy_choice_maximises_the_determinant_that_it_says(data):
    """Against the definition: log det of the chosen items' likeness, by brute force."""
    rng = np.random.default_rng(3)
    rows, scores = np.arange(10, 22), np.sort(rng.random(12))[::-1]
    ranked = Best(rows[None].astype(np.int32), scores[None], np.zeros((1, 12), np.int16))
    vectors = data.vectors / np.linalg.norm(data.vectors, axis=1, keepdims=True)
    chosen: list[int] = []
    for _ in range(4):

        def gain(row, chosen=chosen):
            both = vectors[[*chosen, row]]
            before = np.linalg.slogdet(vectors[chosen] @ vectors[chosen].T)[1] if chosen else 0.0
            share = scores[rows.tolist().index(row)] / scores[0]
            return 0.7 * np.log(share) + 0.3 * (np.linalg.slogdet(both @ both.T)[1] - before)

        chosen.append(max((row for row in rows.tolist() if row not in chosen), key=gain))
    rule = make_rule({"rule": "diversity", "weight": 0.3})[1]
    assert rule.choose(ranked, 4, data).rows[0].tolist() == chosen


def test_a_purchase_counts_as_far_back_as_the_history_reaches(data):
    queries = query_batch([list(range(HISTORY))])
    queries.kinds[0, HISTORY - 1] = BOUGHT
    rows = np.array([[HISTORY - 1, 50]], np.int32)
    assert Rules([{"rule": "not-bought"}]).dropped_by(rows, queries, data).tolist() == [[1, 0]]


def test_without_a_catalog_only_rules_of_the_history_act():
    empty = Catalog(ITEMS)
    assert not Rules([{"rule": "one-of-group"}, {"rule": "at-most"}]).act(empty)
    assert Rules([{"rule": "one-of-group"}, {"rule": "not-bought"}]).act(empty)
    assert not Rules().act(empty)


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ({}, "unknown rule None: known are one-of-group"),
        ({"rule": "nothing"}, "unknown rule 'nothing'"),
        ({"rule": "one-of-group", "n": 2}, "one-of-group has no parameter n: it has none"),
        ({"rule": "at-most", "of": "colour"}, "at-most: of: 'colour' is not brand"),
        ({"rule": "at-most", "n": 0}, "at-most: n: must be at least 1"),
        ({"rule": "at-most", "n": "x"}, "at-most: "),
        ({"rule": "not-recent", "last": -1}, "not-recent: last: must be at least 1"),
        ({"rule": "not-bought", "returns_after_days": {"a": -1}}, "must not be negative"),
        ({"rule": "not-bought", "returns_after_days": 5}, "not-bought: "),
        ({"rule": "boost"}, "boost: needs items, categories or brands"),
        ({"rule": "boost", "items": "tent"}, "boost: items: expected a list of names"),
        ({"rule": "boost", "items": ["a"], "factor": 0}, "boost: factor: must be from 1"),
        ({"rule": "bury", "items": ["a"], "start": "soon"}, "bury: start: 'soon' is not a time"),
        ({"rule": "pin", "items": ["a"], "start": 5, "end": 5}, "pin: start: must be before end"),
        ({"rule": "pin", "items": ["a"], "end": "2026-11-27T08:00:00"}, "is not a time with an offset"),
        ({"rule": "pin"}, "pin: .*items"),
        ({"rule": "novelty", "weight": -1}, "novelty: weight: must be from 0"),
        ({"rule": "diversity", "weight": 2}, "diversity: weight: must be from 0 to 1"),
        ({"rule": "diversity", "method": "max"}, "diversity: method: 'max' is not dpp or mmr"),
        ({"rule": "diversity", "over": 3}, "diversity: over: 3 is not"),
        ({"rule": "price-band", "factor": 1}, "price-band: factor: must be above 1"),
        ({"rule": "adult", "values": "yes"}, "adult: values: expected a list"),
    ],
)
def test_a_wrong_setting_says_what_is_wrong(setting, reason):
    with pytest.raises(ValueError, match=reason):
        make_rule(setting)


def test_what_is_counted_by_item_is_bounded():
    drops = Drops(1)
    rows = np.arange(3 * ENTRIES, dtype=np.int32)[:, None]
    drops.add(rows, np.ones_like(rows), np.ones(len(rows), np.int32))
    assert drops.by_rule == [3 * ENTRIES]
    counted = [drops.of_item(row)[0] for row in range(3 * ENTRIES)]
    assert 0 < sum(counted) <= ENTRIES
    assert counted[-1] == 1, "the latest ones"
