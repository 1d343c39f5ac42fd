"""The pages under a sub-path, behind a proxy that strips it, in a real browser; without Kafka."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from playwright.sync_api import Browser, Page, expect
from yarl import URL

from streams.monitor import exposure
from streams.web import dead_letters_page
from tests.browser.chromium import launched, opened
from tests.web.worker import TOKEN, Worker

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

ROOT = "/freshet"
PATHS = {
    "overview": "/", "quality": "/quality?range=24h", "user": "/users/ann", "item": "/items/c", "map": "/map",
    "live": "/live?user=ann", "dead letters": "/dead-letters", "settings": "/settings",
}  # fmt: skip
LINKS = """() => [...document.querySelectorAll("[href], [src], [action], [formaction]")].flatMap(e =>
    ["href", "src", "action", "formAction"].filter(n => e.hasAttribute(n)).map(n => e[n]))"""
"""Absolute URL of everything that the page refers to."""


@dataclass
class Proxy:
    """A proxy that serves a worker's pages under `ROOT`, and what it was asked for."""

    url: str = ""
    """Address of the overview, without the last slash."""
    paths: list[str] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)
    """Paths that are not under `ROOT`, and those that the worker did not answer."""

    async def run(self, worker: Worker, started: Future[None], stop: asyncio.Event) -> None:
        """Serve until `stop` is set."""
        await worker.status.send(worker.sampler.take)
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._forward)
        async with TestServer(worker.site) as inner, aiohttp.ClientSession() as self._session:
            self._inner = str(inner.make_url("")).rstrip("/")
            async with TestServer(app) as outer:
                self.url = str(outer.make_url("")).rstrip("/") + ROOT
                started.set_result(None)
                await stop.wait()

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        raw = request.rel_url.raw_path_qs
        if not raw.startswith(f"{ROOT}/"):
            if raw != "/favicon.ico":  # browsers ask for it beside JSON, which names no icon
                self.strays.append(raw)
            raise web.HTTPNotFound
        self.paths.append(raw)
        url = URL(self._inner + raw.removeprefix(ROOT), encoded=True)
        headers = {
            name: value for name, value in request.headers.items() if name not in ("Host", "Connection")
        }
        body = await request.read()
        async with self._session.request(
            request.method, url, headers=headers, data=body, allow_redirects=False
        ) as answer:
            if answer.status >= 400:
                self.strays.append(f"{answer.status} {raw}")
            kept = ("Content-Type", "Content-Security-Policy", "Location")
            response = web.StreamResponse(
                status=answer.status,
                headers={name: answer.headers[name] for name in kept if name in answer.headers},
            )
            await response.prepare(request)
            async for part in answer.content.iter_any():
                await response.write(part)
            return response


@contextmanager
def proxied(worker: Worker) -> Iterator[Proxy]:
    """The worker's pages behind a proxy, both on a loop in a thread."""
    proxy, started, loop, stop = Proxy(), Future[None](), asyncio.new_event_loop(), asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(proxy.run(worker, started, stop),))
    thread.start()
    try:
        started.result(60)
        yield proxy
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as browser:
        yield browser


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Worker:
    """A worker that has learnt, and that knows its sub-path."""
    worker = Worker(tmp_path_factory.mktemp("data") / "w", web_root_path=ROOT, web_token=TOKEN)
    worker.learn()
    for now in (1, 2):
        worker.item_map.refresh(now)
    return worker


@pytest.fixture(scope="module")
def proxy(worker: Worker) -> Iterator[Proxy]:
    with pytest.MonkeyPatch.context() as monkeypatch, proxied(worker) as proxy:
        for module in (exposure, dead_letters_page):
            monkeypatch.setattr(module, "latest", lambda *args: [])
        yield proxy


@contextmanager
def followed(browser: Browser, proxy: Proxy, path: str) -> Iterator[Page]:
    """A page; every request that it causes is under the sub-path and answered."""
    with opened(browser, proxy.url + path) as page:
        yield page
    assert proxy.strays == []


@pytest.mark.parametrize("name", PATHS)
def test_everything_that_a_page_refers_to_is_under_the_sub_path(browser: Browser, proxy: Proxy, name: str):
    with followed(browser, proxy, PATHS[name]) as page:
        expect(page.locator("h1")).to_have_count(1)
        assert page.evaluate("getComputedStyle(document.body).fontFamily").count("system-ui"), (
            "its style is there"
        )
        origin = proxy.url.removesuffix(ROOT)
        urls = [url for url in page.evaluate(LINKS) if url.startswith(origin)]
        assert len(urls) > 10
        assert [url for url in urls if not url.startswith(f"{proxy.url}/")] == []


def test_scripts_fetch_from_under_the_sub_path(browser: Browser, proxy: Proxy):
    with followed(browser, proxy, "/") as page:
        expect(page.locator("#plots canvas").first).to_be_visible()
        with page.expect_response(lambda answer: answer.url.startswith(f"{proxy.url}/?range=")):
            page.evaluate("htmx.ajax('GET', document.querySelector('#now').getAttribute('hx-get'), '#now')")
    with followed(browser, proxy, "/live?user=ann") as page:
        expect(page.locator("#state")).to_have_text("live")
        assert page.evaluate("address('items', '..')") == f"{ROOT}/items?id=.."
    with followed(browser, proxy, "/map") as page:
        page.locator("#query").fill("c")
        page.locator("#query").press("Enter")
        expect(page.locator("h1")).to_have_text("Item c")
        assert page.url == f"{proxy.url}/items/c"
    assert {f"{ROOT}/plots.json?range=15min", f"{ROOT}/map.json", f"{ROOT}/live/stream?user=ann"} <= set(
        proxy.paths
    )


def test_links_and_forms_lead_to_pages_under_the_sub_path(browser: Browser, proxy: Proxy):
    with followed(browser, proxy, "/items/c") as page:
        for word in ("Quality", "Live", "Map", "Dead letters", "Settings", "Overview"):
            page.get_by_role("link", name=word, exact=True).click()
            expect(page.locator("h1")).to_contain_text("Item map" if word == "Map" else word)
        page.get_by_label("Find").fill("ann")
        page.get_by_role("button", name="User", exact=True).click()
        expect(page.locator("h1")).to_have_text("User ann")
        page.get_by_label("Item of event 1").fill("d")
        page.get_by_role("button", name="What if?").click()
        expect(page.locator("#what-if-list")).to_contain_text("with a click of d")
        page.get_by_role("link", name="This page as JSON").click()
        assert page.url.startswith(f"{proxy.url}/users")


def test_a_setting_is_changed_under_the_sub_path(browser: Browser, proxy: Proxy, worker: Worker):
    with followed(browser, proxy, "/settings") as page:
        section = page.locator("section", has=page.locator("h2", has_text="list_length"))
        section.get_by_label("list_length", exact=True).fill("3")
        section.get_by_label("Who changes list_length").fill("ann")
        section.get_by_label("Token").fill(TOKEN)
        section.get_by_role("button", name="Change").click()
        expect(page.locator(".alarm")).to_contain_text("list_length is changed")
    assert worker.live_settings.current.list_length == 3
