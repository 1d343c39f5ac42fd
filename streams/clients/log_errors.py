"""Errors of reading a log."""

from typing import NoReturn

from streams.errors import UserError


class BadLog(UserError):
    """A log that cannot be read at all; the message says why in one line, without the name of the file."""


class BadRow(Exception):
    """A row that is not a valid event, or lines that are not a row."""

    def __init__(self, line: int, reason: str, lines: int = 1) -> None:
        """lines: how many lines are not read, from `line` on."""
        super().__init__(f"line {line}: {reason}")
        self.line, self.reason, self.lines = line, reason, lines


def stop(bad: BadRow) -> NoReturn:
    """Raise the bad row: the default of what to do with one."""
    raise bad
