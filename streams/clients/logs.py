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

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import BinaryIO

from streams.clients.log_errors import BadRow, stop
from streams.clients.log_events import events
from streams.clients.log_json import read_json_lines
from streams.clients.log_lines import fraction, open_lines
from streams.clients.log_rows import Reading, read_table
from streams.clients.log_times import Times
from streams.event_messages import Event, decode_event


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

    def __iter__(self) -> Iterator[Event]:
        return self._events

    def fraction(self) -> float | None:
        """How much of the file is read, 0 to 1; None where its size is not known."""
        return fraction(self._source)


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
    first, lines, file = open_lines(source)
    read = read_json_lines if first.lstrip().startswith("{") else read_table
    chosen = {field: name for field, name in (columns or {}).items() if name is not None}
    table = read(first, lines, Reading(chosen, context, names, delimiter, on_bad, remark))
    type_column = table.columns.get("type", "")
    log_events = events(table.rows, run, Times(time_unit, remark), type_column, decode, on_bad)
    return Log(table.columns, table.unused, log_events, file)
