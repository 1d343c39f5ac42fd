"""What the catalog says of items, on all pages that show them: titles, prices, pictures; and the search."""

import json
from types import SimpleNamespace
from urllib.parse import quote

import pytest

from streams.catalog_messages import CatalogItem
from streams.step.users import User
from tests.web.worker import BROWSER, HOUR, NOW, TOKEN, Page, Worker, get, get_json, post, writes

HOSTILE = "<script>alert(1)</script> \u202egnp.exe 😀"
ITEMS = [
    CatalogItem(item="a", title="Dome tent", categories=["Outdoor/Tents"], price=249.0, currency="EUR"),
    CatalogItem(item="b", title=HOSTILE, image="https://images.example/b.jpg"),
    CatalogItem(item="c", title="Tent for two", image="http://images.example/c.jpg"),
    CatalogItem(item="d", title="خيمة لشخصين", image="https://elsewhere.example/d.jpg", price=9.5),
    CatalogItem(item="e", title="x" * 500, available=False),
    *(CatalogItem(item=item, title=f"Kettle {item}") for item in "fghijkl"),
    CatalogItem(item="no row", title="Tent of tomorrow"),
]


@pytest.fixture
def worker(tmp_path):
    worker = Worker(
        tmp_path / "data", web_token=TOKEN, web_image_hosts=frozenset({"images.example"}),
        placements={"basket": {"start": "cart", "list_length": 2}},
    )  # fmt: skip
    worker.learn()
    store = worker.list_items(*ITEMS)
    yield worker
    store.close()


def test_titles_prices_and_allowed_pictures_are_beside_the_ids(worker):
    for path in ("/users/ann", "/items/c", "/items", "/items?q=tent"):
        described = get_json(worker, path)["described"]
        assert described["c"] == {"title": "Tent for two"}, "a picture by http is not shown"
        page = Page(get(worker, path, BROWSER)[1])
        assert "Tent for two" in page.text
    described = get_json(worker, "/users/ann")["described"]
    assert described["a"] == {
        "title": "Dome tent",
        "price": 249.0,
        "currency": "EUR",
        "category": "Outdoor/Tents",
    }
    assert described["b"] == {"title": HOSTILE, "image": "https://images.example/b.jpg"}
    assert described["d"] == {"title": "خيمة لشخصين", "price": 9.5}, "nor one of another host"
    text = get(worker, "/users/ann", BROWSER)[1]
    page = Page(text)
    images = {attrs["src"] for tag, attrs in page.elements if tag == "img"}
    assert images == {"https://images.example/b.jpg"}
    assert "<script>alert" not in text
    assert "249.00 EUR" in page.text
    assert json.loads(get(worker, "/described.json?id=a&id=nothing")[1]) == {"a": described["a"]}


def test_the_policy_names_the_allowed_hosts_and_no_other(worker, tmp_path):
    policy = get(worker, "/")[2]["Content-Security-Policy"]
    assert "img-src 'self' https://images.example;" in policy
    plain = Worker(tmp_path / "other", name="v")
    assert "img-src 'self';" in get(plain, "/")[2]["Content-Security-Policy"]


def test_items_are_found_by_words_and_those_that_match_best_come_first(worker):
    def found(words):
        return [entry["item"] for entry in get_json(worker, f"/items?q={quote(words)}")["results"]]

    assert set(found("tent")) == {"a", "c"}, "what has no row is not searched"
    assert found("TWO tents for")[0] == "c"
    assert found("خيمة") == ["d"]
    assert found("nothing of it") == []
    assert get_json(worker, "/items?q=tent")["unknown"] == 1
    everything = get_json(worker, "/items")["results"]
    assert len(everything) == 11, "all that are offered"
    text = get(worker, "/items?q=kettle", BROWSER)[1]
    assert "7 of 12 items" in Page(text).text
    assert get(worker, f"/items?q={quote('<script>')}", BROWSER)[0] == 200


def test_what_is_no_id_is_searched_for(worker):
    assert [entry["item"] for entry in get_json(worker, "/items?id=dome")["results"]] == ["a"]
    assert get(worker, "/items/dome")[0] == 404, "a path is an id"


def test_without_a_catalog_the_search_says_so(tmp_path):
    worker = Worker(tmp_path / "data")
    worker.learn()
    figures = get_json(worker, "/items")
    assert figures["catalog"] is None
    assert len(figures["results"]) == 12
    assert "There is no catalog" in Page(get(worker, "/items", BROWSER)[1]).text


def test_a_users_page_has_the_profile_and_the_list_of_each_placement(worker):
    record = User(
        7, 2, ("a", "b"), ("cart", "click"), (NOW - HOUR, NOW), None, NOW, 2, NOW, session_size=1,
        hidden=("c",), hidden_brands=("Fjell",), attributes={"country": "NO"},
    )  # fmt: skip
    worker.put("eve", record=record)
    figures = get_json(worker, "/users/eve")
    assert figures["profile"] == {
        "profiling": True,
        "attributes": {"country": "NO"},
        "hidden": [{"item": "c"}],
        "hidden_brands": ["Fjell"],
    }
    assert figures["placements"] == ["", "basket"]
    assert "c" not in [entry["item"] for entry in figures["now"]["items"]]
    basket = get_json(worker, "/users?id=eve&placement=basket")
    assert len(basket["now"]["items"]) == 2
    assert "often after a" in [entry["reason"] for entry in basket["now"]["items"]]
    text = Page(get(worker, "/users?id=eve&placement=basket", BROWSER)[1]).text
    assert "Hidden brands" in text
    status, text, _ = get(worker, "/users?id=eve&placement=none")
    assert status == 400
    assert "unknown placement “none”: expected basket" in text
    worker.put("opted out", record=User(7, 2, profiling=False))
    assert "does not want to be profiled" in get(worker, "/users?id=opted%20out", BROWSER)[1]


def test_an_items_page_says_which_rules_leave_it_out(tmp_path):
    worker = Worker(tmp_path / "data", rules=[{"rule": "not-recent", "last": 2}])
    worker.learn()
    assert get_json(worker, "/items/a")["dropped"] == {}
    get(worker, "/users/ann")  # ann saw a, then b
    assert get_json(worker, "/items/a")["dropped"]["not-recent"] >= 1
    assert get_json(worker, "/items/c")["dropped"] == {}
    assert "Left out by rules" in get(worker, "/items/a", BROWSER)[1]


def test_a_preview_compares_lists_and_changes_nothing(worker):
    body = {"setting": "rules", "value": json.dumps([{"rule": "at-most", "of": "group", "n": 1},
                                                     {"rule": "pin", "items": ["l"]}])}  # fmt: skip
    assert post(worker, "/settings/preview", body)[1]["users"] == 0
    event = SimpleNamespace(user="ann")
    worker.notify(writes()._replace(decoded=[(0, 7, event)]))
    before = get_json(worker, "/users/ann")["now"]["items"]
    status, figures = post(worker, "/settings/preview", body)
    assert (status, figures["users"], figures["lists"], figures["changed"]) == (200, 1, 1 + 1, 2)
    default, basket = figures["examples"]
    assert (default["user"], default["placement"], basket["placement"]) == ("ann", "", "basket")
    assert default["before"] == [{"item": entry["item"]} for entry in before]
    assert default["after"][0] == {"item": "l", "new": "l" not in [entry["item"] for entry in before]}
    assert get_json(worker, "/users/ann")["now"]["items"] == before
    assert worker.live_settings.current.rules == worker.settings.rules
    page = Page(post(worker, "/settings/preview", body, accept=BROWSER)[1])
    assert "Nothing was changed" in page.text
    assert "Kettle l" in page.text


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"setting": "rules", "value": "[{}]"}, 400),
        ({"setting": "session_gap_s", "value": "5"}, 400),
        ({"value": "5"}, 400),
        ({"setting": "placements", "value": '{"Home": {}}'}, 400),
        ({"setting": "placements", "value": '{"home": {"start": "item"}}'}, 200),
        ({"setting": "rules", "reset": "1"}, 200),
        ({"setting": "ranker", "value": "blend"}, 200),
    ],
)
def test_a_preview_of_what_cannot_be_says_why(worker, change, status):
    assert post(worker, "/settings/preview", change)[0] == status


def test_a_preview_needs_the_token(worker):
    body = {"setting": "rules", "value": "[]"}
    assert post(worker, "/settings/preview", body, token=None)[0] == 401
