"""The columns of the catalog, and what is offered."""

import numpy as np
import pytest

from models.catalog import CATEGORIES, NEVER_S, Catalog, Entry, Kept, columns
from models.core import Example, Query, code
from models.model import Model
from models.recommender import Recommender
from tests.models.arrays import put

K = 5
IMAGES = Kept({"image": 2})


def test_an_entry_replaces_all_of_the_one_before():
    catalog = Catalog(10)
    put(catalog, 3, Entry(False, True, 5_000, 9_999, 2.5, "EUR", "Tork", "Ann", "g1", ("a/b/c",)))
    assert [catalog["since"][3], catalog["until"][3], catalog["price"][3]] == [5, 9, 2.5]
    assert catalog["categories"][3, :4].tolist() == [code("a/b/c"), code("a/b"), code("a"), 0]
    put(catalog, 3, Entry())
    assert (len(catalog), catalog["available"][3], catalog["adult"][3]) == (1, True, False)
    assert [catalog["since"][3], catalog["until"][3]] == [0, NEVER_S]
    assert np.isnan(catalog["price"][3])
    names = (catalog["currency"], catalog["brand"], catalog["author"], catalog["group"])
    assert [column[3] for column in names] == [0, 0, 0, 0]
    assert not catalog["categories"][3].any()


@pytest.mark.parametrize("show_unlisted", [False, True])
def test_without_a_catalog_everything_is_offered_and_with_one_what_is_listed(show_unlisted):
    catalog = Catalog(6, show_unlisted)
    put(catalog, 0, Entry())
    put(catalog, 1, Entry(available=False))
    catalog.withdraw(np.array([2], np.int32))
    assert catalog.offered.tolist() == [True, False, True, True, True, True]
    catalog.begin()
    put(catalog, 3, Entry())
    put(catalog, 4, Entry())
    catalog.withdraw(np.array([4, 4, 5], np.int32))
    assert catalog.offered.tolist() == [True, False, show_unlisted, True, show_unlisted, show_unlisted]
    assert (len(catalog), np.flatnonzero(catalog["listed"]).tolist()) == (3, [0, 1, 3])


def test_an_item_is_offered_from_its_beginning_until_before_its_end():
    catalog = Catalog(5)
    catalog.begin()
    put(catalog, 0, Entry(since_ms=5_000, until_ms=9_000))
    put(catalog, 1, Entry(since_ms=7_000, available=False))
    put(catalog, 2, Entry(until_ms=6_000))
    offered = []
    for second in (4, 5, 6, 8, 9, 3):
        catalog.advance(1000 * second)
        offered.append(np.flatnonzero(catalog.offered).tolist())
    assert offered == [[2], [0, 2], [0], [0], [], []], "time does not go back"
    put(catalog, 3, Entry(since_ms=8_000, until_ms=20_000))
    assert catalog.offered[3]
    catalog.advance(20_000)
    assert not catalog.offered[3]


def test_more_categories_than_are_kept_are_cut_from_the_end():
    catalog = Catalog(2)
    put(catalog, 0, Entry(categories=tuple(f"c{n}" for n in range(2 * CATEGORIES))))
    assert catalog["categories"][0].tolist() == [code(f"c{n}") for n in range(CATEGORIES)]


@pytest.mark.parametrize("far", [2**32 * 1000, 253_402_300_799_999])
def test_times_after_2106_never_come(far):
    catalog = Catalog(1)
    put(catalog, 0, Entry(until_ms=far))
    assert catalog["until"][0] == NEVER_S


def test_codes_of_names_are_never_the_code_of_none():
    assert code("") == 0
    assert code("plumless") == code("plumless") != 0


def learnt(ranker: str = "blend") -> Model:
    """A model in which i0 to i59 follow each other, the lower ones more popular."""
    model = Model({"next": 1.0, "popularity": 0.1}, capacity=200, rankers=[ranker])
    examples = [
        Example(f"u{n}", n, n, "view", f"i{n % length}", history=(f"i{(n - 1) % length}",), session_size=1)
        for n, length in enumerate(length for length in range(2, 61) for _ in range(length))
    ]
    model.learn(examples)
    return model


def lists(model: Model, ranker: str = "blend") -> list[tuple[str, ...]]:
    queries = [Query((f"i{n}",), 1, 9_000) for n in range(60)] + [Query((), 0, 9_000)]
    recommender = Recommender(model, {"next": 1.0, "popularity": 0.1}, ranker)
    return [slate.items for slate in recommender.recommend(queries, K)]


@pytest.mark.parametrize("ranker", ["blend", "mlp"])
def test_what_is_not_offered_is_in_no_list_and_others_fill_it(ranker):
    model = learnt(ranker)
    model.catalog.begin()
    offered = {f"i{n}" for n in range(52, 60)}  # no generator proposes these eight for most queries
    for item in offered:
        put(model.catalog, model.items.row(item), Entry())
    for query, items in zip([*range(60), None], lists(model, ranker), strict=True):
        assert len(set(items)) == K
        assert set(items) <= offered - {f"i{query}"}, "the latest item is not listed"


def test_a_list_is_short_only_where_nothing_else_is_offered():
    model = learnt()
    model.catalog.begin()
    put(model.catalog, model.items.row("i7"), Entry())
    put(model.catalog, model.items.reserve("new"), Entry())
    put(model.catalog, model.items.reserve("sold out"), Entry(available=False))
    of = lists(model)
    assert of[7] == ("new",), "i7 is the latest item"
    assert {items for n, items in enumerate(of) if n != 7} == {("i7", "new")}


def test_an_item_that_lost_its_row_is_not_in_the_catalog_any_more():
    model = Model(["popularity"], capacity=100)
    for n in range(100):
        model.learn([Example("u", n, n * 3_600_000, "view", f"i{n}")])
        put(model.catalog, model.items.row(f"i{n}"), Entry())
    model.catalog.begin()
    model.learn([Example("u", 100, 100 * 3_600_000, "view", "another")])
    row = model.items.row("another")
    assert (len(model.catalog), model.catalog["listed"][row]) == (99, False)
    assert model.items.take_assigned() == [*model.items.ids]


@pytest.mark.parametrize("vector", [[3e300, 4e300], [3e-300, 4e-300], [0.0, 0.0], [6e4, 8e4]])
def test_a_vector_is_kept_at_length_1_whatever_its_length(vector):
    (record,) = columns([Entry(vectors={"image": vector})], IMAGES)
    expected = [0.6, 0.8] if any(vector) else [0, 0]
    assert np.allclose(record["vector image"], expected, atol=1e-3)


def test_followers_hear_of_changed_vectors_and_of_no_other_change():
    catalog, told = Catalog(5, kept=IMAGES), []
    catalog.follow(lambda rows: told.append(rows.tolist()))
    for entry in (
        Entry(text="a tent", vectors={"image": [1, 0]}),
        Entry(text="a tent", vectors={"image": [2, 0]}, available=False),
        Entry(text="a tent", vectors={"image": [0, 1]}),
        Entry(text="a tent"),
    ):
        catalog.put(np.array([3]), columns([entry], IMAGES))
    assert told == [[3], [], [3], [3]]
