"""What all pages share: HTML or JSON, errors in words, headers, the stylesheet."""

import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from streams.web.negotiation import SUFFIX, html_wanted
from streams.web.problem import Problem
from streams.web.rendering import render, warm

log = logging.getLogger(__name__)

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self';"
        " base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
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


Handler = Callable[[web.Request], Awaitable[Page | web.StreamResponse]]


def attach(
    site: web.Application,
    name: str,
    pages: Iterable[tuple[str, Handler]],
    plain: Iterable[tuple[str, Handler]],
) -> None:
    """Serve (path, handler): `pages` also under the path with `.json`, `plain` as they are.

    `name` heads the pages.
    """
    warm()
    for path, handler in pages:
        site.router.add_get(path, handler)
        if "{" not in path:
            site.router.add_get(path + SUFFIX, handler)
    for path, handler in plain:
        site.router.add_get(path, handler)
    site.router.add_static("/static", _STATIC)
    site.middlewares.append(_answering(name))


def _answering(name: str) -> Any:
    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            found = await handler(request)
            response = found if isinstance(found, web.StreamResponse) else _respond(request, found, name)
        except Problem as problem:
            response = _problem(request, problem, name)
        except web.HTTPException as error:  # aiohttp's own: no such page, wrong method
            allow = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
            response = _problem(request, Problem(error.status, _phrase(error.status), "", allow), name)
        except Exception:
            log.exception("page %s", request.rel_url.raw_path)
            response = _problem(request, Problem(500, "This page failed", "The log says why."), name)
        for header, value in HEADERS.items():
            response.headers.setdefault(header, value)
        response.headers["Vary"] = "Accept"
        return response

    return answer


def _respond(request: web.Request, page: Page, name: str) -> web.Response:
    if html_wanted(request):
        text = render(
            page.template,
            page.data,
            site=name,
            refresh_s=0 if "pause" in request.query else page.refresh_s,
            paused=page.refresh_s > 0 and "pause" in request.query,
            json=_twin(request),
        )
        return web.Response(text=text, status=page.status, content_type="text/html")
    return web.Response(
        body=msgspec.json.format(msgspec.json.encode(page.data), indent=2) + b"\n",  # NaN becomes null
        status=page.status,
        content_type="application/json",
    )


def _twin(request: web.Request) -> str:
    """The address of the same figures as JSON."""
    query = request.rel_url.raw_query_string
    return f"{request.rel_url.raw_path}{SUFFIX}" + (f"?{query}" if "id=" in query else "")


def _problem(request: web.Request, problem: Problem, name: str) -> web.Response:
    data = {"status": problem.status, "error": problem.error, "detail": problem.detail}
    response = _respond(request, Page("problem", data, problem.status), name)
    response.headers.update(problem.headers)
    return response


def _phrase(status: int) -> str:
    if status == HTTPStatus.NOT_FOUND:
        return "There is no such page"
    return HTTPStatus(status).phrase
