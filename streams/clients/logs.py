r"""A log of events, read lazily: CSV or JSON lines, plain or gzip, from a file or from stdin.

The first bytes tell the format, the names of the columns tell the fields, unless columns are chosen.
Context columns of a CSV are text; JSON keeps its types.

    >>> import io
    >>> log = open_log(io.BytesIO(b"timestamp,user_id,item_id\n5,ann,tent\n"), run="r")
    >>> log.columns
    {'user': 'user_id', 'item': 'item_id', 'time': 'timestamp'}
    >>> [(event.event_id, event.user, event.type, event.time) for event in log]
    [('r-2', 'ann', 'view', 5)]
"""

import gzip
import io
import os
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any, BinaryIO

from streams.clients.log_columns import source_columns
from streams.clients.log_errors import BadLog, BadRow, stop
from streams.clients.log_events import TIME_UNIT_MS, events
from streams.clients.log_rows import read_csv, read_json_lines
from streams.messages import Event


class Log:
    """The events of one log, to iterate over once."""

    def __init__(
        self, columns: dict[str, str], unused: list[str], events: Iterator[Event], source: BinaryIO
    ) -> None:
        self.columns = columns
        """Column by field of an event."""
        self.unused = unused
        """Columns that are not read."""
        self._source = source
        self.first = next(events, None)
        """The first event, already read: its time shows whether the unit is right."""
        self._events = events if self.first is None else chain([self.first], events)
        self._size = os.fstat(source.fileno()).st_size if isinstance(source, io.BufferedReader) else 0

    def __iter__(self) -> Iterator[Event]:
        return self._events

    def fraction(self) -> float | None:
        """How much of the file is read, 0 to 1; None where its size is not known."""
        if not self._size:
            return None
        return 1.0 if self._source.closed else min(1.0, self._source.tell() / self._size)


def open_log(
    source: str | BinaryIO,
    *,
    run: str,
    columns: dict[str, str | None] | None = None,
    context: Sequence[str] = (),
    time_unit: str = "ms",
    on_bad: Callable[[BadRow], None] = stop,
) -> Log:
    """Open a log, a path, `-` for stdin, or a binary file; `BadLog` where it is not a log.

    columns: column by field, where the common names are not right; an empty column: do not read this field.
        `type` may be `=purchase`, the same for every row, and `value` a product: `price*quantity`.
    context: columns that are the context of an event.
    run: events without an id of their own get `<run>-<line>`.
    time_unit: of times that are numbers, `ms` or `s`; other times are RFC 3339, UTC unless they say.
    on_bad: called with every row that is not a valid event; the row is skipped if it returns.
    """
    file = _open(source)
    lines = io.TextIOWrapper(_unzipped(file), encoding="utf-8-sig", errors="surrogateescape", newline="")
    try:
        first = lines.readline()
    except (OSError, EOFError, zlib.error) as error:
        raise BadLog(f"cannot be read: {error}") from None
    if not first.strip():
        raise BadLog("is empty")
    if "\0" in first:
        raise BadLog("is not text: expected CSV or JSON lines, plain or gzip")
    read = read_json_lines if first.lstrip().startswith("{") else read_csv
    chosen = {field: name for field, name in (columns or {}).items() if name is not None}
    table = read(first, lines, chosen, context, on_bad)
    used = {*context, *(name for field in table.columns for name in source_columns(field, table.columns))}
    unused = [name for name in table.names if name not in used]
    type_column = table.columns.get("type", "")
    log_events = events(table.rows, run, TIME_UNIT_MS[time_unit], type_column, on_bad)
    return Log(table.columns, unused, log_events, file)


def _open(source: str | BinaryIO) -> BinaryIO:
    if not isinstance(source, str):
        return source
    try:
        return sys.stdin.buffer if source == "-" else open(source, "rb")
    except OSError as error:
        raise BadLog(f"cannot be opened: {error.strerror}") from None


def _unzipped(file: BinaryIO) -> Any:
    peekable: Any = file
    if not hasattr(file, "peek"):
        peekable = io.BufferedReader(peekable)
    return gzip.GzipFile(fileobj=peekable) if peekable.peek(2)[:2] == b"\x1f\x8b" else peekable
