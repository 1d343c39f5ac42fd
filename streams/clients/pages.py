"""Read a page of a worker or of the learner as JSON."""

import json
import urllib.request
from http.client import HTTPException
from typing import Any

TIMEOUT_S = 5.0


class PageError(Exception):
    """The page does not answer, answers with an error status, or not with JSON."""


def get_json(url: str) -> dict[str, Any]:
    """The page's JSON object.  `PageError` says why there is none."""
    try:
        request = urllib.request.Request(url, headers={"Accept": "application/json"})  # noqa: S310  # the user's
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310  # likewise
            page: dict[str, Any] = json.load(response)
    except (OSError, HTTPException, ValueError) as error:
        raise PageError(str(error)) from None
    return page
