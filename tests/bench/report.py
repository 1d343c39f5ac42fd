"""Figures beside their bars, printed as text, as Markdown or as JSON."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """One figure, with the bar that the project promised; a figure without a bar is there for comparison."""

    part: str
    what: str
    value: float | None
    """None if it could not be measured: its bar is then missed."""
    unit: str
    at_least: float | None = None
    at_most: float | None = None
    note: str = ""
    details: dict[str, Any] = field(default_factory=dict)
    """The measurements behind the figure; in the JSON only."""

    @property
    def figure(self) -> str:
        """The value with its unit.

        >>> Row("p", "w", 15700.4, "events/s").figure, Row("p", "w", 3.25, "ms").figure
        ('15,700 events/s', '3.25 ms')
        """
        return _number(self.value, self.unit)

    @property
    def bar(self) -> str:
        """The bar with its unit; empty without a bar."""
        if self.at_least is not None:
            return f"≥ {_number(self.at_least, self.unit)}"
        return f"≤ {_number(self.at_most, self.unit)}" if self.at_most is not None else ""

    @property
    def verdict(self) -> str:
        """`ok` or `MISSED`; empty without a bar.

        >>> Row("p", "w", 9, "ms", at_most=6).verdict, Row("p", "w", 9, "ms", at_least=6).verdict
        ('MISSED', 'ok')
        """
        if self.at_least is None and self.at_most is None:
            return ""
        if self.value is None:
            return "MISSED"
        low = self.at_least is not None and self.value < self.at_least
        high = self.at_most is not None and self.value > self.at_most
        return "MISSED" if low or high else "ok"

    @property
    def cells(self) -> tuple[str, ...]:
        """The cells of the table's row."""
        return (self.part, self.what, self.figure, self.bar, self.verdict, self.note)


HEAD = ("part", "what", "figure", "bar", "verdict", "note")


def _number(value: float | None, unit: str) -> str:
    if value is None:
        return "none"
    text = f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
    return f"{text} {unit}".strip()


def quantile(values: Sequence[float], share: float) -> float | None:
    """The value below which a share of the values lies; None without values.

    >>> quantile([3, 1, 2], 0.5)
    2
    """
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else None


def lines(header: dict[str, str], rows: Iterable[Row]) -> Iterable[str]:
    """The header and the table as lines of text."""
    for name, value in header.items():
        yield f"{name:10} {value}"
    yield ""
    table = [HEAD, *(row.cells for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for cells in table:
        yield "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def markdown(header: dict[str, str], rows: Iterable[Row]) -> Iterable[str]:
    """The header and the table as Markdown, for docs/results.md."""
    yield from (f"- {name}: {value}" for name, value in header.items())
    yield ""
    for cells in (HEAD, ("---", "---", "---:", "---:", "---", "---"), *(row.cells for row in rows)):
        yield f"| {' | '.join(cells)} |"


def as_json(header: dict[str, str], rows: Iterable[Row]) -> dict[str, Any]:
    """The header and the figures as JSON, with the details."""
    return {"header": header, "rows": [asdict(row) | {"verdict": row.verdict} for row in rows]}
