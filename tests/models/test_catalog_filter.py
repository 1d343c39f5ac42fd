"""Filters of a request: which items of the catalog may be listed."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.catalog import Catalog, Entry, Kept, columns
from models.catalog_filter import FILTERS, CatalogFilter, CatalogFilters
from models.core import Query
from models.recommender import Recommender
from tests.models.arrays import put
from tests.models.test_catalog import learnt

ENTRIES = [
    Entry(
        brand=f"b{n % 3}", author=f"a{n % 2}", group=f"g{n // 2}", currency="EUR" if n % 4 else "NOK",
        price=None if n % 5 == 0 else float(n), categories=(f"c{n % 4}/x{n % 2}", f"d{n % 3}"),
        tags=(f"t{n % 3}", "all") if n % 7 else (),
        attributes={"size": n // 4, "colour": "red" if n % 2 else "blue"} if n % 6 else {},
    )
    for n in range(40)
]  # fmt: skip
NAMES = st.sampled_from(["b0", "b1", "a1", "g3", "EUR", "c1", "c2/x0", "d0", "c1/x1", "nothing"])
KEPT = Kept(filters=("size", "tags", "colour"))
TAGS = st.sampled_from(["t0", "t1", "all", "none"])
SIZES = st.integers(0, 10)
CONDITIONS = st.fixed_dictionaries(
    {},
    optional={
        **{field: NAMES | st.lists(NAMES, max_size=3) for field in ("brand", "author", "group", "currency")},
        "category": NAMES | st.lists(NAMES, max_size=3),
        "tags": TAGS | st.lists(TAGS, max_size=2),
        "attributes": st.fixed_dictionaries(
            {},
            optional={
                "colour": st.sampled_from(["red", "blue", "5"]) | st.lists(st.sampled_from(["red", "blue"])),
                "size": SIZES
                | st.lists(SIZES | st.just("5"), max_size=3)
                | st.fixed_dictionaries({"from": SIZES}),
            },
        ),
        "price": st.integers(0, 40)
        | st.fixed_dictionaries({}, optional={"from": st.integers(0, 40), "to": st.integers(0, 40)}).filter(
            bool
        ),
    },
)


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    catalog = Catalog(50, kept=KEPT)
    catalog.begin()
    catalog.put(np.arange(len(ENTRIES)), columns(ENTRIES, KEPT))
    return catalog


def meets(entry: Entry, where: dict) -> bool:
    """The conditions on one entry, by its names."""
    for field, value in where.items():
        if field == "price":
            low, high = (
                (value.get("from", -1), value.get("to", 1e9)) if isinstance(value, dict) else (value, value)
            )
            if entry.price is None or not low <= entry.price <= high:
                return False
            continue
        if field == "attributes":
            for name, wanted in value.items():
                own = entry.attributes.get(name)
                if isinstance(wanted, dict):
                    if not isinstance(own, int) or own < wanted["from"]:
                        return False
                elif own not in (wanted if isinstance(wanted, list) else [wanted]):
                    return False
            continue
        names = [value] if isinstance(value, str) else value
        if field == "tags":
            if not set(names) & set(entry.tags):
                return False
        elif field == "category":
            if not any(
                path == name or path.startswith(f"{name}/") for path in entry.categories for name in names
            ):
                return False
        elif getattr(entry, field) not in names:
            return False
    return True


@given(where=CONDITIONS)
def test_a_filter_lets_through_exactly_what_meets_its_conditions(catalog, where):
    mask = CatalogFilter(where).mask(catalog)
    assert mask[:40].tolist() == [meets(entry, where) for entry in ENTRIES]
    assert not mask[40:].any(), "what is not in the catalog meets nothing"


@pytest.mark.parametrize(
    ("where", "reason"),
    [
        ({"colour": "red"}, "unknown field colour: known are category, brand"),
        ({"brand": 5}, "brand: expected a name or a list"),
        ({"price": {}}, "price: expected a number or a range"),
        ({"price": {"below": 5}}, "price: expected a number or a range"),
        ({"price": "5"}, "price: expected a number or a range"),
        ({"tags": 5}, "tags: expected a name or a list"),
        ({"attributes": "red"}, "attributes: expected a condition by attribute"),
        ({"attributes": {"size": True}}, "size: expected a value, a list of values or a range"),
        ({"attributes": {"size": {"below": 5}}}, "size: expected a number or a range"),
        ({"price": {"from": float("nan")}}, "price: expected a number or a range"),
    ],
)
def test_a_wrong_filter_says_what_is_wrong(where, reason):
    with pytest.raises(ValueError, match=reason):
        CatalogFilter(where)


def test_what_the_catalog_does_not_keep_no_item_meets(catalog):
    assert not CatalogFilter({"attributes": {"weight": 5}}).mask(catalog).any()
    assert not CatalogFilter({"tags": "all"}).mask(Catalog(5)).any()


def test_a_mask_follows_the_catalog_and_only_so_many_are_kept():
    catalog = Catalog(10)
    catalog.begin()
    filters = CatalogFilters(catalog)
    put(catalog, 3, Entry(price=5))
    cheap = json.dumps({"price": {"to": 9}})
    assert filters.offered(cheap)[3]
    assert filters.offered(cheap) is filters.offered(cheap)
    put(catalog, 3, Entry(price=10))
    assert not filters.offered(cheap).any()
    put(catalog, 3, Entry(price=8, available=False))
    assert not filters.offered(cheap).any()
    for n in range(2 * FILTERS):
        filters.offered(json.dumps({"price": n}))
    assert len(filters._masks) == FILTERS


@pytest.mark.parametrize("ranker", ["blend", "mlp"])
def test_lists_have_only_what_the_request_allows_and_are_full_if_they_can(ranker):
    model = learnt(ranker)
    model.catalog.begin()
    for n in range(60):
        put(model.catalog, model.items.row(f"i{n}"), Entry(brand=f"b{n % 6}", price=n))
    recommender = Recommender(model, {"next": 1.0, "popularity": 0.1}, ranker)
    of_brand = [json.dumps({"brand": f"b{n % 6}"}) for n in range(60)]
    queries = [Query((f"i{n}",), 1, 9000, where=of_brand[n], k=4 + n % 2) for n in range(60)]
    queries[7] = queries[7]._replace(where="", excluded=("i8", "i9"))
    for n, slate in enumerate(recommender.recommend(queries, 5)):
        rows = [int(item[1:]) for item in slate.items]
        assert len(set(rows)) == 4 + n % 2
        assert not slate.short
        assert n not in rows
        if n == 7:
            assert not {8, 9} & set(rows)
        else:
            assert {row % 6 for row in rows} == {n % 6}
    (slate,) = recommender.recommend([Query(("i1",), 1, 9000, where='{"price": {"from": 57}}')], 5)
    assert (sorted(slate.items), slate.short) == (["i57", "i58", "i59"], True), "nothing else is allowed"
    (slate,) = recommender.recommend([Query(("i1",), 1, 9000, where='{"brand": "none"}')], 5)
    assert (slate.items, slate.short) == ((), True)


def test_who_is_asked_for_alone_gets_the_same_as_among_others():
    model = learnt()
    model.catalog.begin()
    for n in range(60):
        put(model.catalog, model.items.row(f"i{n}"), Entry(brand=f"b{n % 6}"))
    recommender = Recommender(model, {"next": 1.0, "popularity": 0.1})
    queries = [
        Query((f"i{n}",), 1, 9000, where=json.dumps({"brand": f"b{n % 3}"}) if n % 2 else "", k=3 + n % 2,
              excluded=("i3",) * (n % 3))
        for n in range(30)
    ]  # fmt: skip
    together = recommender.recommend(queries, 5)
    assert together == [recommender.recommend([query], 5)[0] for query in queries]
    assert np.all([len(slate.items) in (3, 4) for slate in together])
