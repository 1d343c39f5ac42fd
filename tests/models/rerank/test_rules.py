"""Promises that every rule keeps, and what each of them drops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.catalog import Catalog, Entry
from models.core import BOUGHT, HISTORY, RETURNED, QueryBatch
from models.ranking.best import Best
from models.ranking.pool import Pool
from models.rerank.rules import RULES, Rules, make_rule
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
]


def entry(row: int) -> Entry:
    """Groups of three, four brands, categories c0 to c4 and an inner one; every seventh item has none."""
    if row % 7 == 0:
        return Entry()
    return Entry(group=f"g{row // 3}", brand=f"b{row % 4}", categories=(f"c{row % 5}/x", f"d{row % 2}"))


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    catalog = Catalog(ITEMS)
    catalog.begin()
    for row in range(ITEMS):
        put(catalog, row, entry(row))
    return catalog


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
    return rows, queries


def best(rules: Rules, rows: np.ndarray, queries: QueryBatch, catalog: Catalog) -> Best:
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
    return rules.best(pool, scores, queries, catalog, K)


@pytest.mark.parametrize("setting", ALL, ids=lambda setting: "-".join(map(str, setting.values()))[:40])
@settings(max_examples=300, deadline=None)
@given(case=cases())
def test_a_rule_keeps_its_promises(catalog, setting, case):
    rows, queries = case
    before = rows.copy()
    rules = Rules([setting])
    dropped = rules.dropped_by(rows, queries, catalog)
    assert (rows == before).all(), "it changes no list"
    assert not dropped[rows < 0].any(), "padding is not counted"
    lists = best(rules, rows, queries, catalog)
    for n, ranking in enumerate(rows):
        kept = ranking[(ranking >= 0) & (dropped[n] == 0)]
        assert lists.rows[n].tolist() == [*kept[:K], *[-1] * (K - len(kept[:K]))], "in order, and filled"
        assert (lists.scores[n] > 0).tolist() == (lists.rows[n] >= 0).tolist()
        again = np.full((1, WIDTH), -1, np.int32)
        again[0, : len(kept)] = kept
        assert not rules.dropped_by(again, queries.take(slice(n, n + 1)), catalog).any(), "it drops at once"
        assert holds(setting, kept.tolist(), queries.take(slice(n, n + 1)))
        if setting["rule"] in ("not-bought", "not-recent"):  # of the others the first of a name stays
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
    of, most = setting.get("of", "group"), setting.get("n", 1)
    names = [e.categories[0] if of == "category" and e.categories else getattr(e, of, "") for e in entries]
    return all(names.count(name) <= most for name in names if name)


@settings(max_examples=200, deadline=None)
@given(case=cases(), order=st.permutations(ALL))
def test_all_rules_hold_together_in_any_order_and_drops_are_counted_by_rule(catalog, case, order):
    rows, queries = case
    rules = Rules(order)
    lists = best(rules, rows, queries, catalog)
    dropped = rules.dropped_by(rows, queries, catalog)
    expected = dict.fromkeys(rules.names, 0)
    for n, listed in enumerate(lists.rows):
        items = listed[listed >= 0].tolist()
        assert all(holds(setting, items, queries.take(slice(n, n + 1))) for setting in order)
        last = rows[n].tolist().index(items[-1]) if len(items) == K else WIDTH
        for number in dropped[n, :last]:
            if number:
                expected[rules.names[number - 1]] += 1
    assert rules.dropped == expected


def test_every_rule_is_tested():
    assert {setting["rule"] for setting in ALL} == set(RULES)


def test_a_purchase_counts_as_far_back_as_the_history_reaches(catalog):
    queries = query_batch([list(range(HISTORY))])
    queries.kinds[0, HISTORY - 1] = BOUGHT
    rows = np.array([[HISTORY - 1, 50]], np.int32)
    assert Rules([{"rule": "not-bought"}]).dropped_by(rows, queries, catalog).tolist() == [[1, 0]]


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
    ],
)
def test_a_wrong_setting_says_what_is_wrong(setting, reason):
    with pytest.raises(ValueError, match=reason):
        make_rule(setting)
