"""What went wrong, as a page."""

from collections.abc import Mapping

Headers = Mapping[str, str]
NONE: Headers = {}


class Problem(Exception):
    """Answered with its status: a page for people, {"status", "error", "detail"} for programs."""

    def __init__(
        self, status: int, error: str, detail: str = "", headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(error)
        self.status, self.error, self.detail, self.headers = status, error, detail, headers or {}
