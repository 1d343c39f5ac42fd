"""Options that several commands have, and decorators that keep them together."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import click

from streams.cli.types import DELIMITER

Command = Callable[..., Any]
Decorator = Callable[[Command], Command]


def examples(*lines: str) -> str:
    """The epilog of a command's --help."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def options(*decorators: Decorator) -> Decorator:
    """Several options as one decorator, in this order."""

    def decorate(command: Command) -> Command:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


def option_group(name: str, *decorators: Decorator) -> Decorator:
    """Several options as one decorator; the command gets their values as one dict, its argument `name`."""

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def call(**values: Any) -> Any:
            group = {option: values.pop(option) for option in names}
            return command(**values, **{name: group})

        options(*decorators)(call)
        parameters: list[click.Parameter] = call.__click_params__[-len(decorators) :]  # type: ignore[attr-defined]  # click's
        names = [str(parameter.name) for parameter in parameters]
        return call

    return decorate


brokers = click.option("--brokers", metavar="HOST:PORT,...", help="Kafka; overrides FRESHET_BROKERS.")


def column_options(columns: Mapping[str, str]) -> Decorator:
    """An option for the column of each field, by what the field is; the command gets them as `columns`."""
    return option_group(
        "columns",
        *(
            click.option(f"--{name}", name, metavar="COLUMN", help=f"Column of {about}.")
            for name, about in columns.items()
        ),
    )


delimiter_option = click.option(
    "--delimiter",
    type=DELIMITER,
    metavar="TEXT",
    help="Between the cells of a table: any characters, or tab.  [of , tab ; | :: the most frequent]",
)
on_error_option = click.option(
    "--on-error",
    type=click.Choice(["stop", "skip"]),
    default="stop",
    show_default=True,
    help="What to do at a row that cannot be used.",
)
