"""The rows of a log: CSV and JSON lines come down to the same kind of row."""

import csv
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any, NamedTuple

import msgspec

from streams.clients.log_columns import NAMES, match_columns, source_columns
from streams.clients.log_errors import BadLog, BadRow

TEXT_FIELDS = ("user", "item", "type", "event_id", "session", "recommendation_id")

Row = tuple[int, Sequence[str | None], Any, Sequence[Any], dict[str, Any]]
"""Line number, the `TEXT_FIELDS`, time, the factors of the value, context."""


class Table(NamedTuple):
    """A log as rows."""

    columns: dict[str, str]
    """Column by field, for the fields that the log has."""
    names: list[str]
    """All columns, but a column of contexts."""
    rows: Iterator[Row]


def read_csv(
    first: str,
    lines: Iterable[str],
    chosen: dict[str, str],
    context: Sequence[str],
    on_bad: Callable[[BadRow], None],
) -> Table:
    """A CSV log with its header line `first`, delimited by `,`, tab or `;`, the most frequent in the header.

    `BadLog` where a column is missing, also while the rows are read if the file breaks off.
    """
    reader = csv.reader(chain([first], lines), delimiter=max(",\t;", key=first.count))
    header = [name.strip() for name in next(reader)]
    columns = match_columns(header, chosen, context)

    def rows() -> Iterator[Row]:
        width = len(header)
        position = {name: i for i, name in enumerate(header)}
        # A row gets one more cell, an empty one, for the fields that the log does not have.
        text_cells = itemgetter(
            *(position[names[0]] if (names := source_columns(f, columns)) else width for f in TEXT_FIELDS)
        )
        time = position[columns["time"]]
        factors = [position[name] for name in source_columns("value", columns)]
        context_cells = [(name, position[name]) for name in context]
        while True:
            try:
                for row in reader:
                    if len(row) != width:
                        if row:  # else an empty line, which is not a row
                            on_bad(BadRow(reader.line_num, f"has {len(row)} cells, expected {width}"))
                        continue
                    if not (line := "".join(row)).isascii() and not _is_utf8(line):
                        on_bad(BadRow(reader.line_num, "is not UTF-8"))
                        continue
                    row.append("")
                    value = [row[i] for i in factors] if factors else ()
                    described = {name: row[i] for name, i in context_cells if row[i]} if context_cells else {}
                    yield reader.line_num, text_cells(row), row[time], value, described
                return
            except csv.Error as error:  # a cell beyond csv's limit: the reader continues with the next row
                on_bad(BadRow(reader.line_num, str(error)))
            except (OSError, EOFError, zlib.error) as error:
                raise BadLog(f"breaks off after line {reader.line_num}: {error}") from None

    return Table(columns, header, rows())


def _is_utf8(text: str) -> bool:
    """Whether it was UTF-8 before it was decoded with `surrogateescape`."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def read_json_lines(
    first: str,
    lines: Iterable[str],
    chosen: dict[str, str],
    context: Sequence[str],
    on_bad: Callable[[BadRow], None],
) -> Table:
    """A log of JSON lines, each an object; its columns are those of the first line, `first`.

    `BadLog` where a column is missing, also while the rows are read if the file breaks off.
    """
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    try:
        names = list(decode(first))
    except ValueError as error:
        raise BadLog(f"is not valid JSON lines: line 1: {error}") from None
    columns = match_columns(names, chosen, [])

    def rows() -> Iterator[Row]:
        # What the first line lacks may come later, by the name that it has in an event.
        all_columns = {f: f for f in NAMES if f not in chosen} | columns
        text_names = [sources[0] if (sources := source_columns(f, all_columns)) else "" for f in TEXT_FIELDS]
        factors = source_columns("value", all_columns)
        number = 0
        try:
            for number, line in enumerate(chain([first], lines), 1):
                if line.isspace():
                    continue
                try:
                    record = decode(line)
                except ValueError as error:
                    on_bad(BadRow(number, f"is not a JSON object: {error}"))
                    continue
                try:
                    texts = [_text(record.get(name)) for name in text_names]
                    value = [v for name in factors if (v := record.get(name)) is not None]
                    described = {name: record[name] for name in context if name in record}
                    described |= record.get("context") or {}
                except (ValueError, TypeError) as error:
                    on_bad(BadRow(number, str(error)))
                else:
                    yield number, texts, record.get(all_columns["time"]), value, described
        except (OSError, EOFError, zlib.error) as error:
            raise BadLog(f"breaks off after line {number}: {error}") from None

    return Table(columns, [name for name in names if name != "context"], rows())


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise ValueError(f"invalid id {value!r}: expected a string or a whole number")
