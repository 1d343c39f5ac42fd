"""A log of JSON lines; `properties.product_id` names a field inside an object."""

import zlib
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any

import msgspec

from streams.clients.log_columns import NAMES, REQUIRED, match_columns, source_columns
from streams.clients.log_errors import BadLog, BadRow
from streams.clients.log_ids import Ids
from streams.clients.log_rows import TEXT_FIELDS, Reading, Row, Table

_decode = msgspec.json.Decoder(dict[str, Any]).decode


def read_json_lines(first: str, lines: Iterable[str], reading: Reading) -> Table:
    """A log of JSON lines, each an object; those of the first line, `first`, tell the columns.

    Where a line has the names of an event (`user`, `item`, `time`), its `context` is the event's; in other
    logs an object of that name means something else.  `BadLog` where a column is missing, also while the
    rows are read if the file breaks off.
    """
    if reading.names is not None or reading.delimiter is not None:
        raise BadLog("has JSON lines: --columns and --delimiter are for tables")
    try:
        record = _decode(first)
    except ValueError as error:
        raise BadLog(f"is not valid JSON lines: line 1: {error}") from None
    names = list(record)
    columns = match_columns(names, reading.chosen, reading.context, fixed=False)
    # What the first line lacks may come later, by the name that it has in an event.
    columns_of_later = {field: field for field in NAMES if field not in reading.chosen} | columns
    for field in reading.chosen:
        sources = source_columns(field, columns)
        if sources and all(value_at(record, name) is None for name in sources):
            reading.remark(f"line 1 has no {columns[field]}; it has {', '.join(names)}")
    context = list(reading.context)
    if all(columns[field] == field for field in REQUIRED) and "context" not in context:
        context.append("context")
    used = {*context, *(name for field in columns for name in source_columns(field, columns))}
    unused = [name for name in names if name not in used and not any(u.startswith(f"{name}.") for u in used)]
    rows = _json_rows(chain([first], lines), columns_of_later, context, reading)
    return Table(columns, unused, rows)


def _json_rows(
    lines: Iterable[str], columns: dict[str, str], context: list[str], reading: Reading
) -> Iterator[Row]:
    sources = [source_columns(field, columns) for field in TEXT_FIELDS]
    factors = source_columns("value", columns)
    unseen = {name for field in reading.chosen for name in source_columns(field, columns)} | {
        *reading.context
    }
    text = Ids(reading.remark).text
    for number, record in json_objects(lines, reading.on_bad):
        if unseen:
            unseen -= {name for name in unseen if value_at(record, name) is not None}
        try:
            texts = [_first(record, names, text) for names in sources]
            described = _context(record, context)
        except ValueError as error:
            reading.on_bad(BadRow(number, str(error)))
            continue
        value = [value_at(record, name) for name in factors]
        yield number, texts, value_at(record, columns["time"]), value, described
    if unseen:
        reading.remark(f"no line has {', '.join(sorted(unseen))}")


def json_objects(
    lines: Iterable[str], on_bad: Callable[[BadRow], None]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number and object of each line that is not blank; `BadLog` if the file breaks off.

    `on_bad` is called with a line that is not an object.
    """
    number = 0
    try:
        for number, line in enumerate(lines, 1):
            if line.isspace():
                continue
            try:
                record = _decode(line)
            except ValueError as error:
                on_bad(BadRow(number, f"is not a JSON object: {error}"))
                continue
            yield number, record
    except (OSError, EOFError, zlib.error) as error:
        raise BadLog(f"breaks off after line {number}: {error}") from None


def _first(record: dict[str, Any], names: list[str], text: Callable[[Any], str | None]) -> str | None:
    """The first of these fields that has a value, as a text."""
    for name in names:
        if (value := text(value_at(record, name))) is not None:
            return value
    return None


def _context(record: dict[str, Any], names: list[str]) -> dict[str, Any]:
    context: dict[str, Any] = {}
    for name in names:
        value = value_at(record, name)
        if value is None:
            continue
        if name != "context":
            context[name] = value
        elif isinstance(value, dict):
            context |= value
        elif value:
            raise ValueError("context is not an object")
    return context


def value_at(record: dict[str, Any], name: str) -> Any:
    """The value of a field, or of a field inside objects by its dotted path; None where there is none.

    >>> value_at({"properties": {"product_id": "p1"}}, "properties.product_id")
    'p1'
    """
    if name in record or "." not in name:
        return record.get(name)
    head, _, rest = name.partition(".")
    inner = record.get(head)
    return value_at(inner, rest) if isinstance(inner, dict) else None
