"""The options that say how a log of events is read, and what is printed about it."""

from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, NoReturn

import click

from streams.cli.options import delimiter_option, on_error_option, option_group
from streams.cli.types import COLUMNS
from streams.printable import printable

if TYPE_CHECKING:
    from streams.clients.log_errors import BadRow
    from streams.clients.logs import Log
    from streams.settings import Settings

MAX_PRINTED_ROWS = 3
"""Skipped rows that are printed one by one; further ones are only counted."""

log_file = click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
reading_options = option_group(
    "reading",
    click.option(
        "--user",
        metavar="COLUMN,...",
        help="Column of the user id, or several: the first that has a value.  [found by common names]",
    ),
    click.option("--item", metavar="COLUMN", help="Column of the item id; in JSON also a.b: b inside a."),
    click.option(
        "--type", metavar="COLUMN", help="Column of the event type, or =NAME: the same for all rows.  [=view]"
    ),
    click.option("--time", metavar="COLUMN", help="Column of the time: a number, or RFC 3339."),
    click.option("--session", metavar="COLUMN", help="Column of the session id; empty: no sessions."),
    click.option(
        "--value", metavar="COLUMN", help="Column of the value, or a product of columns: price*quantity."
    ),
    click.option("--context", metavar="COLUMN", multiple=True, help="Column to send along; repeatable."),
    click.option(
        "--time-unit",
        type=click.Choice(["s", "ms", "us", "ns"]),
        help="Unit of times that are numbers.  [as the first of them seems to be]",
    ),
    click.option(
        "--columns",
        type=COLUMNS,
        metavar="NAME,...",
        help="Names of all columns, of a table without a header; - where one is not read.",
    ),
    delimiter_option,
    on_error_option,
)


event_id_option = click.option(
    "--event-id", metavar="COLUMN", help="Column of the event id: an id that comes again counts once."
)


def open_log(
    file: str,
    run: str,
    settings: "Settings",
    *,
    on_error: str,
    time_unit: str | None,
    context: tuple[str, ...],
    delimiter: str | None,
    columns: list[str] | None,
    **fields: str | None,
) -> "Log":
    """Open the log and print on stderr how it is read.  `click.ClickException` where it cannot be read.

    run: prefix of the ids of events that have none.
    settings: those of the workers, which say what events they accept.
    fields: column by field.  It and the others are the `reading_options`.
    """
    from streams.clients import logs
    from streams.clients.log_errors import BadLog
    from streams.step.accept import decode
    from streams.step.policy import ServingPolicy

    skipped, remarks = SkippedRows(), Remarks()
    try:
        log = logs.open_log(
            file,
            run=run,
            columns=fields,
            context=context,
            names=columns,
            delimiter=delimiter,
            time_unit=time_unit,
            decode=partial(decode, policy=ServingPolicy.from_settings(settings)),
            on_bad=skipped if on_error == "skip" else refuse_row,
            remark=remarks,
        )
        click.echo(printable(_summary(file, log)), err=True)
    except BadLog as error:
        raise click.ClickException(f"{file} {error}") from None
    finally:
        remarks.begin()
    if log.first is None and skipped.rows:
        raise click.ClickException(f"{file} has no row that is a valid event")
    return log


def _summary(file: str, log: "Log") -> str:
    from streams.clients.log_events import DEFAULT_TYPE

    line = f"reading {file}: " + " ".join(f"{field}={column}" for field, column in log.columns.items())
    if "type" not in log.columns:
        line += f" type=={DEFAULT_TYPE}"
    if log.unused:
        line += f"; not used: {', '.join(log.unused)}"
    if log.first:
        start = datetime.fromtimestamp(log.first.time_ms / 1000, UTC)
        line += f"; begins {start:%Y-%m-%d %H:%M:%S} UTC"
    return line


class Remarks:
    """Prints remarks about the log, below the line that says how it is read."""

    def __init__(self) -> None:
        self._waiting: list[str] | None = []

    def __call__(self, text: str) -> None:
        """Print a remark, or keep it until `begin` is called."""
        if self._waiting is None:
            click.echo(f"freshet: {printable(text)}", err=True)
        else:
            self._waiting.append(text)

    def begin(self) -> None:
        """Print the remarks so far, and from now on each as it comes."""
        waiting, self._waiting = self._waiting or [], None
        for text in waiting:
            self(text)


class SkippedRows:
    """Called with each bad row: prints the first few, and their number when the command ends.

    what: what the rows should have been, in the plural.
    """

    def __init__(self, what: str = "events") -> None:
        self._what = what
        self.rows = 0
        """Rows skipped so far; lines, where a quote makes one row of them."""
        self._printed = 0
        click.get_current_context().call_on_close(self._print_total)

    def __call__(self, bad: "BadRow") -> None:
        """Count a bad row."""
        self.rows += bad.lines
        self._printed += 1
        if self._printed <= MAX_PRINTED_ROWS:
            suffix = "; further ones are only counted" if self._printed == MAX_PRINTED_ROWS else ""
            click.echo(f"freshet: skipped {printable(str(bad))}{suffix}", err=True)

    def _print_total(self) -> None:
        if self.rows:
            click.echo(f"freshet: skipped {self.rows:,} rows that are not valid {self._what}", err=True)


def refuse_row(bad: "BadRow") -> NoReturn:
    """End the command at a bad row."""
    raise click.ClickException(f"{bad}; --on-error skip leaves such rows out")
