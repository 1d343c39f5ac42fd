"""Errors of reading a log."""

from typing import NoReturn

from streams.errors import UserError


class BadLog(UserError):
    """A log that cannot be read at all; the message says why in one line, without the name of the file."""


class BadRow(Exception):
    """A row that is not a valid event."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")
        self.line, self.reason = line, reason


def stop(bad: BadRow) -> NoReturn:
    """Raise the bad row: the default of what to do with one."""
    raise bad
