"""What all pages share: HTML or JSON, errors, headers, static files."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from aiohttp import web

from streams.printable import printable_json
from streams.settings import Settings
from streams.web.negotiation import SUFFIX, html_wanted
from streams.web.problem import Problem
from streams.web.rendering import compile_templates, render
from streams.web.security import check_host

log = logging.getLogger(__name__)

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; img-src 'self';"
        " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
REFRESH_S = 5
"""Interval at which an overview refreshes; `?pause` turns it off."""
PLOTS_FRESH_S = 5.0
"""Age up to which drawn plots are served from the cache."""
_STATIC = Path(__file__).parent / "static"


@dataclass(frozen=True, slots=True)
class Page:
    """What a handler answers: figures, and the template that shows them."""

    template: str
    data: dict[str, Any]
    status: int = 200
    refresh_s: int = 0
    """Interval at which the page refreshes; 0: never."""
    bodies: dict[Any, bytes] = field(default_factory=dict, compare=False)
    """The encoded bodies, so that a cached page is rendered once."""


Handler = Callable[[web.Request], Awaitable[Page | web.StreamResponse]]


class Route(NamedTuple):
    """A path and its handler."""

    path: str
    handler: Handler
    menu: str = ""
    """The page's entry in the menu, if it has one."""
    method: str = "GET"
    json: bool = True
    """Whether the path with `.json` answers the same figures as JSON."""


@dataclass(frozen=True, slots=True)
class Head:
    """The head of every page."""

    name: str
    menu: Mapping[str, str]
    """Entry by path."""
    root: str
    """Path under which browsers reach the pages; empty: none."""


def headers(image_hosts: frozenset[str]) -> dict[str, str]:
    """The headers of every answer; pictures may come from these hosts, by https.

    >>> headers(frozenset({"images.example"}))["Content-Security-Policy"].split("; ")[4]
    "img-src 'self' https://images.example"
    """
    sources = " ".join(["img-src 'self'", *(f"https://{host}" for host in sorted(image_hosts))])
    policy = HEADERS["Content-Security-Policy"].replace("img-src 'self'", sources)
    return HEADERS | {"Content-Security-Policy": policy}


async def _nothing_to_add(page: Page) -> None:
    """Leave the page as it is."""


def attach(
    site: web.Application,
    name: str,
    settings: Settings,
    routes: Sequence[Route],
    add: Callable[[Page], Awaitable[None]] = _nothing_to_add,
) -> None:
    """Serve the routes and the static files; `name` heads the pages, `add` adds to the figures of each."""
    compile_templates(settings.web_root_path)
    router: Any = site.router  # handlers may return a page, which the middleware answers
    for route in routes:
        if route.method == "GET":
            router.add_get(route.path, route.handler)  # and HEAD
            if route.json and "{" not in route.path:
                router.add_get(route.path + SUFFIX, route.handler)
        else:
            router.add_route(route.method, route.path, route.handler)
    router.add_static("/static", _STATIC)
    menu = {route.path: route.menu for route in routes if route.menu}
    head = Head(name, menu, settings.web_root_path)
    site.middlewares.append(_answer(head, headers(settings.web_image_hosts), add))
    site.middlewares.append(check_host(settings))


def as_json(data: Any) -> bytes:
    """Indented JSON, safe to print in a terminal; NaN becomes null."""
    return printable_json(msgspec.json.format(msgspec.json.encode(data), indent=2)) + b"\n"


def _answer(head: Head, headers: Mapping[str, str], add: Callable[[Page], Awaitable[None]]) -> Any:
    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            result = await handler(request)
            if isinstance(result, Page):
                await add(result)
            response = result if isinstance(result, web.StreamResponse) else _respond(request, result, head)
        except Problem as problem:
            response = _respond_problem(request, problem, head)
        except web.HTTPException as error:  # aiohttp's own: no such page, wrong method
            response = _respond_problem(request, _as_problem(request, error), head)
        except Exception:
            log.exception("page %s", request.rel_url.raw_path)
            failure = Problem(500, "this page failed: the cause is in the log of this process")
            response = _respond_problem(request, failure, head)
        for header, value in headers.items():
            response.headers.setdefault(header, value)
        response.headers["Vary"] = "Accept"
        return response

    return answer


def _respond(request: web.Request, page: Page, head: Head) -> web.Response:
    html, paused, json_url = html_wanted(request), "pause" in request.query, _json_url(request)
    key = (html, paused, json_url) if html else False
    if key not in page.bodies:
        page.bodies[key] = _html(request.path, page, head, paused, json_url) if html else as_json(page.data)
    kind, charset = ("text/html", "utf-8") if html else ("application/json", None)
    return web.Response(body=page.bodies[key], status=page.status, content_type=kind, charset=charset)


def _respond_problem(request: web.Request, problem: Problem, head: Head) -> web.Response:
    # a request may have lone surrogates, which JSON has not
    detail = problem.detail.encode(errors="replace").decode()
    data = {"status": problem.status, "error": problem.error, "detail": detail}
    response = _respond(request, Page("problem", data, problem.status), head)
    response.headers.update(problem.headers)
    return response


def _html(path: str, page: Page, head: Head, paused: bool, json_url: str) -> bytes:
    text = render(
        page.template,
        page.data,
        head.root,
        site=head.name,
        menu=head.menu,
        path=path,
        refresh_s=0 if paused else page.refresh_s,
        paused=page.refresh_s > 0 and paused,
        json=json_url,
    )
    return text.encode("utf-8", "replace")


def _json_url(request: web.Request) -> str:
    """The URL of the same figures as JSON."""
    query = request.rel_url.raw_query_string
    return f"{request.rel_url.raw_path}{SUFFIX}" + (f"?{query}" if "=" in query else "")


def _as_problem(request: web.Request, error: web.HTTPException) -> Problem:
    if error.status == 405:
        allow = error.headers["Allow"]
        return Problem(405, f"unexpected method {request.method}: expected {allow}", {"Allow": allow})
    if error.status == 404:
        return Problem(404, "no page has this path")
    return Problem(error.status, error.text or "")
