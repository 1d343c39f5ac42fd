r"""A catalog in a file: a table or JSON lines, plain or gzip, as shops export their products.

>>> import io
>>> file = open_catalog(io.BytesIO(b"id,title,price,availability\ntent,A tent,249.00 EUR,out of stock\n"))
>>> [(item.item, item.title, item.price, item.currency, item.available) for item in file]
[('tent', 'A tent', 249.0, 'EUR', False)]
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, BinaryIO

import msgspec

from streams.catalog_messages import CatalogItem, decode_item
from streams.clients.catalog_cells import FIELDS, ITEM, is_absent, number_or_text, numbers
from streams.clients.log_cells import find_delimiter, read_cells
from streams.clients.log_errors import BadLog, BadRow, stop
from streams.clients.log_ids import Ids
from streams.clients.log_json import json_objects, value_at
from streams.clients.log_lines import fraction, open_lines
from streams.clients.log_times import Times
from streams.messages import Malformed

Record = dict[str, Any]
"""Values by column."""


class CatalogFile:
    """The items of a file, to iterate over once."""

    def __init__(
        self, columns: dict[str, str], unused: list[str], items: Iterator[CatalogItem], file: BinaryIO
    ) -> None:
        self.columns = columns
        """Column by field."""
        self.unused = unused
        """Columns that are not read."""
        self._items, self._file = items, file

    def __iter__(self) -> Iterator[CatalogItem]:
        return self._items

    def fraction(self) -> float | None:
        """How much of the file is read, 0 to 1; None where its size is not known."""
        return fraction(self._file)


def open_catalog(
    source: str | BinaryIO,
    *,
    columns: Mapping[str, str | None] | None = None,
    attributes: Sequence[str] = (),
    vectors: Sequence[str] = (),
    names: Sequence[str] | None = None,
    delimiter: str | None = None,
    on_bad: Callable[[BadRow], None] = stop,
    remark: Callable[[str], None] = lambda text: None,
) -> CatalogFile:
    """Open a catalog, a path, `-` for stdin, or a binary file; `BadLog` where it is not one.

    columns: column by field, where the common names are not right; an empty column: do not read this field.
    attributes, vectors: columns that are attributes, and vectors as lists of numbers.
    names: all columns in order, of a table without a header.
    delimiter: characters between two cells of a table; None: the most frequent one of the first line.
    on_bad: called with every row that is not a valid item; the row is skipped if it returns.
    remark: called with what the user should know, such as the unit that times seem to have.
    """
    first, lines, file = open_lines(source)
    if first.lstrip().startswith("{"):
        present, records = _json_records(first, lines, on_bad)
        fixed = False
    else:
        present, records = _table_records(first, lines, names, delimiter, on_bad)
        fixed = True
    matched = _match(present, columns or {}, (*attributes, *vectors), fixed)
    used = {*matched.values(), *attributes, *vectors} | (set() if fixed else {"attributes", "vectors"})
    roots = {name.partition(".")[0] for name in used}
    read = _Reading(matched, attributes, vectors, remark)
    items = _items(records, read, on_bad)
    shown = {field: name for field, name in matched.items() if name in present or (columns or {}).get(field)}
    return CatalogFile(shown, [name for name in present if name not in {*used, *roots, "-"}], items, file)


def _table_records(
    first: str,
    lines: Iterable[str],
    names: Sequence[str] | None,
    delimiter: str | None,
    on_bad: Callable[[BadRow], None],
) -> tuple[list[str], Iterator[tuple[int, Record]]]:
    cells = read_cells(first, lines, delimiter or find_delimiter(first), on_bad)
    number, row = next(cells)
    header = [name.strip() for name in (row if names is None else names)]
    if len(header) != len(row):
        raise BadLog(f"has {len(row)} cells in its first line, and --columns names {len(header)}")
    if twice := [name for name, count in Counter(header).items() if count > 1 and name not in ("", "-")]:
        raise BadLog(f"has two columns {twice[0]}: rename one, or name all columns with --columns")
    rows = cells if names is None else chain([(number, row)], cells)
    return header, ((line, dict(zip(header, row, strict=True))) for line, row in rows)


def _json_records(
    first: str, lines: Iterable[str], on_bad: Callable[[BadRow], None]
) -> tuple[list[str], Iterator[tuple[int, Record]]]:
    try:
        present = list(msgspec.json.decode(first, type=dict[str, Any]))
    except (msgspec.ValidationError, msgspec.DecodeError, UnicodeEncodeError) as error:
        raise BadLog(f"is not valid JSON lines: line 1: {error}") from None
    return present, json_objects(chain([first], lines), on_bad)


def _match(
    present: Sequence[str], chosen: Mapping[str, str | None], further: Sequence[str], fixed: bool
) -> dict[str, str]:
    """Column by field; `BadLog` where the item's is missing, or in a table another that was chosen."""
    by_lower = {name.lower(): name for name in reversed(present)}
    matched = {}
    for field, names in (("item", ITEM), *((field, names) for field, (names, _) in FIELDS.items())):
        common = next((by_lower[name] for name in names if name in by_lower), "" if fixed else names[0])
        column = chosen.get(field)
        if column := common if column is None else column:
            matched[field] = column
    listing = ", ".join(present)
    if matched.get("item", "") not in present and "." not in matched.get("item", ""):
        raise BadLog(f"has no column for the item: name it with --item; it has {listing}")
    for name in (*matched.values(), *further):
        if fixed and name not in present:
            raise BadLog(f"has no column {name}; it has {listing}")
    return matched


class _Reading:
    """Turns rows into items."""

    def __init__(
        self,
        columns: dict[str, str],
        attributes: Sequence[str],
        vectors: Sequence[str],
        remark: Callable[[str], None],
    ) -> None:
        self._columns, self._attributes, self._vectors = columns, attributes, vectors
        self._ids, times = Ids(remark), Times(None, remark)
        meanings = {field: meaning for field, (_, meaning) in FIELDS.items()}
        self._meanings = meanings | {
            name: lambda cell: times.ms(_stripped(cell)) for name in ("from", "until")
        }

    def item(self, record: Record) -> CatalogItem:
        """The item of a row, as a worker reads it; `ValueError` or `Malformed` if it is not a valid one."""
        item = self._ids.text(_stripped(value_at(record, self._columns["item"])))
        if item is None:
            raise ValueError("has no item")
        fields: dict[str, Any] = {"item": item}
        for field, meaning in self._meanings.items():
            value = value_at(record, self._columns[field]) if field in self._columns else None
            if not is_absent(value):
                fields[field] = meaning(value)
        if "price" in fields:
            fields["price"], currency = fields["price"]
            if currency:
                fields.setdefault("currency", currency)
        own = {"attributes": record.get("attributes"), "vectors": record.get("vectors")}  # as on the topic
        fields |= {name: value for name, value in own.items() if isinstance(value, dict)}
        for name, columns, meaning in (
            ("attributes", self._attributes, number_or_text),
            ("vectors", self._vectors, numbers),
        ):
            values = {column: value_at(record, column) for column in columns}
            present = {column: meaning(value) for column, value in values.items() if not is_absent(value)}
            if present:
                fields[name] = fields.get(name, {}) | present
        return decode_item(item.encode(), msgspec.json.encode(fields))


def _items(
    records: Iterable[tuple[int, Record]], reading: _Reading, on_bad: Callable[[BadRow], None]
) -> Iterator[CatalogItem]:
    for line, record in records:
        try:
            item = reading.item(record)
        except (ValueError, Malformed) as error:
            on_bad(BadRow(line, str(error)))
        else:
            yield item


def _stripped(value: Any) -> Any:
    return value.strip() if isinstance(value, str) else value
