"""Who may change something: whoever knows the token; nobody where none is configured."""

import hmac
from collections.abc import Mapping

from aiohttp import web

from streams.settings import Settings
from streams.web.problem import Problem

MOST_BYTES = 1_000_000


async def form(request: web.Request) -> dict[str, list[str]]:
    """The fields of a form or of a JSON object in the body; `Problem` 400, 413 or 415 where it is neither."""
    if (request.content_length or 0) > MOST_BYTES:
        raise Problem(413, "Too large", f"A request has at most {MOST_BYTES:,} bytes.")
    if request.content_type == "application/json":
        try:
            found = await request.json()
        except ValueError:
            raise Problem(400, "No JSON", "The body is not one JSON object.") from None
        if not isinstance(found, dict):
            raise Problem(400, "No JSON object", "The body is not one JSON object.")
        return {name: value if isinstance(value, list) else [value] for name, value in found.items()}
    if request.content_type in ("application/x-www-form-urlencoded", "multipart/form-data"):
        fields: dict[str, list[str]] = {}
        for name, value in (await request.post()).items():
            if isinstance(value, str):
                fields.setdefault(name, []).append(value)
        return fields
    raise Problem(415, "Neither form nor JSON", "Send a form, or an object as application/json.")


def authorize(request: web.Request, fields: Mapping[str, list[str]], settings: Settings) -> None:
    """`Problem` 403 where nobody may, 401 for another token than the configured one.

    It comes as `Authorization: Bearer ...` or as the field `token`; no cookie, so no other site can use it.
    """
    if settings.web_token is None:
        raise Problem(403, "LiveSettings are off", "Set FRESHET_WEB_TOKEN on this worker to allow them.")
    scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
    given = bearer.strip() if scheme.lower() == "bearer" else str(next(iter(fields.get("token", [])), ""))
    if not hmac.compare_digest(given.encode(), settings.web_token.get_secret_value().encode()):
        raise Problem(
            401, "Wrong token", "It is the one in FRESHET_WEB_TOKEN.", {"WWW-Authenticate": "Bearer"}
        )
