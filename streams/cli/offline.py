"""Commands that need a log and no Kafka: evaluate, tune."""

import json
import os
from typing import Any

import click

from streams.cli.event_log import event_id_option, log_file, reading_options
from streams.cli.example_log import read_items, read_log
from streams.cli.options import examples, option_group
from streams.cli.types import (
    CUTOFFS,
    DURATION,
    INTERVAL,
    NAMES,
    NUMBER,
    PERCENT,
    WARM_UP,
    WEIGHTS,
    WINDOWS,
)
from streams.errors import INTERRUPTED
from streams.printable import printable_lines

protocol_options = option_group(
    "protocol",
    click.option(
        "--protocol",
        type=click.Choice(["prequential", "windows", "holdout", "leave-one-out"]),
        default="prequential",
        show_default=True,
        help="The order of predicting and learning.",
    ),
    click.option(
        "--types", type=NAMES, default="", metavar="TYPE,...",
        help="Event types to predict.  [all whose weight is not 0]",
    ),
    click.option(
        "--weights", type=WEIGHTS, metavar="TYPE=W,...", help="Weights of event types; *=W: of all others."
    ),
    click.option("--min-value", type=NUMBER, metavar="V", help="Leave out rows with a smaller value."),
    click.option("--limit", type=click.IntRange(1), metavar="N", help="Read the first N rows only."),
    click.option("--drop-reloads", is_flag=True, help="Leave out rows with the user's latest item."),
    click.option(
        "--warm-up", type=WARM_UP, default="0%", show_default=True, metavar="10%|N",
        help="First events, which are learnt and not predicted.",
    ),
    click.option(
        "--window", default="1d", show_default=True, metavar="1h|COLUMN",
        help="Length of a window, or the column that names it.",
    ),
    click.option("--windows", type=WINDOWS, metavar="1-7", help="Windows to predict; the first is 0."),
    click.option(
        "--split", default="80/10/10", show_default=True, metavar="A/B/C|COLUMN",
        help="Parts train/valid/test of --protocol holdout: shares in time, or the column that names them.",
    ),
    click.option(
        "--learn", type=NAMES, default="train", show_default=True, metavar="PART,...", help="Parts to learn."
    ),
    click.option("--part", metavar="PART", help="Part to predict.  [test; tune: valid]"),
    click.option(
        "--target", type=click.Choice(["every", "last"]), default="every", show_default=True,
        help="Events of a session to predict.",
    ),
    click.option(
        "--state", type=click.Choice(["frozen", "learning"]), default="frozen", show_default=True,
        help="Whether the model learns while a window or part is predicted.",
    ),
    click.option("--drop-unseen", is_flag=True, help="Do not predict items that no earlier window has."),
    click.option("--skip-repeats", is_flag=True, help="Do not predict the user's latest item once more."),
    click.option("--skip-first", is_flag=True, help="Do not predict a user's first event."),
    click.option(
        "--exclude", type=click.Choice(["latest", "seen", "nothing"]),
        help="Items of the user that lists leave out.  [latest, as on the stream]",
    ),
    click.option(
        "--at", "ks", type=CUTOFFS, default="20", show_default=True, metavar="K,...", help="List lengths."
    ),
    click.option(
        "--model-delay", type=DURATION, metavar="1s", help="Event time until an event is in the model.  [1s]"
    ),
    click.option("--batch", type=click.IntRange(1), metavar="N", help="Events learnt at once at most."),
    click.option(
        "--seed", type=click.IntRange(0), metavar="N",
        help="Seed of models and confidence intervals; overrides FRESHET_SEED.",
    ),
)  # fmt: skip


@click.command(
    epilog=examples(
        "freshet evaluate clicks.csv.gz --warm-up 10% --skip-first --types view",
        "freshet evaluate clicks.csv.gz --warm-up 10% --refresh 1h --refresh never --plot freshness.png",
        "freshet evaluate clicks.csv --protocol windows --window 1d --compare generators",
        "freshet evaluate clicks.csv.gz --catalog products.csv --without content --placement basket",
        "freshet evaluate clicks.csv --protocol holdout --split 80/10/10 --part valid --json",
    )
)
@log_file
@reading_options
@event_id_option
@protocol_options
@click.option(
    "--refresh", type=INTERVAL, multiple=True, metavar="1h|never",
    help="Add a model that is refreshed only so often; repeatable.",
)  # fmt: skip
@click.option(
    "--compare", type=NAMES, metavar="NAME,...",
    help="Add these generators, each alone; generators, rankers: all of them.  [popularity]",
)  # fmt: skip
@click.option(
    "--without", multiple=True, metavar="NAME", help="Add the full model without this generator; repeatable."
)
@click.option(
    "--catalog", "catalog_file", metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
    help="The shop's items, as for freshet catalog: known from the first event on.",
)  # fmt: skip
@click.option(
    "--placement", "placements", multiple=True, metavar="NAME",
    help="Add this list of FRESHET_PLACEMENTS; repeatable.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print all figures as JSON.")
@click.option(
    "--plot", type=click.Path(dir_okay=False), metavar="FILE", help="Draw recall over time: .png, .svg, .pdf."
)
def evaluate(
    file: str,
    reading: dict[str, Any],
    event_id: str | None,
    protocol: dict[str, Any],
    refresh: tuple[str, ...],
    compare: frozenset[str] | None,
    without: tuple[str, ...],
    catalog_file: str | None,
    placements: tuple[str, ...],
    as_json: bool,
    plot: str | None,
) -> None:
    """Measure how good the recommendations are, on a log.

    The log goes through the same steps as in worker and learner; each event is predicted before it is
    learnt.  docs/evaluation.md explains the protocols, and how to compare the figures with a paper's.
    """
    from streams.clients.progress import progress
    from streams.offline import evaluate as evaluating
    from streams.offline.report_text import format_tables

    if plot:
        from streams.offline.report_plot import check_plot

        check_plot(plot)
    protocol["part"] = protocol["part"] or "test"
    reading |= {"event_id": event_id}
    options, settings, log = read_log(
        file, reading, protocol, refresh=refresh, compare=compare, without=without, placements=placements
    )
    listed = read_items(catalog_file, settings)
    done = 0.0
    with progress(lambda: done) as show:

        def report(quality: Any, learnt: int, fraction: float) -> None:
            nonlocal done
            done = fraction
            show(lambda: f"{quality.count:,.0f} predicted, {learnt:,} learnt, recall {quality.recall:.3f}")

        figures = evaluating.evaluate(options, settings, log, report, listed)
    click.echo(json.dumps(figures, indent=2) if as_json else printable_lines(format_tables(figures)))
    if plot:
        from streams.offline.report_plot import save_plot

        save_plot(figures, plot)


@click.command(
    epilog=examples(
        "freshet tune clicks.csv.gz --types view --skip-first --out tuned.toml",
        "freshet tune clicks.csv --protocol windows --window 1d --windows 1-7 --trials 100",
        "FRESHET_FILE=tuned.toml freshet evaluate clicks.csv.gz",
    )
)
@log_file
@reading_options
@event_id_option
@protocol_options
@click.option(
    "--share", type=PERCENT, default=30, show_default=True, metavar="PERCENT",
    help="First part of a prequential log that is tuned on.",
)  # fmt: skip
@click.option(
    "--generators", type=NAMES, default="", metavar="NAME,...", help="Generators to choose from.  [all]"
)
@click.option(
    "--rankers", type=NAMES, default="", metavar="NAME,...", help="Rankers to try beside the settings' own."
)
@click.option(
    "--metric", type=click.Choice(["recall", "mrr", "ndcg"]), default="mrr", show_default=True,
    help="What is maximised.",
)  # fmt: skip
@click.option(
    "--trials", type=click.IntRange(1), metavar="N", default=50, show_default=True,
    help="Trials in --storage after which the search ends.",
)  # fmt: skip
@click.option(
    "--storage", metavar="FILE", default="tune.db", show_default=True, help="Where the search is kept."
)
@click.option(
    "--out", metavar="FILE", default="tuned.toml", show_default=True, help="Settings for FRESHET_FILE."
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def tune(
    file: str,
    reading: dict[str, Any],
    event_id: str | None,
    protocol: dict[str, Any],
    share: float,
    generators: frozenset[str],
    rankers: frozenset[str],
    metric: str,
    trials: int,
    storage: str,
    out: str,
    as_json: bool,
) -> int:
    """Search for better settings of the model, on a log.

    Only a validation part is used: --part valid, the windows named by --windows, or the first --share of
    a prequential log.  A search that was interrupted continues from its --storage.
    """
    from models.registry import GENERATORS, RANKERS
    from streams.clients.progress import progress
    from streams.offline import tune as tuning
    from streams.offline.options import IN_PARTS

    tuning.check_files(out, storage)
    for option, names, known in (("generators", generators, GENERATORS), ("rankers", rankers, RANKERS)):
        if unknown := sorted(names - set(known)):
            raise click.UsageError(f"unknown --{option} {unknown[0]!r}: expected one of {', '.join(known)}")
    protocol["part"] = protocol["part"] or ("valid" if protocol["protocol"] in IN_PARTS else "test")
    options, settings, log = read_log(file, reading | {"event_id": event_id}, protocol)
    log = tuning.validation_only(options, log, share / 100)
    with progress() as show:

        def report(trial: str, quality: Any, best: float) -> None:
            value = getattr(quality, metric)
            show(lambda: f"{trial}: {value:.4f} after {quality.count:,.0f} predictions; best {best:.4f}")

        tuned = tuning.tune(
            options, settings, log,
            generators=[name for name in GENERATORS if not generators or name in generators],
            rankers=sorted(rankers | {settings.ranker}),
            metric=metric, trials=trials, storage=storage, show=report,
        )  # fmt: skip
    summary = f"{tuned.metric} {tuned.value:.4f}, {tuned.first:.4f} before"
    summary += f"; {tuned.trials} trials, {tuned.pruned} stopped early"
    if tuned.value <= tuned.first:
        summary += "; none was better, so the settings are unchanged"
    with open(out, "w") as settings_file:
        settings_file.write(tuning.settings_toml(tuned, f"freshet tune {os.path.basename(file)}: {summary}"))
    click.echo(json.dumps(tuned._asdict(), indent=2) if as_json else f"{summary}; written to {out}")
    return INTERRUPTED if tuned.interrupted else 0
