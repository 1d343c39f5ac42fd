"""The page of a user: history, slates with reasons, and every id that a user can have."""

from urllib.parse import quote

import pytest

from streams.printable import printable_lines
from streams.step.users import User
from streams.web.rendering import address
from streams.web.user_page import history
from tests.web.worker import BROWSER, HOUR, NOW, ODD, Page, Worker, get, get_json


def test_a_users_page_has_history_and_slate_with_reasons(worker: Worker):
    record = User(
        7, 4, ("a", "b", "c"), ("view", "click", "view"), (NOW - 3 * HOUR, NOW - 1000, NOW), "s",
        NOW - 1000, 2, NOW, slate_id="0-7", slate=("d", "zzz"), session_size=2,
    )  # fmt: skip
    worker.put("bob", 0, record)
    figures = get_json(worker, "/users/bob")
    assert (figures["user"], figures["partition"]) == ("bob", 0)
    assert (figures["worker"], figures["answered_by"]) == ("w", "w")
    assert (figures["events"], figures["sessions"], figures["last"]) == (4, 2, NOW)
    assert figures["session"] == {"id": "s", "start": NOW - 1000, "items": ["b", "c"]}
    assert [[e["item"] for e in s["events"]] for s in figures["history"]] == [["c", "b"], ["a"]]
    assert [s["current"] for s in figures["history"]] == [True, False]
    assert figures["sent"] == {"recommendation_id": "0-7", "items": ["d", "zzz"]}
    best = figures["now"]["items"][0]
    assert (best["item"], best["sent_position"]) == ("d", 1), "d follows c in the model"
    assert best["score"] > 0
    assert "c" in best["reason"]
    assert len(figures["now"]["items"]) == 5
    assert figures["now"]["items"][1]["sent_position"] is None
    page = Page(get(worker, "/users/bob", BROWSER)[1])
    assert "0-7" in page.text
    assert best["reason"] in page.text
    assert ("a", {"class": "id", "href": "/items/d"}) in page.elements


def test_inactivity_divides_old_sessions_and_the_records_own_size_the_current_one():
    record = User(
        items=("a", "b", "c", "d", "e"), types=("view",) * 5,
        times=(0, 10, 10 + 31 * 60_000, 5 * HOUR, 5 * HOUR + 50 * 60_000), session_size=2,
    )  # fmt: skip
    assert [[e["item"] for e in s["events"]] for s in history(record, 30 * 60_000)] == [
        ["e", "d"], ["c"], ["b", "a"],
    ]  # fmt: skip
    assert history(User(), 1) == []


@pytest.mark.parametrize("odd", ODD, ids=ascii)
def test_any_id_can_be_asked_for_and_is_shown_as_text(worker: Worker, odd: str):
    worker.put(odd, 0, User(1, 1, (odd,), (odd[:64],), (NOW,), odd, NOW, 1, NOW, slate_id=odd, slate=(odd,)))
    quoted = quote(odd, safe="")
    for path in (f"/users/{quoted}.json", f"/users?id={quoted}", f"/users.json?id={quoted}"):
        assert get_json(worker, path)["user"] == odd
    status, text, headers = get(worker, f"/users?id={quoted}", BROWSER)
    assert status == 200
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    page = Page(text)
    assert not {tag for tag, _ in page.elements} & {"img", "style", "iframe"}
    assert all(e["src"].startswith("/static/") for tag, e in page.elements if tag == "script")
    assert not any(name.startswith("on") or name == "style" for _, values in page.elements for name in values)
    assert printable_lines(odd) in page.text
    assert not set(text) & {"\x1b", "\x9b", "\u202e"}, "a terminal may show the page, too"
    links = {values["href"] for tag, values in page.elements if tag == "a" and values.get("class") == "id"}
    assert address("", "items", odd) in links
    status, text, _ = get(worker, f"/items?id={quoted}", BROWSER)
    assert status == 404
    assert "<script>" not in text
    assert "<img" not in text


@pytest.mark.parametrize("odd", [odd for odd in ODD if odd not in (".", "..")], ids=ascii)
def test_the_address_of_an_id_leads_to_its_page(worker: Worker, odd: str):
    """Not for dots: a browser would cut them out of a path, hence `address` asks with a query."""
    worker.put(odd)
    assert address("", "users", odd).startswith("/users?id=" if odd.endswith(".json") else "/users/")
    assert get_json(worker, address("", "users", odd))["user"] == odd


def test_a_damaged_record_is_said(worker: Worker):
    worker.table.store(0, {b"ann": b"\x93damaged"}, 0)
    status, text, _ = get(worker, "/users/ann", BROWSER)
    assert status == 500
    assert "the stored record of the user “ann” cannot be read" in text


def test_one_json_at_the_end_of_a_path_is_never_of_the_id(worker: Worker):
    worker.put("cat")
    worker.put("cat.json", 0, User(events=99))
    assert get_json(worker, "/users/cat.json", BROWSER)["user"] == "cat"
    assert get_json(worker, "/users/cat.json.json")["events"] == 99
    assert get(worker, "/users?id=cat.json", BROWSER)[1].count("cat.json") > 1
