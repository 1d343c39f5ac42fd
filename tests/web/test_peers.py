"""Any worker answers for any user."""

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from streams.web import peers
from streams.web.peers import FORWARDED
from tests.web.worker import BROWSER, ODD, Ask, Page, Worker, browse, strict


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Worker, Worker]:
    """Two workers: the first has ann, the second has ben."""
    first, second = Worker(tmp_path / "1", "first", 0), Worker(tmp_path / "2", "second", 1)
    second.table.data._db_for_partition(1).delete(b"ann")
    second.put("ben", 1)
    monkeypatch.setattr(peers, "TIMEOUT", aiohttp.ClientTimeout(total=30))
    return first, second


async def silence(request: web.Request) -> web.Response:
    """A worker that hangs."""
    await asyncio.sleep(300)
    return web.Response()


def test_any_worker_answers_for_any_user(two: tuple[Worker, Worker]):
    first, second = two

    async def visit(ask: Ask) -> None:
        async with TestServer(second.site) as other:
            first.know(other.make_url(""))
            status, text, _ = await ask("/users/ben")
            figures = strict(text)
            assert status == 200
            assert (figures["user"], figures["worker"], figures["answered_by"]) == (
                "ben",
                "second",
                "first",
            )
            status, text, _ = await ask("/users/ben", BROWSER)
            assert status == 200
            assert "Worker first asked worker second" in Page(text).text
            assert (await ask("/users/ann"))[0] == 200
            assert (await ask("/users/nobody"))[0] == 404
            assert (await ask("/users/ben", **{FORWARDED: "1"}))[0] == 404, "asked by another: own users only"

    browse(first.site, visit)


@pytest.mark.parametrize("odd", ODD, ids=ascii)
def test_any_id_reaches_the_other_worker(two: tuple[Worker, Worker], odd: str):
    first, second = two
    second.put(odd, 1)

    async def visit(ask: Ask) -> None:
        async with TestServer(second.site) as other:
            first.know(other.make_url(""))
            status, text, _ = await ask(f"/users?id={quote(odd, safe='')}")
            assert status == 200
            assert strict(text)["user"] == odd
            assert strict(text)["worker"] == "second"

    browse(first.site, visit)


def test_two_workers_that_do_not_know_a_user_ask_each_other_once(two: tuple[Worker, Worker]):
    first, second = two
    forwarded = []

    @web.middleware
    async def count(request: web.Request, handler: Any) -> Any:
        forwarded.append(request.headers.get(FORWARDED))
        return await handler(request)

    async def visit(ask: Ask) -> None:
        async with TestServer(second.site) as other:
            first.know(other.make_url(""))
            second.know("http://127.0.0.1:1")
            assert (await ask("/users/nobody"))[0] == 404

    second.site.middlewares.insert(0, count)
    browse(first.site, visit)
    assert forwarded == ["1"]


def test_the_first_to_know_a_user_answers(two: tuple[Worker, Worker]):
    first, second = two

    async def visit(ask: Ask) -> None:
        hangs = web.Application()
        hangs.router.add_get("/users", silence)
        async with TestServer(second.site) as other, TestServer(hangs, shutdown_timeout=0) as hanging:
            first.know(hanging.make_url(""), other.make_url(""), "http://127.0.0.1:1")
            status, text, _ = await asyncio.wait_for(ask("/users/ben"), 20)  # before TIMEOUT
            assert status == 200
            assert strict(text)["worker"] == "second"

    browse(first.site, visit)


def test_a_worker_that_does_not_answer_makes_a_503_not_a_404(two: tuple[Worker, Worker], monkeypatch):
    monkeypatch.setattr(peers, "TIMEOUT", aiohttp.ClientTimeout(total=0.5))
    first, second = two
    gone = "http://127.0.0.1:1"

    async def visit(ask: Ask) -> None:
        hangs = web.Application()
        hangs.router.add_get("/users", silence)
        async with TestServer(second.site) as other, TestServer(hangs, shutdown_timeout=0) as hanging:
            first.know(other.make_url(""), gone, hanging.make_url(""))
            status, text, headers = await ask("/users/nobody")
            detail = strict(text)["detail"]
            assert status == 503
            assert headers["Retry-After"] == "2"
            assert f"{gone} (no connection)" in detail
            assert "(no answer)" in detail
            assert "10 s" in detail
            status, text, _ = await ask("/users/nobody", BROWSER)
            assert status == 503
            assert gone in text
            second.app.rebalancing = True
            first.know(other.make_url(""))
            assert (await ask("/users/ben"))[0] == 503, "restoring: it cannot know"

    browse(first.site, visit)
