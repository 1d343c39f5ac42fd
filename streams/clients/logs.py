r"""A log of events, read lazily: a table or JSON lines, plain or gzip, from a file or from stdin.

The first line tells the format and the delimiter, the names of the columns tell the fields, unless they are
chosen.  Every event is one that a worker accepts.  Context columns of a table are text; JSON keeps its types.

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
import re
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any, BinaryIO

from streams.clients.log_errors import BadLog, BadRow, stop
from streams.clients.log_events import events
from streams.clients.log_json import read_json_lines
from streams.clients.log_rows import Reading, read_table
from streams.clients.log_times import Times
from streams.messages import Event, decode_event


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
        """The first event, already read: its time shows whether it is read in the right unit."""
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
    names: Sequence[str] | None = None,
    delimiter: str | None = None,
    time_unit: str | None = None,
    decode: Callable[[bytes], Event] = decode_event,
    on_bad: Callable[[BadRow], None] = stop,
    remark: Callable[[str], None] = lambda text: None,
) -> Log:
    """Open a log, a path, `-` for stdin, or a binary file; `BadLog` where it is not a log.

    columns: column by field, where the common names are not right; an empty column: do not read this field.
        `type` may be `=purchase`, the same for every row, `value` a product: `price*quantity`, and any
        other but the time `userId,anonymousId`: the first that has a value.
    context: columns that are the context of an event.
    names: all columns in order, of a table without a header.
    delimiter: characters between two cells of a table; None: the most frequent one of the first line.
    run: events without an id of their own get `<run>-<line>`.
    time_unit: of times that are numbers, `s`, `ms`, `us` or `ns`; None: the first of them tells.  Other
        times are RFC 3339, UTC unless they say.
    decode: how a worker decodes an event; `Malformed` where it would refuse it.
    on_bad: called with every row that is not a valid event; the row is skipped if it returns.
    remark: called with what the user should know, such as the unit that the times seem to have.
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
    if _ARRAY.match(first):
        raise BadLog("is one JSON array: expected one object a line, as `jq -c '.[]' FILE` writes them")
    read = read_json_lines if first.lstrip().startswith("{") else read_table
    chosen = {field: name for field, name in (columns or {}).items() if name is not None}
    table = read(first, lines, Reading(chosen, context, names, delimiter, on_bad, remark))
    type_column = table.columns.get("type", "")
    log_events = events(table.rows, run, Times(time_unit, remark), type_column, decode, on_bad)
    return Log(table.columns, table.unused, log_events, file)


_ARRAY = re.compile(r"\s*\[\s*(\{|$)")


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
