"""Which requests are accepted: by the `Host` that they name, and by their token if they change something."""

import hmac
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from streams.settings import Settings
from streams.web.problem import Problem

LOOPBACK = frozenset({"localhost"})
MAX_BODY_BYTES = 1_000_000


def allowed(host: str, names: frozenset[str]) -> bool:
    """Whether a `Host` header is accepted.  An IP address always is: only a name can be made to resolve here.

    >>> names = frozenset({"localhost", "shop.example"})
    >>> [allowed(h, names) for h in ("shop.example:6066", "LOCALHOST", "127.0.0.1:6066", "[::1]:6066")]
    [True, True, True, True]
    >>> [allowed(h, names) for h in ("evil.example", "shop.example.evil", "127.0.0.1.evil.example", "")]
    [False, False, False, False]
    """
    name = host.lower()
    if name.startswith("["):
        name = name[1:].partition("]")[0]
    elif name.count(":") == 1:
        name = name.partition(":")[0]
    try:
        ip_address(name)
    except ValueError:
        return name.removesuffix(".") in names
    return True


def host_names(settings: Settings) -> frozenset[str]:
    """The host names of the pages, in lower case."""
    own = {settings.web_host, settings.web_advertised_host or "", *settings.web_allowed_hosts} - {""}
    return LOOPBACK | {name.lower() for name in own}


def check_host(settings: Settings) -> Any:
    """Middleware that raises `Problem` 421 for any other name, against DNS rebinding."""
    names = host_names(settings)

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        host = request.headers.get("Host", "")
        if not allowed(host, names):
            raise Problem(
                421,
                f"unexpected Host “{host}”: expected an IP address or a name of this worker;"
                " if it is one, add it to FRESHET_WEB_ALLOWED_HOSTS",
            )
        return await handler(request)

    return check


async def form_fields(request: web.Request) -> dict[str, list[Any]]:
    """The fields of a form, or of a JSON object, in the body; `Problem` 400, 413 or 415 if it is neither."""
    if (request.content_length or 0) > MAX_BODY_BYTES:
        raise Problem(
            413, f"body of {request.content_length:,} bytes: at most {MAX_BODY_BYTES:,} are accepted"
        )
    if request.content_type == "application/json":
        try:
            body = await request.json()
        except ValueError:
            raise Problem(400, "invalid JSON in the body: expected one JSON object") from None
        if not isinstance(body, dict):
            raise Problem(400, "unexpected JSON in the body: expected one JSON object")
        return {name: value if isinstance(value, list) else [value] for name, value in body.items()}
    if request.content_type in ("application/x-www-form-urlencoded", "multipart/form-data"):
        fields: dict[str, list[Any]] = {}
        for name, value in (await request.post()).items():
            if isinstance(value, str):
                fields.setdefault(name, []).append(value)
        return fields
    raise Problem(415, f"unexpected Content-Type {request.content_type}: expected a form or application/json")


def authorize(request: web.Request, fields: Mapping[str, list[Any]], settings: Settings) -> None:
    """Raise `Problem` 403 if no token is configured, 401 if the request has another one.

    The token comes as `Authorization: Bearer ...` or as the field `token`, never as a cookie: so no other
    site can have a browser send it.
    """
    if settings.web_token is None:
        raise Problem(403, "changes are turned off: set FRESHET_WEB_TOKEN on this worker to allow them")
    scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
    token = bearer.strip() if scheme.lower() == "bearer" else str(next(iter(fields.get("token", [])), ""))
    if not hmac.compare_digest(token.encode(), settings.web_token.get_secret_value().encode()):
        raise Problem(
            401, "wrong token: expected the one in FRESHET_WEB_TOKEN", {"WWW-Authenticate": "Bearer"}
        )
