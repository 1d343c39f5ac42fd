"""Read a page of a worker or of the learner as JSON."""

import json
import urllib.request
from http.client import HTTPException
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

TIMEOUT_S = 5.0
_through_proxy = urllib.request.build_opener()
"""Opens as HTTP_PROXY and NO_PROXY say."""
_directly = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Opens pages of this machine: a proxy's loopback is another machine."""


class PageError(Exception):
    """The page does not answer, answers with an error status, or not with JSON."""


def get_json(url: str) -> dict[str, Any]:
    """The page's JSON object.  `PageError` says why there is none."""
    try:
        request = urllib.request.Request(url, headers={"Accept": "application/json"})  # noqa: S310  # the user's
        opener = _directly if _is_loopback(url) else _through_proxy
        with opener.open(request, timeout=TIMEOUT_S) as response:
            page: dict[str, Any] = json.load(response)
    except (OSError, HTTPException, ValueError) as error:
        raise PageError(str(error)) from None
    return page


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
