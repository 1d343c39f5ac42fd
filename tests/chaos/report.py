"""The table of a run: what was done, what was expected, what was seen, and the verdict."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

HEAD = ("scenario", "done", "expected", "seen", "verdict")
LONGEST = 220
"""Characters of a cell, at most."""


class Row(NamedTuple):
    """One check."""

    done: str
    expected: str
    seen: str
    right: bool

    def cells(self, scenario: str) -> tuple[str, ...]:
        """The cells of the table's row."""
        return (scenario, self.done, self.expected, self.seen, "right" if self.right else "WRONG")


def judged(done: str, expected: str, wrong: Sequence[str], right: str = "so it was") -> Row:
    """A row that is right when nothing is wrong."""
    return Row(done, expected, "; ".join(wrong) or right, not wrong)


def table(rows: Iterable[tuple[str, Row]]) -> str:
    """The rows, each with its scenario, as a table of Markdown.

    >>> print(table([("kill", Row("kill -9", "users right", "so it was", True))]))
    | scenario | done | expected | seen | verdict |
    |---|---|---|---|---|
    | kill | kill -9 | users right | so it was | right |
    """
    lines = [HEAD, ("---",) * len(HEAD)]
    lines += [row.cells(scenario) for scenario, row in rows]
    text = ["| " + " | ".join(_escaped(cell) for cell in line) + " |" for line in lines]
    text[1] = "|" + "---|" * len(HEAD)
    return "\n".join(text)


def _escaped(cell: str) -> str:
    flat = " ".join(cell.replace("|", "/").split())
    return flat if len(flat) <= LONGEST else flat[: LONGEST - 1] + "…"
