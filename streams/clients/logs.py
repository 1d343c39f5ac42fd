r"""A log of events, read lazily: CSV or JSON lines, plain or gzip, from a file or from stdin.

The format is told by the first bytes, the columns by their names; what the log calls them can be
given instead.  A CSV's context columns are taken as text; JSON keeps its types.

    >>> import io
    >>> log = open_log(io.BytesIO(b"timestamp,user_id,item_id\\n5,ann,tent\\n"), run="r")
    >>> log.columns
    {'user': 'user_id', 'item': 'item_id', 'time': 'timestamp'}
    >>> [(event.event_id, event.user, event.type, event.time) for event in log]
    [('r-2', 'ann', 'view', 5)]
"""

import csv
import gzip
import io
import math
import os
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import chain
from operator import itemgetter
from typing import Any, BinaryIO, NoReturn

import msgspec

from streams.errors import UserError
from streams.messages import MAX_TIME_MS, Event

NAMES = {
    "user": ("user", "user_id", "userid", "visitorid", "visitor_id", "session_id", "sessionid"),
    "item": ("item", "item_id", "itemid", "product_id", "productid"),
    "type": ("type", "event", "event_type", "action"),
    "time": ("time", "timestamp", "ts", "event_time"),
    "event_id": ("event_id", "eventid"),
    "session": ("session", "session_id", "sessionid"),
    "value": ("value",),
    "recommendation_id": ("recommendation_id",),
}
"""What logs call the fields of an event, best first; case does not matter.  A log of sessions without
users is read as if each session were a user of its own."""

NEEDED = ("user", "item", "time")
DEFAULT_TYPE = "view"
MAYBE_SECONDS = 10**8, 10**11
"""A first time between these is in 1970 in ms, and of 1973 to 5138 in seconds."""
UNIT_MS = {"ms": 1, "s": 1000}


class BadLog(UserError):
    """A log that cannot be read at all; the message says why, on one line."""


class BadRow(Exception):
    """A row that is no event."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")
        self.line, self.reason = line, reason


def stop(bad: BadRow) -> NoReturn:
    """The default for a bad row: raise it."""
    raise bad


class Log:
    """The events of one log, once: iterate.  `columns` are those of its columns that are used."""

    def __init__(
        self, columns: dict[str, str], unused: list[str], events: Iterator[Event], source: BinaryIO
    ) -> None:
        self.columns, self.unused, self._source = columns, unused, source
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
    """Open a log; `BadLog` where it is none.

    columns: field ▶ column, where the common names are not right; an empty one is "take none".
        `type` may be `=purchase`, the same for every row, and `value` a product: `price*quantity`.
    run: events without an id of their own get `<run>-<line>`.
    time_unit: of times that are numbers, `ms` or `s`; other times are RFC 3339, UTC unless they say.
    on_bad: called with every row that is no event; returns to skip it.
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
        raise BadLog("is no text: CSV or JSON lines, plain or gzip")
    read = _json if first.lstrip().startswith("{") else _csv
    given = {field: name for field, name in (columns or {}).items() if name is not None}
    taken, names, rows = read(first, lines, given, context, on_bad)
    used = {*context, *(name for field in taken for name in _parts(field, taken))}
    unused = [name for name in names if name not in used]
    return Log(taken, unused, _events(rows, run, UNIT_MS[time_unit], taken.get("type", ""), on_bad), file)


def _open(source: str | BinaryIO) -> BinaryIO:
    if not isinstance(source, str):
        return source
    try:
        return sys.stdin.buffer if source == "-" else open(source, "rb")
    except OSError as error:
        raise BadLog(f"cannot be opened: {error.strerror}") from None


def _unzipped(file: BinaryIO) -> Any:
    peekable: Any = file if hasattr(file, "peek") else io.BufferedReader(file)  # type: ignore[arg-type]
    return gzip.GzipFile(fileobj=peekable) if peekable.peek(2)[:2] == b"\x1f\x8b" else peekable


_TEXTS = ("user", "item", "type", "event_id", "session", "recommendation_id")
_Row = tuple[int, Sequence[str | None], Any, Sequence[Any], dict[str, Any]]
"""Line, the `_TEXTS`, time, the factors of the value, context: what both formats come down to."""


def _columns(there: Iterable[str], given: dict[str, str], context: Sequence[str]) -> dict[str, str]:
    """Field ▶ column of this log, for those fields that it has."""
    names = [name.strip() for name in there]
    taken = {}
    for field in NAMES:
        column = given.get(field, _find(field, names))
        if column:
            taken[field] = column
    wanted = [name for field in taken for name in _parts(field, taken)]
    for name in [*wanted, *context]:
        if name not in names:
            raise BadLog(f"has no column {name}; it has {', '.join(names)}")
    for field in NEEDED:
        if field not in taken:
            raise BadLog(f"has no column for the {field}: name it with --{field}; it has {', '.join(names)}")
    return taken


def _find(field: str, names: list[str]) -> str | None:
    known = {name.lower(): name for name in names}
    if field == "value" and "value" not in known and {"price", "quantity"} <= set(known):
        return f"{known['price']}*{known['quantity']}"
    return next((known[name] for name in NAMES[field] if name in known), None)


def _parts(field: str, taken: dict[str, str]) -> list[str]:
    """The columns behind a field: one; none for a constant; several for a product."""
    column = taken.get(field, "=")
    return [] if column.startswith("=") else column.split("*") if field == "value" else [column]


def _csv(
    first: str,
    lines: Iterable[str],
    given: dict[str, str],
    context: Sequence[str],
    on_bad: Callable[[BadRow], None],
) -> tuple[dict[str, str], list[str], Iterator[_Row]]:
    reader = csv.reader(chain([first], lines), delimiter=max(",\t;", key=first.count))
    header = [name.strip() for name in next(reader)]
    taken = _columns(header, given, context)

    def rows() -> Iterator[_Row]:
        width = len(header)
        position = {name: i for i, name in enumerate(header)}
        # A row gets one more cell, an empty one, for what the log does not have.
        texts = itemgetter(*(position[p[0]] if (p := _parts(f, taken)) else width for f in _TEXTS))
        time = position[taken["time"]]
        factors = [position[name] for name in _parts("value", taken)]
        described = [(name, position[name]) for name in context]
        while True:
            try:
                for row in reader:
                    if len(row) != width:
                        if row:  # else an empty line, which is no row
                            on_bad(BadRow(reader.line_num, f"has {len(row)} cells, the header {width}"))
                        continue
                    if not (line := "".join(row)).isascii() and not _is_utf8(line):
                        on_bad(BadRow(reader.line_num, "is not UTF-8"))
                        continue
                    row.append("")
                    value = [row[i] for i in factors] if factors else ()
                    more = {name: row[i] for name, i in described if row[i]} if described else {}
                    yield reader.line_num, texts(row), row[time], value, more
                return
            except csv.Error as error:  # a cell beyond csv's limit: the reader goes on with the next row
                on_bad(BadRow(reader.line_num, str(error)))
            except (OSError, EOFError, zlib.error) as error:
                raise BadLog(f"breaks off after line {reader.line_num}: {error}") from None

    return taken, header, rows()


def _is_utf8(text: str) -> bool:
    """Whether it was UTF-8 before it was decoded with `surrogateescape`."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _json(
    first: str,
    lines: Iterable[str],
    given: dict[str, str],
    context: Sequence[str],
    on_bad: Callable[[BadRow], None],
) -> tuple[dict[str, str], list[str], Iterator[_Row]]:
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    try:
        names = list(decode(first))
    except ValueError as error:
        raise BadLog(f"is no JSON lines: line 1: {error}") from None
    taken = _columns(names, given, [])

    def rows() -> Iterator[_Row]:
        # What the first line lacks may come later, by the name that it has in an event.
        columns = {f: f for f in NAMES if f not in given} | taken
        texts = [p[0] if (p := _parts(f, columns)) else "" for f in _TEXTS]
        factors = _parts("value", columns)
        number = 0
        try:
            for number, line in enumerate(chain([first], lines), 1):
                if line.isspace():
                    continue
                try:
                    record = decode(line)
                except ValueError as error:
                    on_bad(BadRow(number, f"is no JSON object: {error}"))
                    continue
                try:
                    found = [_text(record.get(name)) for name in texts]
                    value = [v for name in factors if (v := record.get(name)) is not None]
                    more = {name: record[name] for name in context if name in record}
                    more |= record.get("context") or {}
                except (ValueError, TypeError) as error:
                    on_bad(BadRow(number, str(error)))
                else:
                    yield number, found, record.get(columns["time"]), value, more
        except (OSError, EOFError, zlib.error) as error:
            raise BadLog(f"breaks off after line {number}: {error}") from None

    return taken, [name for name in names if name != "context"], rows()


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise ValueError(f"{value!r} is no id")


def _events(
    rows: Iterable[_Row], run: str, unit_ms: int, type_column: str, on_bad: Callable[[BadRow], None]
) -> Iterator[Event]:
    default_type = type_column[1:] if type_column.startswith("=") else DEFAULT_TYPE
    for line, (user, item, kind, event_id, session, recommendation_id), time, factors, context in rows:
        kind = kind or default_type
        try:
            if not user:
                raise ValueError("has no user")
            if not item and kind != "request":
                raise ValueError("has no item")
            event = Event(
                event_id=event_id or f"{run}-{line}",
                user=user,
                item=item or None,
                type=kind,
                time=_time_ms(time, unit_ms),
                session=session or None,
                value=_value(factors) if factors else None,
                recommendation_id=recommendation_id or None,
                context=context,
            )
        except ValueError as error:
            on_bad(BadRow(line, str(error)))
        else:
            yield event


def _time_ms(text: Any, unit_ms: int) -> int:
    try:
        time = round(text * unit_ms) if isinstance(text, float) else int(text) * unit_ms
    except (ValueError, TypeError, OverflowError):
        time = _written_time_ms(text, unit_ms)
    if not 0 <= time <= MAX_TIME_MS:
        raise ValueError(f"time {text} is before 1970 or after 9999")
    return time


def _written_time_ms(text: Any, unit_ms: int) -> int:
    with suppress(ValueError, TypeError, OverflowError):
        return round(float(text) * unit_ms)
    with suppress(ValueError, TypeError):
        time = datetime.fromisoformat(text)
        return round((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000)
    raise ValueError(f"{text!r} is no time") from None


def _value(factors: Sequence[Any]) -> float | None:
    """Their product; None where one is empty."""
    if "" in factors:
        return None
    try:
        value = math.prod(float(factor) for factor in factors)
    except (ValueError, TypeError):
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{'*'.join(map(str, factors))} is no number")
    return value
