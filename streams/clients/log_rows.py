"""The rows of a log: tables and JSON lines come down to the same kind of row."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any, NamedTuple

from streams.clients.log_cells import find_delimiter, read_cells
from streams.clients.log_columns import UNREAD, match_columns, source_columns
from streams.clients.log_errors import BadLog, BadRow
from streams.clients.log_ids import NO_VALUE, Ids
from streams.clients.log_times import is_time

TEXT_FIELDS = ("user", "item", "type", "event_id", "session", "recommendation_id")

Row = tuple[int, Sequence[str | None], Any, Sequence[Any], dict[str, Any]]
"""Line number, the `TEXT_FIELDS`, time, the factors of the value, context."""


class Reading(NamedTuple):
    """How the rows of a log are to be read."""

    chosen: dict[str, str]
    """Column by field, where the common names are not right."""
    context: Sequence[str]
    """Columns that are the context of an event."""
    names: Sequence[str] | None
    """All columns in order, of a table without a header; None: the first line names them."""
    delimiter: str | None
    """Characters between two cells; None: the first line tells."""
    on_bad: Callable[[BadRow], None]
    """Called with every row that cannot be read."""
    remark: Callable[[str], None]
    """Called with what the user should know about the log."""


class Table(NamedTuple):
    """A log as rows."""

    columns: dict[str, str]
    """Column by field, for the fields that the log has."""
    unused: list[str]
    """Columns that are not read."""
    rows: Iterator[Row]


def read_table(first: str, lines: Iterable[str], reading: Reading) -> Table:
    """A log of cells, such as CSV, whose first line is `first`; blanks around a cell are not part of it.

    `BadLog` where a column is missing, also while the rows are read if the file breaks off.
    """
    delimiter = reading.delimiter or find_delimiter(first)
    cells = read_cells(first, lines, delimiter, reading.on_bad)
    _, row = next(cells)
    header = [name.strip() for name in (row if reading.names is None else reading.names)]
    if reading.names is None:
        columns = _named_columns(header, first, reading)
    else:
        if len(header) != len(row):
            raise BadLog(
                f"has {len(row)} cells in its first line, and --columns names {len(header)}:"
                " name each, and - where one is not read"
            )
        columns = match_columns(header, reading.chosen, reading.context)
        cells = chain([(1, row)], cells)
    position = {name: i for i, name in enumerate(header)}
    used = {*reading.context, *(name for field in columns for name in source_columns(field, columns))}
    unused = [name for name in header if name not in used and name not in UNREAD]
    return Table(columns, unused, _table_rows(cells, position, columns, reading))


def _named_columns(header: list[str], first: str, reading: Reading) -> dict[str, str]:
    """The columns of a table by its header; `BadLog` says what to do where that is no header."""
    has_data = any(map(is_time, header))
    try:
        columns = match_columns(header, reading.chosen, reading.context)
    except BadLog as error:
        if not has_data:
            hint = "; name its delimiter with --delimiter" if len(header) == 1 else ""
            raise BadLog(f"{error}{hint}") from None
    else:
        if not is_time(columns["time"]):
            return columns
    raise BadLog(
        f"has no header: its first line is {first.strip()!r}; name all columns in their order, with - for"
        " one that is not read, such as --columns user,item,-,time"
    )


def _table_rows(
    cells: Iterable[tuple[int, list[str]]],
    position: dict[str, int],
    columns: dict[str, str],
    reading: Reading,
) -> Iterator[Row]:
    # A row gets one more cell, an empty one, for the fields that the log does not have.
    sources = [[position[name] for name in source_columns(f, columns)] for f in TEXT_FIELDS]
    first_cells = itemgetter(*(places[0] if places else -1 for places in sources))
    further = [(n, places[1:]) for n, places in enumerate(sources) if len(places) > 1]
    time = position[columns["time"]]
    factors = [position[name] for name in source_columns("value", columns)]
    context_cells = [(name, position[name]) for name in reading.context]
    text = Ids(reading.remark).text
    for line, row in cells:
        row.append("")
        texts = [text(cell.strip()) for cell in first_cells(row)]
        for n, places in further:
            texts[n] = texts[n] or next((t for i in places if (t := text(row[i].strip()))), None)
        value = [row[i].strip() for i in factors] if factors else ()
        context = (
            {name: row[i] for name, i in context_cells if row[i] not in NO_VALUE} if context_cells else {}
        )
        yield line, texts, row[time], value, context
