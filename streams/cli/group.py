"""The command `freshet`: its subcommands, and how an error becomes one line on stderr and an exit code."""

import os
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any, NoReturn

import click

from streams.cli import catalog, cluster, counterfactual, offline, processes, traffic
from streams.cli.options import examples
from streams.errors import FAILURE, INTERRUPTED, UserError
from streams.printable import printable_lines


class FreshetGroup(click.Group):
    """A group of commands; a command returns its exit code, and an error is one line on stderr."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command and exit with its code; if not in standalone mode, return it and raise errors."""
        run = partial(super().main, args, prog_name, complete_var, standalone_mode=False, **extra)
        if not standalone_mode:
            return run()
        try:
            sys.exit(run() or 0)
        except click.UsageError as error:
            command = error.ctx.command_path if error.ctx else "freshet"
            _exit(f"{error.format_message()} (see {command} --help)", error.exit_code)
        except click.ClickException as error:
            _exit(error.format_message(), error.exit_code)
        except UserError as error:
            _exit(str(error), error.exit_code)
        except click.Abort:
            sys.exit(INTERRUPTED)
        except BrokenPipeError:  # `freshet subscribe | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(FAILURE)


def _exit(message: str, code: int) -> NoReturn:
    click.echo(printable_lines(f"freshet: {message}"), err=True)
    sys.exit(code)


def _print_version(ctx: click.Context, _: click.Parameter, requested: bool) -> None:
    if requested:
        from importlib.metadata import PackageNotFoundError, version

        try:
            click.echo(f"freshet {version('freshet')}")
        except PackageNotFoundError:
            click.echo("freshet, run from its sources without being installed")
        ctx.exit()


@click.group(
    cls=FreshetGroup,
    commands=[
        processes.demo,
        processes.worker,
        processes.learner,
        processes.top,
        cluster.topics,
        cluster.settings,
        cluster.schema,
        traffic.publish,
        catalog.catalog,
        traffic.replay,
        traffic.subscribe,
        offline.evaluate,
        offline.tune,
        counterfactual.counterfactual,
    ],
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=examples("freshet demo", "freshet publish events.csv.gz", "freshet COMMAND --help"),
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Print the version and exit.",
)
def cli() -> None:
    """Freshet: a streaming recommender, from Kafka back to Kafka.

    Settings come from the environment (FRESHET_BROKERS=kafka:9092) or from the TOML file that
    FRESHET_FILE names; `freshet settings` prints them all.
    """


def main() -> None:
    """Run `freshet`: the console script."""
    cli(prog_name="freshet")
