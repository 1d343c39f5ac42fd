"""What a request asks for: HTML or JSON, which id, which span."""

from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

from aiohttp import web

from streams.messages import MAX_ID_BYTES
from streams.monitor.history import SPANS
from streams.web.problem import Problem

SUFFIX = ".json"


def wants_html(accept: str) -> bool:
    """Whether the `Accept` header prefers HTML to JSON.  `*/*`, which programs send, does not.

    >>> wants_html("text/html,application/xhtml+xml,*/*;q=0.8"), wants_html("*/*")
    (True, False)
    >>> wants_html("text/html;q=0.5, application/json")
    False
    """
    qualities = dict(_qualities(accept))
    html = qualities.get("text/html", 0.0)
    return html > 0 and html >= qualities.get("application/json", 0.0)


def _qualities(accept: str) -> Iterator[tuple[str, float]]:
    for part in accept.split(","):
        kind, *parameters = [word.strip().lower() for word in part.split(";")]
        quality = 1.0
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name.strip() == "q":
                try:
                    quality = float(value)
                except ValueError:
                    quality = 0.0
        yield kind, quality


def html_wanted(request: web.BaseRequest) -> bool:
    """Whether this request gets HTML: htmx always, a path that ends in `.json` never does."""
    if request.rel_url.raw_path.endswith(SUFFIX):
        return False
    return "HX-Request" in request.headers or wants_html(",".join(request.headers.getall("Accept", [])))


def id_in_path(request: web.BaseRequest, prefix: str) -> str:
    """The id after `prefix` in the path, with its slashes, without one `.json` at the end.

    So `/users/a.json` is user `a` as JSON; the user `a.json` is `/users/a.json.json`, or
    `/users?id=a.json`.  `Problem` 400 for an id that no user or item can have.
    """
    return _id(request.rel_url.raw_path.removeprefix(prefix).removesuffix(SUFFIX))


def id_in_query(request: web.BaseRequest) -> str:
    """The id in `?id=`, where every id is possible, also `..`, which browsers resolve in paths."""
    for part in request.rel_url.raw_query_string.split("&"):
        name, _, value = part.partition("=")
        if name == "id":
            return _id(value.replace("+", " "))
    raise Problem(400, "no id: expected ?id=ID")


def requested_span(request: web.BaseRequest) -> str:
    """The span of history in `?range=`, by default the shortest; `Problem` 400 if there is no such span."""
    span = request.query.get("range", next(iter(SPANS)))
    if span not in SPANS:
        raise Problem(400, f"unknown range “{span}”: expected one of {', '.join(SPANS)}")
    return span


def _id(quoted: str) -> str:
    try:
        encoded = unquote_to_bytes(quoted)
        text = encoded.decode()
    except UnicodeError:
        raise Problem(400, "invalid id: expected UTF-8") from None
    if not 0 < len(encoded) <= MAX_ID_BYTES:
        raise Problem(400, f"invalid id of {len(encoded)} bytes: expected 1 to {MAX_ID_BYTES}")
    return text
