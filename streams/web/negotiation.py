"""HTML or JSON, and which id: what a request asks for."""

from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

from aiohttp import web

from streams.messages import MAX_ID_BYTES
from streams.web.problem import Problem

SUFFIX = ".json"


def wants_html(accept: str) -> bool:
    """Whether the `Accept` header names HTML, and JSON no more than that.  `*/*` is a program's.

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
    """The id after `prefix` in the path, slashes and all.  One `.json` at its end is not of the id.

    So `/users/a.json` is user `a` as JSON; the user `a.json` is `/users/a.json.json`, or
    `/users?id=a.json`.  `Problem` 400 for one that no user or item can have.
    """
    return _id(request.rel_url.raw_path.removeprefix(prefix).removesuffix(SUFFIX))


def id_in_query(request: web.BaseRequest) -> str:
    """The id in `?id=`; takes every id, also `..`, which browsers cut out of paths."""
    for part in request.rel_url.raw_query_string.split("&"):
        name, _, value = part.partition("=")
        if name == "id":
            return _id(value.replace("+", " "))
    raise Problem(400, "Which one?", "Add the id to the address: ?id=…")


def _id(quoted: str) -> str:
    try:
        found = unquote_to_bytes(quoted)
        text = found.decode()
    except UnicodeError:
        raise Problem(400, "No id", "The id in this address is not UTF-8.") from None
    if not found or len(found) > MAX_ID_BYTES:
        raise Problem(400, "No id", f"An id has 1 to {MAX_ID_BYTES} bytes of UTF-8, this has {len(found)}.")
    return text
