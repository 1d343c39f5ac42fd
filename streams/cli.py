"""The command line: `freshet COMMAND`, also `python -m streams COMMAND`.

A command reads its options and calls the module that does the work; imports are late, so that `--help`
does not pay for Kafka and numba.  What goes wrong is one line on stderr; exit code 2 is for options and
settings, 1 for what fails at run time, 130 for Ctrl-C.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn

import click

if TYPE_CHECKING:
    from streams.clients.logs import Log
    from streams.settings import Settings

FAILED, USAGE, INTERRUPTED = 1, 2, 130
PATIENCE_S = 10
"""With a Kafka that does not answer."""
POSITIVE = click.FloatRange(0, min_open=True)


class Freshet(click.Group):
    """A group of commands whose every failure is one line."""

    def main(self, *args: Any, standalone_mode: bool = True, **more: Any) -> Any:
        """Run a command and exit; a command returns its exit code."""
        if not standalone_mode:
            return super().main(*args, standalone_mode=False, **more)
        try:
            sys.exit(super().main(*args, standalone_mode=False, **more) or 0)
        except click.UsageError as error:
            command = error.ctx.command_path if error.ctx else "freshet"
            _say(f"{error.format_message()} (see {command} --help)", USAGE)
        except click.ClickException as error:
            _say(error.format_message(), error.exit_code)
        except click.Abort:
            sys.exit(INTERRUPTED)
        except BrokenPipeError:  # `freshet subscribe | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(FAILED)
        except Exception as error:
            code = _known(error)
            if not code:
                raise
            _say(str(error), code)


def _known(error: Exception) -> int | None:
    """The exit code for what can go wrong through no fault of the program's."""
    codes = {
        "streams.settings": {"BadSetting": USAGE},
        "streams.kafka.admin": {"TopicsDiffer": FAILED},
        "streams.clients.log_errors": {"BadLog": FAILED},
        "streams.clients.demo": {"Died": FAILED},
        "streams.clients.top": {"NoAnswer": FAILED},
        "streams.offline.options": {"BadOptions": USAGE},
    }
    kind = type(error)
    return codes.get(kind.__module__, {}).get(kind.__name__)


def _say(text: str, code: int) -> None:
    click.echo(f"freshet: {text}", err=True)
    sys.exit(code)


def _examples(*lines: str) -> str:
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def _version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            click.echo(f"freshet {version('freshet')}")
        except PackageNotFoundError:
            click.echo("freshet, run from its sources without being installed")
        ctx.exit()


@click.group(
    cls=Freshet,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=_examples("freshet demo", "freshet publish events.csv.gz", "freshet COMMAND --help"),
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Say which."
)
def cli() -> None:
    """Freshet: a streaming recommender, from Kafka back to Kafka.

    Settings come from the environment (FRESHET_BROKERS=kafka:9092) or from the TOML file that
    FRESHET_FILE names; `freshet settings` prints them all.
    """


def main() -> None:
    """The console script."""
    cli(prog_name="freshet")


brokers = click.option("--brokers", metavar="HOST:PORT,...", help="Kafka; over FRESHET_BROKERS.")


def _settings(**overrides: Any) -> "Settings":
    from streams.settings import load

    return load(**{name: value for name, value in overrides.items() if value is not None})


def _reachable(settings: "Settings", *needed: str) -> None:
    """Fail, with what to do, unless Kafka answers and has the topics."""
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    from streams.kafka.client import confluent

    client = AdminClient(confluent(settings, log_level=0, error_cb=lambda error: None))
    try:
        there = client.list_topics(timeout=PATIENCE_S).topics
    except KafkaException as error:
        raise click.ClickException(
            f"Kafka does not answer at {settings.brokers} ({error.args[0].str()}): is it running?"
            " Set FRESHET_BROKERS or --brokers"
        ) from None
    missing = [settings.topic(name) for name in needed if settings.topic(name) not in there]
    if missing and not settings.embedded:
        raise click.ClickException(f"there is no topic {missing[0]}: `freshet topics` creates it")


# How to read a log, and how fast to publish it


def _all(*options: Any) -> Callable[..., Any]:
    """Several options as one decorator, in this order."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def _speed(ctx: click.Context, option: click.Parameter, text: str | None) -> float | None:
    """`10x` as 10.0."""
    if text is None:
        return None
    try:
        return POSITIVE(text.removesuffix("x"))
    except click.BadParameter:
        raise click.BadParameter(f"{text} is no speed: 10x, say") from None


log_file = click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
reading_options = _all(
    click.option("--user", metavar="COLUMN", help="Of the user id; default: found by common names."),
    click.option("--item", metavar="COLUMN", help="Of the item id."),
    click.option("--type", metavar="COLUMN", help="Of the event type; =NAME: the same for all. [view]"),
    click.option("--time", metavar="COLUMN", help="Of the time: a number, or RFC 3339."),
    click.option("--session", metavar="COLUMN", help="Of the session id; an empty COLUMN: none."),
    click.option("--value", metavar="COLUMN", help="Of the value, or a product: price*quantity."),
    click.option("--context", metavar="COLUMN", multiple=True, help="To send along; repeatable."),
    click.option("--time-unit", type=click.Choice(["ms", "s"]), default="ms", show_default=True),
    click.option("--on-error", type=click.Choice(["stop", "skip"]), default="stop", show_default=True),
)
pace_options = _all(
    click.option(
        "--run", metavar="NAME", default=lambda: f"r{int(time.time()):x}", help="For ids: NAME-LINE."
    ),
    click.option("--rate", type=POSITIVE, metavar="N", help="Events a second."),
    click.option("--speed", metavar="10x", callback=_speed, help="So much faster than it happened."),
    click.option("--copies", type=click.IntRange(1), metavar="N", default=1, help="Of each event. [1]"),
)


SHOWN_ROWS = 3
"""Bad rows that are said one by one."""


class _Skip:
    """For bad rows: says the first few, and in the end how many there were."""

    def __init__(self) -> None:
        self.rows = 0
        click.get_current_context().call_on_close(self._total)

    def __call__(self, bad: Exception) -> None:
        self.rows += 1
        if self.rows <= SHOWN_ROWS:
            more = "" if self.rows < SHOWN_ROWS else "; more of them are only counted"
            click.echo(f"freshet: skipped {bad}{more}", err=True)

    def _total(self) -> None:
        if self.rows:
            click.echo(f"freshet: skipped {self.rows:,} rows that are no events", err=True)


def _stop(bad: Exception) -> NoReturn:
    """For bad rows: none is left out unasked."""
    raise click.ClickException(f"{bad}; --on-error skip leaves such rows out")


def _open(
    file: str, run: str, on_error: str, time_unit: str, context: tuple[str, ...], **columns: str | None
) -> "Log":
    """The log, having said in one line how it is read."""
    from streams.clients.log_errors import BadLog
    from streams.clients.log_events import DEFAULT_TYPE, MAYBE_SECONDS
    from streams.clients.logs import open_log

    on_bad = _Skip() if on_error == "skip" else _stop
    try:
        log = open_log(file, run=run, columns=columns, context=context, time_unit=time_unit, on_bad=on_bad)
    except BadLog as error:
        raise click.ClickException(f"{file} {error}") from None
    line = f"reading {file}: " + " ".join(f"{field}={column}" for field, column in log.columns.items())
    if "type" not in log.columns:
        line += f" type=={DEFAULT_TYPE}"
    if log.unused:
        line += f"; not used: {', '.join(log.unused)}"
    if log.first:
        line += f"; begins {datetime.fromtimestamp(log.first.time_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
    click.echo(line, err=True)
    if log.first and time_unit == "ms" and MAYBE_SECONDS[0] <= log.first.time_ms < MAYBE_SECONDS[1]:
        click.echo("freshet: its times look like seconds: is --time-unit s missing?", err=True)
    return log


# demo, worker, learner


@cli.command(epilog=_examples("freshet demo", "freshet demo --data events.csv.gz --rate 500 --seconds 60"))
@click.option("--data", metavar="FILE", type=click.Path(exists=True, dir_okay=False), help="A log of yours.")
@click.option("--rate", type=POSITIVE, metavar="N", default=200, show_default=True, help="Events/s.")
@click.option("--seconds", type=POSITIVE, metavar="S", help="End by itself after so long.")
@reading_options
def demo(data: str | None, rate: float, seconds: float | None, **reading: Any) -> None:
    """Run it all on this machine, with a simulated shop.

    Broker, worker, learner and shop, until Ctrl-C.  Needs neither Kafka nor Java: the broker is the
    one that confluent-kafka has for tests.  Instead of the shop, a log of yours (CSV or JSON lines,
    .gz or not) can be played; the other options say how to read it.
    """
    from streams.clients.demo import demo as run

    run(_open(data, "demo", **reading) if data else None, rate, seconds)


web_port = click.option("--web-port", type=click.IntRange(0, 65535), metavar="PORT", help="Of the pages.")


@cli.command(
    epilog=_examples("freshet worker", "freshet worker --worker-id a --web-port 6066 --data-dir /var/lib/a")
)
@brokers
@click.option("--worker-id", metavar="NAME", help="Stable name: a restart keeps its partitions.")
@web_port
@click.option("--data-dir", type=click.Path(file_okay=False), help="Local state; one folder a worker.")
def worker(**overrides: Any) -> None:
    """Turn events into recommendations."""
    _process("streams.app", overrides)


@cli.command(epilog=_examples("freshet learner", "freshet learner --brokers kafka:9092 --web-port 6067"))
@brokers
@web_port
@click.option("--data-dir", type=click.Path(file_okay=False), help="Local state.")
def learner(**overrides: Any) -> None:
    """Learn the model from what users did.

    One learner works at a time; others stand by.
    """
    _process("streams.learner", overrides)


def _process(module: str, overrides: dict[str, Any]) -> None:
    from streams.settings import PREFIX, load

    given = {name: value for name, value in overrides.items() if value is not None}
    settings = load(**given)  # refuses what is bad, before anything else is imported
    os.environ |= {PREFIX + name.upper(): str(value) for name, value in given.items()}  # the module reads it

    from streams.runtime.faust_app import run

    run(module, settings)


# topics, settings, schema


@cli.command(epilog=_examples("freshet topics", "freshet topics --check --brokers kafka:9092"))
@brokers
@click.option("--check", is_flag=True, help="Create nothing, only say what differs.")
def topics(brokers: str | None, check: bool) -> int:
    """Create the topics and check them.

    Creates what is missing, then says what is not as it should be; exit code 1 if anything is not.
    """
    from streams.kafka.admin import create, differences

    settings = _settings(brokers=brokers)
    _reachable(settings)
    for name in [] if check else create(settings):
        click.echo(f"created {name}")
    for line in (found := differences(settings)):
        click.echo(line)
    if not found:
        click.echo("all topics are as they should be")
    return FAILED if found else 0


@cli.command(epilog=_examples("freshet top", "freshet top --url http://worker-1:6066"))
@click.option("--url", default="http://127.0.0.1:6066", show_default=True, help="A worker's page.")
@click.option("--once", is_flag=True, help="Print it once and end.")
def top(url: str, once: bool) -> None:
    """The overview of the cluster, in this terminal."""
    from streams.clients import top as screen

    screen.top(url, once)


@cli.command(epilog=_examples("freshet settings", "FRESHET_PARTITIONS=24 freshet settings --json"))
@click.option("--json", "as_json", is_flag=True, help="JSON, with what each setting means.")
def settings(as_json: bool) -> None:
    """Print every setting and where it is from.

    Name, origin and value; of a secret only that it is set.
    """
    from streams.settings import PREFIX, Settings, load, origins

    now = load()
    origin = origins(now)
    found = {name: _printable(getattr(now, name)) for name in Settings.model_fields}
    if as_json:
        fields = Settings.model_fields
        about = {
            n: {"value": v, "origin": origin[n], "about": fields[n].description} for n, v in found.items()
        }
        return click.echo(json.dumps(about, indent=2))
    for name, value in found.items():
        text = value if isinstance(value, str) else json.dumps(value)
        click.echo(f"{PREFIX + name.upper():32} {origin[name]:12} {text}")


def _printable(value: Any) -> Any:
    if hasattr(value, "get_secret_value"):
        return "********"
    if isinstance(value, frozenset):
        return sorted(value)
    return value if value is None or isinstance(value, str | int | float | dict) else str(value)


@cli.command(epilog=_examples("freshet schema", "freshet schema events > events.schema.json"))
@click.argument("name", required=False)
def schema(name: str | None) -> None:
    """Print the JSON Schema of a record.

    NAME is a topic; without one, the topics are listed.
    """
    from streams import messages

    if name is None:
        for topic, record in messages.RECORDS.items():
            click.echo(f"{topic:16} {record.__doc__.splitlines()[0]}")
    elif name not in messages.RECORDS:
        raise click.BadParameter(f"{name} is none of {', '.join(messages.RECORDS)}", param_hint="NAME")
    else:
        click.echo(json.dumps(messages.schema(name), indent=2))


# publish, replay, subscribe


def _linger(rate: float | None, speed: float | None, at_once_ms: int) -> dict[str, int]:
    """How long the client gathers events into a batch: not at all when they are paced."""
    if rate and speed:
        raise click.UsageError("--rate and --speed exclude each other")
    return {"linger.ms": 0 if rate or speed else at_once_ms}


@cli.command(
    epilog=_examples(
        "freshet publish events.csv.gz --speed 100x",
        "freshet publish clicks.jsonl --user visitor --time at --context device",
        "tail -f clicks.jsonl | freshet publish -",
    )
)
@log_file
@reading_options
@pace_options
@brokers
@click.option("--event-id", metavar="COLUMN", help="Of the event's id: sent again, it counts once.")
@click.option("--live/--replay", default=None, help="Whether it happens now. [replay; live from stdin]")
def publish(
    file: str,
    brokers: str | None,
    live: bool | None,
    rate: float | None,
    speed: float | None,
    copies: int,
    **reading: Any,
) -> int:
    """Publish a log of events.

    FILE is CSV or JSON lines, .gz or not; - is stdin.  Events keep their times.  With --replay each
    record also says when it would have arrived, so that times of years ago are believed.
    """
    from streams.clients.progress import progress
    from streams.clients.publish import EventProducer, schedule
    from streams.clients.publish import publish as send

    config = _linger(rate, speed, at_once_ms=50)
    settings = _settings(brokers=brokers)
    _reachable(settings, "events")
    log = _open(file, **reading)
    producer = EventProducer(settings, **config)
    interrupted = False
    try:
        with progress(log.fraction) as show:
            dues = schedule(log, live=file == "-" if live is None else live, rate=rate, speed=speed)
            send(dues, producer, show, copies)
    except KeyboardInterrupt:
        interrupted = True
    finally:
        producer.flush(5)
        click.echo(f"{producer.delivered:,} events delivered, {producer.sent - producer.delivered:,} not")
    if producer.failed:
        raise click.ClickException(f"{producer.failed:,} events were not delivered: {producer.reason}")
    return INTERRUPTED if interrupted else 0


@cli.command(
    epilog=_examples(
        "freshet replay events.csv.gz",
        "freshet replay events.csv.gz --rate 1000 --json",
    )
)
@log_file
@reading_options
@pace_options
@brokers
@click.option(
    "--in-flight", type=click.IntRange(1), metavar="N", help="Unanswered at most. [20000; embedded 2000]"
)
@click.option("--timeout", type=POSITIVE, metavar="S", default=30, show_default=True, help="Without answer.")
@click.option("--json", "as_json", is_flag=True, help="The figures as JSON.")
def replay(
    file: str,
    brokers: str | None,
    rate: float | None,
    speed: float | None,
    copies: int,
    in_flight: int | None,
    timeout: float,
    as_json: bool,
    **reading: Any,
) -> int:
    """Publish a log and wait for every answer.

    Prints throughput and ages at the end.  Every event gets the id RUN-LINE, whatever the log calls
    it.  Exit code 1 when answers are missing.
    """
    from streams.clients.progress import progress
    from streams.clients.publish import EventProducer, schedule
    from streams.clients.replay import Replay, text
    from streams.clients.subscribe import follow

    config = _linger(rate, speed, at_once_ms=20)  # those in flight wait for it
    settings = _settings(brokers=brokers)
    _reachable(settings, "events", "recommendations", "dead-letter")
    log = _open(file, event_id="", **reading)
    consumer = follow(settings, "recommendations", "dead-letter")
    run = Replay(settings, EventProducer(settings, **config), consumer, reading["run"])
    # The embedded broker keeps 5 MiB a partition.
    most = in_flight or (2000 if settings.embedded else 20_000)
    interrupted = False
    try:
        with progress(log.fraction) as show:
            run.go(
                schedule(log, rate=rate, speed=speed), show, in_flight=most, timeout_s=timeout, copies=copies
            )
    except KeyboardInterrupt:
        interrupted = True
    result = run.result()
    click.echo(json.dumps(result, indent=2) if as_json else text(result))
    if complaint := run.complaint():
        click.echo(f"freshet: {complaint}", err=True)
    return INTERRUPTED if interrupted else FAILED if complaint else 0


@cli.command(
    epilog=_examples(
        "freshet subscribe",
        "freshet subscribe --user ann --json -n 1",
    )
)
@click.option("--user", help="Only this user's.")
@click.option("--json", "as_json", is_flag=True, help="The records as they are, a line each.")
@click.option("--from-start", is_flag=True, help="All that Kafka has, then on.")
@click.option("-n", "count", type=click.IntRange(1), metavar="N", help="Stop after so many.")
@brokers
def subscribe(
    user: str | None, as_json: bool, from_start: bool, count: int | None, brokers: str | None
) -> int:
    """Follow the recommendations.

    A line each: when, for whom, upon what, the best items and why, the ages.
    """
    from streams.clients.subscribe import follow
    from streams.clients.subscribe import subscribe as run

    settings = _settings(brokers=brokers)
    _reachable(settings, "recommendations")
    consumer = follow(settings, "recommendations", from_start=from_start)
    try:
        run(consumer, click.echo, user=user, as_json=as_json, count=count)
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


# evaluate


def _span(ctx: click.Context, option: click.Parameter, text: Any) -> Any:
    """A span of time, or several; as it was typed."""
    from streams.offline.options import duration_ms

    for one in text if isinstance(text, tuple) else (text,):
        try:
            _ = one is None or one == "never" or duration_ms(one)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None
    return text


def _names(ctx: click.Context, option: click.Parameter, text: str | None) -> frozenset[str]:
    """`a,b` as a set."""
    return frozenset(filter(None, (part.strip() for part in (text or "").split(","))))


def _compared(ctx: click.Context, option: click.Parameter, text: str | None) -> frozenset[str] | None:
    """`a,b` as a set; None where it is not given."""
    return None if text is None else _names(ctx, option, text)


def _range(ctx: click.Context, option: click.Parameter, text: str | None) -> tuple[int, int] | None:
    """`1-7` or `4`."""
    if text is None:
        return None
    first, _, last = text.partition("-")
    if not first.isdecimal() or not (last or first).isdecimal():
        raise click.BadParameter(f"{text} are no windows: 1-7, say")
    return int(first), int(last or first)


def _cutoffs(ctx: click.Context, option: click.Parameter, text: str) -> tuple[int, ...]:
    """`20,10`."""
    parts = text.split(",")
    if not all(part.isdecimal() and 1 <= int(part) <= 200 for part in parts):
        raise click.BadParameter(f"{text} are no lengths of lists, 1 to 200: 20,10, say")
    return tuple(int(part) for part in parts)


def _warm_up(ctx: click.Context, option: click.Parameter, text: str) -> str:
    """`10%`, or a number of events."""
    share = text.removesuffix("%")
    try:
        fits = 0 <= float(share) < 100 if text.endswith("%") else int(text) >= 0
    except ValueError:
        fits = False
    if not fits:
        raise click.BadParameter(f"{text} is no part of the events: 10%, or 5000")
    return text


protocol_options = _all(
    click.option(
        "--protocol",
        type=click.Choice(["prequential", "windows", "holdout", "leave-one-out"]),
        default="prequential",
        show_default=True,
        help="In which order it predicts and learns.",
    ),
    click.option("--types", callback=_names, metavar="TYPE,...", help="To predict; default: all that teach."),
    click.option("--weights", metavar="TYPE=W,...", help="What a type teaches; *=W: all others."),
    click.option("--min-value", type=float, metavar="V", help="Leave out rows whose value is less."),
    click.option("--limit", type=click.IntRange(1), metavar="N", help="The first N rows only."),
    click.option("--drop-reloads", is_flag=True, help="Leave out rows with the user's latest item."),
    click.option("--warm-up", default="0%", callback=_warm_up, metavar="10%|N", help="These only teach."),
    click.option("--window", default="1d", show_default=True, metavar="1h|COLUMN", help="Of windows."),
    click.option("--windows", callback=_range, metavar="1-7", help="Predict these only; the first is 0."),
    click.option(
        "--split", default="80/10/10", show_default=True, metavar="A/B/C|COLUMN",
        help="Train, valid, test of --protocol holdout: shares in time, or a column that says it.",
    ),
    click.option("--learn", default="train", callback=_names, metavar="PART,...", help="To learn. [train]"),
    click.option("--part", default="test", metavar="PART", help="The part to predict. [test; tuning: valid]"),
    click.option("--target", type=click.Choice(["every", "last"]), default="every", help="[every]"),
    click.option(
        "--state", type=click.Choice(["frozen", "learning"]), default="frozen", show_default=True,
        help="Of the model while a window or part is predicted.",
    ),
    click.option("--drop-unseen", is_flag=True, help="Not to predict: items that no earlier window has."),
    click.option("--skip-repeats", is_flag=True, help="Not to predict: the user's latest item once more."),
    click.option("--skip-first", is_flag=True, help="Not to predict: a user's first event."),
    click.option(
        "--exclude", type=click.Choice(["latest", "seen", "nothing"]),
        help="Items of the user's that the lists leave out. [latest, as the stream's do]",
    ),
    click.option("--at", "ks", default="20", callback=_cutoffs, metavar="K,...", help="Of lists. [20]"),
    click.option("--model-delay", callback=_span, metavar="1s", help="Age that the model reaches. [1s]"),
    click.option("--batch", type=click.IntRange(1), metavar="N", help="Events learnt at once, at most."),
    click.option(
        "--seed", type=click.IntRange(0), metavar="N", help="Of models and intervals; over FRESHET_SEED."
    ),
)  # fmt: skip


def _taken(file: str, options: dict[str, Any], reading: dict[str, Any]) -> tuple[Any, "Settings", Any]:
    """The protocol, the settings, and the log as examples."""
    from streams.clients.progress import progress
    from streams.offline.examples import LabelledExamples, LogCounts, read_examples, with_event_weights
    from streams.offline.options import EvaluationOptions
    from streams.step.policy import ServingPolicy

    seed, weights = options.pop("seed"), options.pop("weights")
    chosen = EvaluationOptions(**options)
    try:
        settings = with_event_weights(_settings(seed=seed), weights)
    except ValueError:
        raise click.BadParameter(
            f"{weights} are no weights: click=1,purchase=3,*=0", param_hint="--weights"
        ) from None
    if chosen.label:
        reading["context"] = (*reading["context"], chosen.label)
    log = _open(file, run="e", **reading)
    examples, labels, read = [], [], LogCounts()
    with progress(log.fraction) as show:
        for example, label in read_examples(log, ServingPolicy.from_settings(settings), chosen, read):
            examples.append(example)
            labels.append(label)
            show(lambda: f"{len(examples):,} events read")
    if not read.types:
        raise click.ClickException(f"{file} has no row that is an event")
    for line in _remarks(read, settings, weights):
        click.echo(f"freshet: {line}", err=True)
    return chosen, settings, LabelledExamples(examples, labels)


def _remarks(read: Any, settings: "Settings", weights: str | None) -> list[str]:
    """What one would want to know of a log that was read, a line each."""
    from streams.step.users import Verdict

    found, rows = [], read.verdicts.total()
    if late := read.verdicts[Verdict.LATE]:
        found.append(
            f"{late:,} of {rows:,} rows teach nothing, as on the stream: they are more than"
            f" {settings.grace_s / 3600:g} h older than one of their user's before them; sort the log by time"
        )
    if twice := read.verdicts[Verdict.DUPLICATE]:
        found.append(f"{twice:,} of {rows:,} rows have the event id of a row before them: they count once")
    there = ", ".join(sorted(read.types))
    named = [part.partition("=")[0].strip() for part in (weights or "").split(",") if part]
    found += [f"--weights {name}: no row is of this type; there are {there}" for name in named
              if name != "*" and name not in read.types]  # fmt: skip
    return found


@cli.command(
    epilog=_examples(
        "freshet evaluate clicks.csv.gz --warm-up 10% --skip-first --types view",
        "freshet evaluate clicks.csv.gz --warm-up 10% --refresh 1h --refresh never --plot freshness.png",
        "freshet evaluate clicks.csv --protocol windows --window 1d --compare generators",
        "freshet evaluate clicks.csv --protocol holdout --split 80/10/10 --part valid --json",
    )
)
@log_file
@reading_options
@protocol_options
@click.option(
    "--refresh",
    multiple=True,
    callback=_span,
    metavar="1h|never",
    help="A twin refreshed so often; repeatable.",
)
@click.option(
    "--compare",
    callback=_compared,
    metavar="NAME,...",
    help="Generators, each alone, beside the whole; generators, rankers: all.  [popularity]",
)
@click.option(
    "--without", multiple=True, metavar="NAME", help="The whole without this generator; repeatable."
)
@click.option("--json", "as_json", is_flag=True, help="All figures, as JSON.")
@click.option(
    "--plot", type=click.Path(dir_okay=False), metavar="FILE", help="Recall over time: .png, .svg, .pdf."
)
def evaluate(
    file: str,
    refresh: tuple[str, ...],
    compare: frozenset[str] | None,
    without: tuple[str, ...],
    as_json: bool,
    plot: str | None,
    **given: Any,
) -> None:
    """Say how good the recommendations are, on a log.

    The log goes through the very steps that worker and learner take; each event is predicted before it is
    learnt.  docs/evaluation.md says what the protocols are, and how to lay the figures beside a paper's.
    """
    from streams.clients.progress import progress
    from streams.offline import evaluate as evaluating
    from streams.offline.report_text import format_tables

    if plot:
        from streams.offline.report_plot import check_plot

        check_plot(plot)
    reading = {name: given.pop(name) for name in READING}
    options = given | {"refresh": refresh, "compare": compare, "without": without}
    chosen, settings, taken = _taken(file, options, reading)
    done = 0.0
    with progress(lambda: done) as show:

        def say(quality: Any, learnt: int, fraction: float) -> None:
            nonlocal done
            done = fraction
            show(lambda: f"{quality.count:,.0f} predicted, {learnt:,} learnt, recall {quality.recall:.3f}")

        found = evaluating.evaluate(chosen, settings, taken, say)
    click.echo(json.dumps(found, indent=2) if as_json else format_tables(found))
    if plot:
        from streams.offline.report_plot import save_plot

        save_plot(found, plot)


READING = ("user", "item", "type", "time", "session", "value", "context", "time_unit", "on_error")
"""The names of `reading_options`."""


# tune


@cli.command(
    epilog=_examples(
        "freshet tune clicks.csv.gz --types view --skip-first --out tuned.toml",
        "freshet tune clicks.csv --protocol windows --window 1d --windows 1-7 --trials 100",
        "FRESHET_FILE=tuned.toml freshet evaluate clicks.csv.gz",
    )
)
@log_file
@reading_options
@protocol_options
@click.option("--share", type=click.FloatRange(1, 100), default=30, help="Of a prequential log, in %. [30]")
@click.option("--generators", callback=_names, metavar="NAME,...", help="To choose from. [all]")
@click.option("--rankers", callback=_names, metavar="NAME,...", help="To choose from, too.")
@click.option("--metric", type=click.Choice(["recall", "mrr", "ndcg"]), default="mrr", show_default=True)
@click.option("--trials", type=click.IntRange(1), metavar="N", default=50, show_default=True)
@click.option("--storage", metavar="FILE", default="tune.db", show_default=True, help="Keeps the search.")
@click.option("--out", metavar="FILE", default="tuned.toml", show_default=True, help="For FRESHET_FILE.")
@click.option("--json", "as_json", is_flag=True, help="What was found, as JSON.")
def tune(
    file: str,
    share: float,
    generators: frozenset[str],
    rankers: frozenset[str],
    metric: str,
    trials: int,
    storage: str,
    out: str,
    as_json: bool,
    **given: Any,
) -> int:
    """Find better settings of the model, on a log.

    On a validation part only: --part valid, the windows named by --windows, or the first --share of a
    prequential log.  A search that was interrupted goes on from its --storage.
    """
    from models.registry import GENERATORS, RANKERS
    from streams.clients.progress import progress
    from streams.offline import tune as tuning
    from streams.offline.options import IN_PARTS

    tuning.check_files(out, storage)
    for option, names, there in (("generators", generators, GENERATORS), ("rankers", rankers, RANKERS)):
        if unknown := sorted(names - set(there)):
            known = ", ".join(there)
            raise click.BadParameter(f"{unknown[0]} is none of {known}", param_hint=f"--{option}")
    source = click.get_current_context().get_parameter_source("part")
    if source is click.core.ParameterSource.DEFAULT and given["protocol"] in IN_PARTS:
        given["part"] = "valid"
    reading = {name: given.pop(name) for name in READING}
    chosen, settings, taken = _taken(file, given, reading)
    taken = tuning.validation_only(chosen, taken, share / 100)
    with progress() as show:

        def say(which: str, quality: Any, best: float) -> None:
            now = getattr(quality, metric)
            show(lambda: f"{which}: {now:.4f} after {quality.count:,.0f} predictions; best {best:.4f}")

        found = tuning.tune(
            chosen, settings, taken,
            generators=[name for name in GENERATORS if not generators or name in generators],
            rankers=sorted(rankers | {settings.ranker}),
            metric=metric, trials=trials, storage=storage, show=say,
        )  # fmt: skip
    said = f"{found.metric} {found.value:.4f}, {found.first:.4f} before"
    said += f"; {found.trials} trials, {found.pruned} given up"
    if found.value <= found.first:
        said += "; none was better, so these are the settings as they were"
    with open(out, "w") as settings_file:
        settings_file.write(tuning.settings_toml(found, f"freshet tune {os.path.basename(file)}: {said}"))
    click.echo(json.dumps(found._asdict(), indent=2) if as_json else f"{said}; written to {out}")
    return INTERRUPTED if found.interrupted else 0
