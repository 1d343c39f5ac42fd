"""The command that estimates the worth of another policy from a log: counterfactual."""

import json
from typing import Any

import click

from streams.cli.event_log import SkippedRows, log_file, refuse_row
from streams.cli.options import column_options, delimiter_option, examples, on_error_option
from streams.cli.types import POSITIVE
from streams.printable import printable, printable_lines

_COLUMNS = {
    "item": "the item that was shown",
    "reward": "what came of it: 1 for a click, or an amount",
    "propensity": "its probability under the policy that showed it",
    "position": "its place in the list",
    "target": "its probability under the other policy",
    "user": "the user; rows of one are resampled together",
    "slate": "the list that it was shown in",
}


@click.command(
    epilog=examples(
        "freshet counterfactual shown.csv.gz --policy other.csv",
        "freshet counterfactual shown.csv --target new_ranker_probability --user user_id",
        "freshet counterfactual shown.csv.gz --json    # a policy that draws all items alike",
    )
)
@log_file
@column_options(_COLUMNS)
@click.option(
    "--policy", type=click.Path(exists=True, dir_okay=False), metavar="FILE",
    help="The other policy: a table of item, probability and, if it differs, position.",
)  # fmt: skip
@click.option(
    "--switch", type=POSITIVE, default=10, show_default=True, metavar="WEIGHT",
    help="Weight above which switch-DR believes the predicted reward.",
)  # fmt: skip
@delimiter_option
@on_error_option
@click.option("--seed", type=click.IntRange(0), default=0, metavar="N", help="Seed of the intervals.  [0]")
@click.option("--json", "as_json", is_flag=True, help="Print all figures as JSON.")
def counterfactual(
    file: str,
    columns: dict[str, str | None],
    policy: str | None,
    switch: float,
    delimiter: str | None,
    on_error: str,
    seed: int,
    as_json: bool,
) -> int:
    """Estimate what another policy would have brought, from a log.

    FILE is a table of shown items, whose propensities are known because chance was in them.  Without --policy
    and --target the other policy draws from all items alike.  docs/evaluation.md explains the estimators.
    """
    from streams.clients.log_errors import BadLog
    from streams.offline.counterfactual import format_worth, worth
    from streams.offline.propensity_log import read_propensity_log

    if policy and columns["target"]:
        raise click.UsageError("--policy and --target are two ways to name the other policy: give one")
    skipped = SkippedRows("rows")
    try:
        log = read_propensity_log(file, columns, skipped if on_error == "skip" else refuse_row, delimiter)
    except BadLog as error:
        raise click.ClickException(f"{file} {error}") from None
    matched = " ".join(f"{field}={column}" for field, column in log.columns.items())
    click.echo(printable(f"reading {file}: {matched}"), err=True)
    try:
        figures: dict[str, Any] = worth(log, policy, seed, switch)
    except BadLog as error:
        raise click.ClickException(f"{policy} {error}") from None
    click.echo(json.dumps(figures, indent=2) if as_json else printable_lines(format_worth(figures)))
    return 0
