"""The options that say how a log of events is read, and what is printed about it."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, NoReturn

import click

from streams.cli.options import option_group

if TYPE_CHECKING:
    from streams.clients.logs import Log

MAX_PRINTED_ROWS = 3
"""Skipped rows that are printed one by one; further ones are only counted."""

log_file = click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
reading_options = option_group(
    "reading",
    click.option("--user", metavar="COLUMN", help="Column of the user id; found by common names otherwise."),
    click.option("--item", metavar="COLUMN", help="Column of the item id."),
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
        type=click.Choice(["ms", "s"]),
        default="ms",
        show_default=True,
        help="Unit of times that are numbers.",
    ),
    click.option(
        "--on-error",
        type=click.Choice(["stop", "skip"]),
        default="stop",
        show_default=True,
        help="What to do at a row that is not a valid event.",
    ),
)


def open_log(
    file: str, run: str, *, on_error: str, time_unit: str, context: tuple[str, ...], **columns: str | None
) -> "Log":
    """Open the log and print on stderr how it is read.  `click.ClickException` where it cannot be read.

    run: prefix of the ids of events that have none.  The others are the `reading_options`.
    """
    from streams.clients import logs
    from streams.clients.log_errors import BadLog
    from streams.clients.log_events import DEFAULT_TYPE, MAYBE_SECONDS

    on_bad = SkippedRows() if on_error == "skip" else _refuse
    try:
        log = logs.open_log(
            file, run=run, columns=columns, context=context, time_unit=time_unit, on_bad=on_bad
        )
    except BadLog as error:
        raise click.ClickException(f"{file} {error}") from None
    line = f"reading {file}: " + " ".join(f"{field}={column}" for field, column in log.columns.items())
    if "type" not in log.columns:
        line += f" type=={DEFAULT_TYPE}"
    if log.unused:
        line += f"; not used: {', '.join(log.unused)}"
    if log.first:
        start = datetime.fromtimestamp(log.first.time_ms / 1000, UTC)
        line += f"; begins {start:%Y-%m-%d %H:%M:%S} UTC"
    click.echo(line, err=True)
    earliest, latest = MAYBE_SECONDS
    if log.first and time_unit == "ms" and earliest <= log.first.time_ms < latest:
        click.echo("freshet: the times look like seconds: is --time-unit s missing?", err=True)
    return log


class SkippedRows:
    """Called with each bad row: prints the first few, and their number when the command ends."""

    def __init__(self) -> None:
        self._count = 0
        click.get_current_context().call_on_close(self._print_total)

    def __call__(self, error: Exception) -> None:
        """Count a bad row."""
        self._count += 1
        if self._count <= MAX_PRINTED_ROWS:
            suffix = "; further ones are only counted" if self._count == MAX_PRINTED_ROWS else ""
            click.echo(f"freshet: skipped {error}{suffix}", err=True)

    def _print_total(self) -> None:
        if self._count:
            click.echo(f"freshet: skipped {self._count:,} rows that are not valid events", err=True)


def _refuse(error: Exception) -> NoReturn:
    raise click.ClickException(f"{error}; --on-error skip leaves such rows out")
