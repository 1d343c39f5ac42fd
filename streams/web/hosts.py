"""Which `Host` a request may name, so that no stranger's name leads a browser here (DNS rebinding)."""

from ipaddress import ip_address
from typing import Any

from aiohttp import web

from streams.settings import Settings
from streams.web.problem import Problem

LOOPBACK = frozenset({"localhost"})


def allowed(host: str, names: frozenset[str]) -> bool:
    """Whether a `Host` header is fine.  An address always is: only a name can be made to point elsewhere.

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


def names(settings: Settings) -> frozenset[str]:
    """By which the pages may be called."""
    own = {settings.web_host, settings.web_advertised_host or "", *settings.web_allowed_hosts} - {""}
    return LOOPBACK | {name.lower() for name in own}


def guarding(settings: Settings) -> Any:
    """Raises `Problem` 421 for any other name."""
    known = names(settings)

    @web.middleware
    async def guard(request: web.Request, handler: Any) -> web.StreamResponse:
        if not allowed(request.headers.get("Host", ""), known):
            raise Problem(
                421, "Not by this name", "Add the name to FRESHET_WEB_ALLOWED_HOSTS, if it is one of yours."
            )
        return await handler(request)

    return guard
