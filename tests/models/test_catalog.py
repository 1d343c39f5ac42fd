"""The columns of the catalog."""

import numpy as np
import pytest

from models.catalog import ALWAYS_S, CATEGORIES, Catalog, Entry, code


def test_an_entry_replaces_all_of_the_one_before():
    catalog = Catalog(10)
    catalog.put(3, Entry(False, True, 5_000, 9_999, 2.5, "EUR", "Tork", "Ann", "g1", ("a/b/c",)))
    assert [catalog.since[3], catalog.until[3], catalog.price[3]] == [5, 9, 2.5]
    assert catalog.categories[3, :4].tolist() == [code("a/b/c"), code("a/b"), code("a"), 0]
    catalog.put(3, Entry())
    assert (len(catalog), catalog.sellable[3], catalog.adult[3]) == (1, True, False)
    assert [catalog.since[3], catalog.until[3]] == [0, ALWAYS_S]
    assert np.isnan(catalog.price[3])
    names = (catalog.currency, catalog.brand, catalog.author, catalog.group)
    assert [column[3] for column in names] == [0, 0, 0, 0]
    assert not catalog.categories[3].any()


def test_withdrawn_items_are_neither_listed_nor_sellable():
    catalog = Catalog(10)
    for row in range(5):
        catalog.put(row, Entry())
    catalog.withdraw(np.array([1, 1, 7], np.int32))
    assert (len(catalog), np.flatnonzero(catalog.listed).tolist()) == (4, [0, 2, 3, 4])
    assert not catalog.sellable[1]
    catalog.clear()
    assert (len(catalog), catalog.listed.any(), catalog.sellable.any()) == (0, False, False)


def test_more_categories_than_are_kept_are_cut_from_the_end():
    catalog = Catalog(2)
    catalog.put(0, Entry(categories=tuple(f"c{n}" for n in range(2 * CATEGORIES))))
    assert catalog.categories[0].tolist() == [code(f"c{n}") for n in range(CATEGORIES)]


@pytest.mark.parametrize("far", [2**32 * 1000, 253_402_300_799_999])
def test_times_after_2106_are_always(far):
    catalog = Catalog(1)
    catalog.put(0, Entry(since_ms=0, until_ms=far))
    assert catalog.until[0] == ALWAYS_S


def test_codes_of_names_are_never_the_code_of_none():
    assert code("") == 0
    assert code("plumless") == code("plumless") != 0
