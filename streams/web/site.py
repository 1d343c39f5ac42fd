"""What all pages share: HTML or JSON, errors in words, headers, the stylesheet."""

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec
from aiohttp import web

from streams.settings import Settings
from streams.web.hosts import guarding
from streams.web.negotiation import SUFFIX, html_wanted
from streams.web.problem import Problem
from streams.web.rendering import render, warm

log = logging.getLogger(__name__)

HEADERS = {
    "Content-Security-ServingPolicy": (
        "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; img-src 'self';"
        " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-ServingPolicy": "no-referrer",
    "Cache-Control": "no-store",
}
REFRESH_S = 5
"""Of an overview; `?pause` holds it still."""
_STATIC = Path(__file__).parent / "static"


@dataclass(frozen=True, slots=True)
class Page:
    """What a handler answers: figures, and the template that shows them."""

    template: str
    data: dict[str, Any]
    status: int = 200
    refresh_s: int = 0
    """Seconds after which the page loads itself again; 0: never."""
    made: dict[Any, bytes] = field(default_factory=dict, compare=False)
    """The bodies made of it, so that a page that several look at is made once."""


Handler = Callable[[web.Request], Awaitable[Page | web.StreamResponse]]


def attach(
    site: web.Application,
    name: str,
    settings: Settings,
    pages: Iterable[tuple[str, Handler]],
    plain: Iterable[tuple[str, Handler]],
    posts: Iterable[tuple[str, Handler]] = (),
    menu: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Serve (path, handler): `pages` also under the path with `.json`, `plain` as they are, `posts` to POST.

    `name` heads the pages, with the `menu`: path ▶ word.
    """
    warm()
    for path, handler in pages:
        site.router.add_get(path, handler)
        if "{" not in path:
            site.router.add_get(path + SUFFIX, handler)
    for path, handler in plain:
        site.router.add_get(path, handler)
    for path, handler in posts:
        site.router.add_post(path, handler)
    site.router.add_static("/static", _STATIC)
    site.middlewares.append(_answering(Head(name, menu)))
    site.middlewares.append(guarding(settings))


@dataclass(frozen=True, slots=True)
class Head:
    """What heads every page."""

    name: str
    menu: Mapping[str, str]


def _answering(head: Head) -> Any:
    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            found = await handler(request)
            response = found if isinstance(found, web.StreamResponse) else _respond(request, found, head)
        except Problem as problem:
            response = _problem(request, problem, head)
        except web.HTTPException as error:  # aiohttp's own: no such page, wrong method
            allow = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
            response = _problem(request, Problem(error.status, _phrase(error.status), "", allow), head)
        except Exception:
            log.exception("page %s", request.rel_url.raw_path)
            response = _problem(request, Problem(500, "This page failed", "The log says why."), head)
        for header, value in HEADERS.items():
            response.headers.setdefault(header, value)
        response.headers["Vary"] = "Accept"
        return response

    return answer


def _respond(request: web.Request, page: Page, head: Head) -> web.Response:
    html, paused, twin = html_wanted(request), "pause" in request.query, _twin(request)
    key = (html, paused, twin) if html else False
    if key not in page.made:
        page.made[key] = _html(request.path, page, head, paused, twin) if html else as_json(page.data)
    kind, charset = ("text/html", "utf-8") if html else ("application/json", None)
    return web.Response(body=page.made[key], status=page.status, content_type=kind, charset=charset)


def _html(path: str, page: Page, head: Head, paused: bool, twin: str) -> bytes:
    text = render(
        page.template,
        page.data,
        site=head.name,
        menu=head.menu,
        path=path,
        refresh_s=0 if paused else page.refresh_s,
        paused=page.refresh_s > 0 and paused,
        json=twin,
    )
    return text.encode("utf-8", "replace")


def as_json(data: Any) -> bytes:
    """For people to read, too; NaN becomes null."""
    return msgspec.json.format(msgspec.json.encode(data), indent=2) + b"\n"


def _twin(request: web.Request) -> str:
    """The address of the same figures as JSON."""
    query = request.rel_url.raw_query_string
    return f"{request.rel_url.raw_path}{SUFFIX}" + (f"?{query}" if "=" in query else "")


def _problem(request: web.Request, problem: Problem, head: Head) -> web.Response:
    data = {"status": problem.status, "error": problem.error, "detail": problem.detail}
    response = _respond(request, Page("problem", data, problem.status), head)
    response.headers.update(problem.headers)
    return response


def _phrase(status: int) -> str:
    if status == HTTPStatus.NOT_FOUND:
        return "There is no such page"
    return HTTPStatus(status).phrase
