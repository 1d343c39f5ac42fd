"""An error that is answered as a page."""

from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType

NO_HEADERS: Mapping[str, str] = MappingProxyType({})
RETRY_SOON = MappingProxyType({"Retry-After": "2"})


class Problem(Exception):
    """Answered with its status: a page for people, {"status", "error", "detail"} for programs.

    `detail` says what was wrong, what was expected, what to do.
    """

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] = NO_HEADERS) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, headers

    @property
    def error(self) -> str:
        """The standard phrase of the status."""
        return HTTPStatus(self.status).phrase
