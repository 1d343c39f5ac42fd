"""The generator `content`: what new items borrow, by hand and on a planted shop."""

import numpy as np
import pytest

from models.catalog import Catalog, Entry, Kept, columns
from models.core import Example, Query
from models.model import Model
from models.recommender import Recommender
from models.retrieval.borrowing import GRADUATED
from models.retrieval.content import Content
from models.retrieval.covisitation import CoVisitation
from models.small_batches import query_batch, session_batch
from models.statistics import ItemStatistics

IMAGES = Kept({"image": 2})
TITLES = ("dome tent", "kettle", "tent for two", "spoon")


class Shop:
    """Items 0 and 1 are bought together; 2 is new, and described like 0; 3 is like nothing."""

    def __init__(self, pairs=10):
        self.catalog, self.statistics, self.lender = Catalog(50), ItemStatistics(50), CoVisitation(50)
        self.content = Content(50, self.catalog, self.statistics)
        self.content.borrow_from([self.lender])
        self.learn([[0, 1]] * pairs)
        self.put(range(4), TITLES)

    def learn(self, sessions):
        for part in (self.statistics, self.lender):
            part.learn(session_batch(sessions))

    def put(self, rows, titles):
        self.catalog.begin()
        self.catalog.put(np.array(rows), columns(Entry(text=title) for title in titles))
        self.content.refresh()

    def proposed(self, *history):
        candidates = self.content.propose(query_batch([history]), 10)
        rows, scores = candidates.rows[0], candidates.scores[0]
        return {int(row): float(score) for row, score in zip(rows, scores, strict=True) if row >= 0}


def test_a_new_item_borrows_the_neighbours_of_what_is_described_alike():
    proposed = Shop().proposed(2)
    weight = 10 / np.sqrt(10) / np.sqrt(np.sqrt(3))  # ten pairs, and nothing comes after 1
    assert proposed[1] == pytest.approx(weight, rel=1e-5)
    assert set(proposed) == {0, 1}
    assert proposed[0] < proposed[1], "itself like 0, by the square of the cosine"


def test_an_item_says_from_whom_it_borrows_as_long_as_it_does():
    shop = Shop()
    ((lender, cosine),) = shop.content.lenders_of(2)
    assert (lender, 0.3 < cosine < 1) == (0, True)
    shop.learn([[2]] * int(2 * GRADUATED))
    assert shop.content.lenders_of(2) == []


def test_a_new_item_is_proposed_beside_what_is_described_alike():
    shop = Shop()
    assert set(shop.proposed(0)) == {2}
    assert shop.proposed(1) == {}


def test_what_is_borrowed_fades_with_events_and_ends():
    shop = Shop()
    before = shop.proposed(2)[1]
    shop.learn([[2]] * 2)
    assert shop.proposed(2)[1] == pytest.approx(before * (1 - 2 / GRADUATED), rel=1e-4)
    shop.learn([[2]] * int(GRADUATED))
    assert shop.proposed(2) == {}
    assert shop.proposed(0) == {}


def test_without_a_catalog_or_known_items_nothing_is_proposed():
    shop = Shop(pairs=1)
    assert shop.proposed(2) == shop.proposed(0) == {}
    shop.content.refresh()
    assert shop.proposed(2) == {}


def test_items_that_change_or_leave_are_compared_again():
    shop = Shop()
    shop.put([2], ["a spoon"])
    assert shop.proposed(2) == {}
    assert shop.proposed(0) == {}
    shop.put([2], ["tent"])
    assert set(shop.proposed(0)) == {2}
    shop.catalog.withdraw(np.array([2], np.int32))
    shop.content.refresh()
    assert shop.proposed(0) == {}


def test_the_index_grows_with_what_is_known():
    shop = Shop()
    shop.put([4], ["wooden spoon"])
    assert shop.proposed(4) == {}
    shop.learn([[3, 1]] * 40)
    shop.content.refresh()
    assert 1 in shop.proposed(4)


def test_a_refresh_that_runs_out_of_time_goes_on_later():
    shop = Shop()
    shop.put([2], ["tent"])
    shop.catalog.put(np.array([2]), columns([Entry(text="spoon")]))
    shop.content.refresh(until=-1.0)
    assert shop.proposed(2) == {}
    shop.catalog.put(np.array([2]), columns([Entry(text="a tent")]))
    shop.content.refresh(until=-1.0)
    assert shop.proposed(2) == {}
    shop.content.refresh()
    assert 1 in shop.proposed(2)


def vectors_shop(*vectors):
    """Items 0 and 1 are bought together, 2 is new; no item has words."""
    catalog, statistics, lender = Catalog(50, kept=IMAGES), ItemStatistics(50), CoVisitation(50)
    for part in (statistics, lender):
        part.learn(session_batch([[0, 1]] * 10))
    content = Content(50, catalog, statistics)
    content.borrow_from([lender])
    catalog.begin()
    entries = [Entry(vectors={} if vector is None else {"image": vector}) for vector in vectors]
    catalog.put(np.arange(len(vectors)), columns(entries, IMAGES))
    content.refresh()
    return catalog, content


def test_an_item_without_words_borrows_from_what_looks_alike():
    catalog, content = vectors_shop([2.0, 0.1], [0.1, 1.0], [3.0, 0.0], None)
    ((lender, likeness),) = content.lenders_of(2)
    assert (lender, likeness > 0.9) == (0, True)
    assert content.lenders_of(3) == []
    assert 1 in content.propose(query_batch([[2]]), 5).rows[0]
    catalog.put(np.array([0]), columns([Entry()], IMAGES))
    content.refresh()
    assert 0 not in dict(content.lenders_of(2)), "it has lost its vector"


def test_vectors_count_half_as_much_as_words():
    """2 has the words of 0 and the looks of 1, and borrows from both."""
    catalog, statistics = Catalog(50, kept=IMAGES), ItemStatistics(50)
    statistics.learn(session_batch([[0, 1]] * 10))
    content = Content(50, catalog, statistics)
    catalog.begin()
    entries = [
        Entry(text="tent", vectors={"image": [1.0, 0.0]}),
        Entry(text="kettle", vectors={"image": [0.0, 1.0]}),
        Entry(text="tent", vectors={"image": [0.0, 5.0]}),
    ]
    catalog.put(np.arange(3), columns(entries, IMAGES))
    content.refresh()
    assert dict(content.lenders_of(2)) == {0: pytest.approx(2 / 3), 1: pytest.approx(1 / 3)}


def test_a_visitor_of_a_new_item_gets_what_goes_with_items_like_it():
    """Through the whole model: tents lead to stoves, boots to socks; nobody has seen the new ones."""
    model = Model({"next": 1.0, "content": 0.5}, capacity=200)
    model.learn(
        [
            Example(f"u{n}", n, 1000 + n, "view", item, history=history)
            for n in range(60)
            for item, history in (
                [(f"tent-{n % 3}", ()), ("stove", (f"tent-{n % 3}",))]
                if n % 2
                else [(f"boot-{n % 3}", ()), ("socks", (f"boot-{n % 3}",))]
            )
        ]
    )
    titles = {f"tent-{n}": f"Dome tent {n}" for n in range(3)} | {f"boot-{n}": f"Boots {n}" for n in range(3)}
    titles |= {"stove": "Stove", "socks": "Socks", "new-tent": "Light dome tent", "new-boots": "Red boots"}
    for item in titles:
        model.items.reserve(item)
    model.catalog.begin()
    rows = np.array(model.items.rows(titles), np.int32)
    model.catalog.put(rows, columns(Entry(text=title) for title in titles.values()))
    model.refresh()
    recommender = Recommender(model, model.weights)
    lists = recommender.recommend([Query(("new-tent",), 1, 2000), Query(("new-boots",), 1, 2000)], 3)
    assert [slate.items[0] for slate in lists] == ["stove", "socks"]
    assert lists[0].reasons[0] == "by its description, goes with new-tent"
    (known,) = recommender.recommend([Query(("tent-1",), 1, 2000)], 10)
    assert known.items[0] == "stove"
    assert "new-tent" in known.items
    assert "new-boots" not in known.items[:3]


def test_what_an_item_that_left_had_is_not_borrowed_from_the_next_one_in_its_row():
    shop = Shop()
    shop.catalog.withdraw(np.array([0], np.int32))
    for part in (shop.statistics, shop.lender):
        part.evict(np.array([0], np.int32))
    shop.content.refresh()
    assert shop.proposed(2) == {}
    shop.put([0], ["a kettle of steel"])  # another item, of which much is known
    shop.learn([[0, 3]] * 10)
    assert shop.proposed(2) == {}, "2 was like the item that left"
    shop.put([4], ["dome tent"])
    assert shop.proposed(4) == {}, "nor does the index name it"


def test_an_item_without_events_has_an_embedding():
    """On a worker, too, before anything of it was published."""
    rng = np.random.default_rng(2)
    learner = Model({"next": 1.0, "embedding": 0.5, "content": 0.5}, capacity=100)
    for start in range(0, 4000, 2):
        first, second = [("tent", "stove"), ("boots", "socks")][rng.integers(2)]
        learner.learn([Example(f"u{start}", start, start, "view", first)])
        learner.learn([Example(f"u{start}", start, start + 1, "view", second, 1.0, None, (first,), 1)])
    replica = Model(learner.weights, capacity=100)
    replica.apply(replica.prepare(learner.dump_touched().items()))
    for model in (learner, replica):
        titles = {"tent": "dome tent", "boots": "hiking boots", "new": "tent for two"}
        model.items.reserve("new")
        model.catalog.begin()
        rows = np.array(model.items.rows(titles), np.int32)
        model.catalog.put(rows, columns(Entry(text=title) for title in titles.values()))
        assert not model.embedded.vectors[rows[2]].any()
        model.refresh()
        tent, boots, new = model.embedded.vectors[rows]
        assert new @ tent > 0.9 * np.linalg.norm(new) * np.linalg.norm(tent) > new @ boots
