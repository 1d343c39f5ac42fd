"""A log as examples, for the commands that need no Kafka, and remarks about it on stderr."""

from typing import TYPE_CHECKING, Any

import click

from streams.cli.event_log import open_log
from streams.printable import printable

if TYPE_CHECKING:
    from models.evaluation.listed_items import ListedItems
    from streams.offline.examples import LabelledExamples, LogCounts
    from streams.offline.options import EvaluationOptions
    from streams.settings import Settings


def read_log(
    file: str, reading: dict[str, Any], protocol: dict[str, Any], **further: Any
) -> "tuple[EvaluationOptions, Settings, LabelledExamples]":
    """The options of `protocol_options` and `further`, the settings, and the log as examples."""
    from streams.clients.progress import progress
    from streams.offline.examples import LabelledExamples, LogCounts, read_examples, with_event_weights
    from streams.offline.options import EvaluationOptions
    from streams.settings import load
    from streams.step.policy import ServingPolicy

    seed, weights = protocol.pop("seed"), protocol.pop("weights") or {}
    options = EvaluationOptions(**protocol, **further)
    overrides: dict[str, Any] = {} if seed is None else {"seed": seed}
    configured = load(**overrides)
    settings = with_event_weights(configured, weights)
    if options.label:
        reading = reading | {"context": (*reading["context"], options.label)}
    log = open_log(file, "e", configured, **reading)
    examples, labels, counts = [], [], LogCounts()
    policy = ServingPolicy.from_settings(settings)
    with progress(log.fraction) as show:

        def show_events(count: int) -> None:
            show(lambda: f"{count:,} events read")

        read = read_examples(log, policy, options, counts, show_events)
        for example, label in read:
            examples.append(example)
            labels.append(label)
            show(lambda: f"{len(examples):,} examples made")
    if not counts.types:
        raise click.ClickException(f"{file} has no row that is a valid event")
    for line in _warnings(counts, settings, weights):
        click.echo(f"freshet: {printable(line)}", err=True)
    return options, settings, LabelledExamples(examples, labels)


def read_items(file: str | None, settings: "Settings") -> "ListedItems":
    """The catalog of a file, with its columns found by common names; none without a file."""
    from models.catalog import encode
    from models.core import code
    from models.evaluation.listed_items import ListedItems
    from streams.clients.catalog_file import open_catalog
    from streams.clients.log_errors import BadLog
    from streams.clients.progress import progress

    records: dict[str, bytes] = {}
    names: dict[int, str] = {}
    if file is not None:
        try:
            opened = open_catalog(
                file, remark=lambda text: click.echo(printable(f"freshet: {text}"), err=True)
            )
            with progress(opened.fraction) as show:
                for item in opened:
                    records[item.item] = encode(item.entry(), settings.kept)
                    names.update({code(path): path for path in item.categories})
                    show(lambda: f"{len(records):,} items read")
        except BadLog as error:
            raise click.ClickException(f"{file} {error}") from None
        if not records:
            raise click.ClickException(f"{file} has no row that is a valid item")
    return ListedItems(records, names)


def _warnings(counts: "LogCounts", settings: "Settings", weights: dict[str, float]) -> list[str]:
    """What is unusual about the rows that were read, one line each."""
    from streams.step.users import Verdict

    lines, rows = [], counts.verdicts.total()
    if counts.sorted:
        lines.append(
            f"the log is not in the order of its times and was sorted: {counts.sorted:,} of {rows:,} rows"
            " were out of place; as it is, events would be predicted from what happened after them"
        )
    if late := counts.verdicts[Verdict.LATE]:
        lines.append(
            f"{late:,} of {rows:,} rows are not learnt, as on the stream: they are more than"
            f" {settings.grace_s / 3600:g} h older than an earlier row of their user; sort the log by time"
        )
    if duplicates := counts.verdicts[Verdict.DUPLICATE]:
        lines.append(f"{duplicates:,} of {rows:,} rows have the event id of an earlier row and count once")
    types = ", ".join(sorted(counts.types))
    lines += [
        f"--weights {name}: no row has this event type; the log has {types}"
        for name in weights
        if name != "*" and name not in counts.types
    ]
    return lines
