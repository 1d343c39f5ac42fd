"""The map page, and the event counts of an item: of the worker that has run longest."""

import time
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from streams.messages import MetricsRow, Process, encode
from streams.web import peers
from tests.web.worker import BROWSER, Ask, Page, Worker, browse, get, get_json, strict

MINUTE = 60_000


@pytest.fixture
def worker(tmp_path: Path) -> Worker:
    """A worker whose model has learnt, with a map that was refreshed twice, a minute apart."""
    worker = Worker(tmp_path / "data")
    worker.learn()
    now = int(time.time() * 1000)
    worker.item_map.refresh(now - MINUTE)
    worker.item_map.refresh(now)
    return worker


def test_the_map_has_every_item_with_its_place(worker: Worker):
    figures = get_json(worker, "/map")
    assert figures["time"] == worker.item_map.map.time
    assert 0 < figures["explained"] <= 1
    assert figures["moved_s"] == 60
    assert {entry["item"] for entry in figures["items"]} == set("abcdefghijkl")
    assert all(entry["events"] == 10 and entry["moved"] == 0 for entry in figures["items"])
    assert len({(entry["x"], entry["y"]) for entry in figures["items"]}) == 12
    page = Page(get(worker, "/map", BROWSER)[1])
    assert "The 12 items with most events" in page.text
    assert ("a", {"class": "id", "href": "/items/a"}) in page.elements


def test_before_the_first_refresh_there_is_no_map(tmp_path: Path):
    worker = Worker(tmp_path / "data")
    assert get_json(worker, "/map") == {"time": None, "items": []}
    assert "No map yet" in get(worker, "/map", BROWSER)[1]


def test_an_items_page_shows_its_events_over_time(worker: Worker):
    counts = get_json(worker, "/items/c")["counts"]
    assert [len(counts["hour"]), len(counts["day"])] == [2, 1]
    page = Page(get(worker, "/items/c", BROWSER)[1])
    assert "In the last hour" in page.text
    assert "By minute since" in page.text
    assert sum(tag == "rect" for tag, _ in page.elements) == 3


def test_the_worker_that_has_run_longest_answers(worker: Worker, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(peers, "TIMEOUT", aiohttp.ClientTimeout(total=30))
    other = Worker(tmp_path / "other", "other")
    other.send_heartbeat()

    async def visit(ask: Ask) -> None:
        async with TestServer(worker.site) as server:
            url = str(server.make_url("")).rstrip("/")
            other.know(url)
            about = Process(kind="serving", url=url, started=0, ready=True)
            row = MetricsRow(time=0, until=0, process=about)
            other.status._write("serving/w/now", encode(row))
            assert len(strict((await ask("/map"))[1])["items"]) == 12
            assert strict((await ask("/items/c"))[1])["worker"] == "w"
            forwarded = {peers.FORWARDED: "1"}
            assert strict((await ask("/map", **forwarded))[1])["items"] == []
            assert (await ask("/items/c", **forwarded))[0] == 404

    browse(other.site, visit)


def test_only_members_of_the_group_are_asked(worker: Worker):
    """A heartbeat is a record on a topic: an address there is no reason to fetch it."""
    requests: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        requests.append(request.path)
        return web.json_response({"time": 1, "items": []})

    async def visit(ask: Ask) -> None:
        stranger = web.Application()
        stranger.router.add_get("/{path:.*}", answer)
        async with TestServer(stranger) as server:
            url = str(server.make_url("")).rstrip("/")
            about = Process(kind="serving", url=url, started=0, ready=True)
            worker.status._write("serving/stranger/now", encode(MetricsRow(time=0, until=0, process=about)))
            assert len(strict((await ask("/map"))[1])["items"]) == 12
            assert strict((await ask("/items/c"))[1])["worker"] == "w"
            assert requests == []
            worker.know(url)
            assert strict((await ask("/map?again"))[1])["items"], "cached for a second"
            assert (await ask("/items/c"))[0] == 200
            assert requests == ["/items"]

    browse(worker.site, visit)


def test_a_worker_that_redirects_is_not_followed(worker: Worker):
    requests: list[str] = []

    async def redirect(request: web.Request) -> web.Response:
        requests.append(request.path)
        raise web.HTTPFound("/elsewhere")

    async def visit(ask: Ask) -> None:
        member = web.Application()
        member.router.add_get("/{path:.*}", redirect)
        async with TestServer(member) as server:
            worker.know(server.make_url(""))
            assert (await ask("/users/nobody"))[0] == 503
            assert requests == ["/users"]

    browse(worker.site, visit)


def test_a_worker_that_has_run_longest_and_does_not_answer_is_done_without(worker: Worker):
    worker.know("http://127.0.0.1:1")
    about = Process(kind="serving", url="http://127.0.0.1:1", started=0, ready=True)
    worker.status._write("serving/gone/now", encode(MetricsRow(time=0, until=0, process=about)))
    assert len(get_json(worker, "/map")["items"]) == 12
    assert get_json(worker, "/items/c")["worker"] == "w"
