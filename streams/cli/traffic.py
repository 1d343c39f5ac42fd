"""Commands that publish events and read recommendations: publish, replay, subscribe."""

import json
import time
from typing import Any

import click

from streams.cli.connection import connect
from streams.cli.event_log import event_id_option, log_file, open_log, reading_options
from streams.cli.options import brokers, examples, options
from streams.cli.types import POSITIVE, SPEED
from streams.errors import FAILURE, INTERRUPTED

FLUSH_S = 5.0
"""How long an interrupted `publish` waits for events on their way."""
MAX_UNANSWERED, MAX_UNANSWERED_EMBEDDED = 20_000, 2_000
"""Events in flight of a replay; the embedded broker keeps 5 MiB per partition."""

pace_options = options(
    click.option(
        "--run",
        metavar="NAME",
        default=lambda: f"r{int(time.time()):x}",
        help="Prefix of event ids, which are NAME-LINE.  [from the time]",
    ),
    click.option("--rate", type=POSITIVE, metavar="N", help="Events per second."),
    click.option("--speed", type=SPEED, metavar="10x", help="Speed against the log's own times."),
    click.option(
        "--copies",
        type=click.IntRange(1),
        metavar="N",
        default=1,
        show_default=True,
        help="Records published per event.",
    ),
)


@click.command(
    epilog=examples(
        "freshet publish events.csv.gz --speed 100x",
        "freshet publish clicks.jsonl --user visitor --time at --context device",
        "freshet publish ratings.dat --columns user,item,value,time --delimiter ::",
        "freshet publish segment.jsonl --user userId,anonymousId --item properties.product_id",
        "tail -f clicks.jsonl | freshet publish -",
    )
)
@log_file
@reading_options
@pace_options
@brokers
@event_id_option
@click.option(
    "--live/--replay",
    default=None,
    help="Whether events happen now or happened at their times.  [replay; live from stdin]",
)
def publish(
    file: str,
    brokers: str | None,
    event_id: str | None,
    live: bool | None,
    run: str,
    rate: float | None,
    speed: float | None,
    copies: int,
    reading: dict[str, Any],
) -> int:
    """Publish a log of events.

    FILE is a table such as CSV, or JSON lines, .gz or not; - is stdin.  A row that a worker would refuse is
    refused here.  Events keep their times.  With --replay each record also says when its event would have
    arrived, so that times of years ago are accepted.
    """
    from streams.clients.progress import progress
    from streams.clients.publish import CheckedOrder, EventProducer, publish_events, schedule

    config = _linger(rate, speed, unpaced_ms=50)
    settings = connect(brokers, "events")
    log = open_log(file, run, settings, event_id=event_id, **reading)
    producer = EventProducer(settings, **config)
    live = file == "-" if live is None else live
    events = CheckedOrder(schedule(log, live=live, rate=rate, speed=speed))
    interrupted = False
    try:
        with progress(log.fraction) as show:
            publish_events(events, producer, show, copies)
    except KeyboardInterrupt:
        interrupted = True
    finally:
        producer.flush(FLUSH_S)
        click.echo(f"{producer.delivered:,} events delivered, {producer.sent - producer.delivered:,} not")
    if producer.failed:
        raise click.ClickException(f"{producer.failed:,} events were not delivered: {producer.reason}")
    _say(events.problem())
    return INTERRUPTED if interrupted else 0


@click.command(
    epilog=examples("freshet replay events.csv.gz", "freshet replay events.csv.gz --rate 1000 --json")
)
@log_file
@reading_options
@pace_options
@brokers
@click.option(
    "--in-flight",
    type=click.IntRange(1),
    metavar="N",
    help=f"Unanswered events at most.  [{MAX_UNANSWERED}; embedded broker: {MAX_UNANSWERED_EMBEDDED}]",
)
@click.option(
    "--timeout",
    type=POSITIVE,
    metavar="S",
    default=30,
    show_default=True,
    help="Stop after S seconds without an answer.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def replay(
    file: str,
    brokers: str | None,
    run: str,
    rate: float | None,
    speed: float | None,
    copies: int,
    in_flight: int | None,
    timeout: float,
    as_json: bool,
    reading: dict[str, Any],
) -> int:
    """Publish a log and wait for every answer.

    Prints throughput and ages at the end.  Every event gets the id RUN-LINE, also where the log has
    ids.  The exit code is 1 when answers are missing.
    """
    from streams.clients.progress import progress
    from streams.clients.publish import CheckedOrder, EventProducer, schedule
    from streams.clients.replay import Replay, text
    from streams.clients.subscribe import follow

    config = _linger(rate, speed, unpaced_ms=20)  # the events in flight wait for it
    settings = connect(brokers, "events", "recommendations", "dead-letter")
    log = open_log(file, run, settings, event_id="", **reading)
    consumer = follow(settings, "recommendations", "dead-letter")
    replaying = Replay(settings, EventProducer(settings, **config), consumer, run)
    in_flight = in_flight or (MAX_UNANSWERED_EMBEDDED if settings.embedded else MAX_UNANSWERED)
    events = CheckedOrder(schedule(log, rate=rate, speed=speed))
    interrupted = False
    try:
        with progress(log.fraction) as show:
            replaying.publish(events, show, in_flight=in_flight, timeout_s=timeout, copies=copies)
    except KeyboardInterrupt:
        interrupted = True
    result = replaying.result()
    click.echo(json.dumps(result, indent=2) if as_json else text(result))
    _say(events.problem())
    _say(problem := replaying.problem())
    return INTERRUPTED if interrupted else FAILURE if problem else 0


def _say(problem: str) -> None:
    if problem:
        click.echo(f"freshet: {problem}", err=True)


def _linger(rate: float | None, speed: float | None, unpaced_ms: int) -> dict[str, int]:
    """How long the producer collects events for a batch: not at all when they are paced."""
    if rate and speed:
        raise click.UsageError("--rate and --speed exclude each other")
    return {"linger.ms": 0 if rate or speed else unpaced_ms}


@click.command(
    epilog=examples(
        "freshet subscribe",
        "freshet subscribe --user ann --json -n 1",
        "freshet subscribe --placement basket",
    )
)
@click.option("--user", help="Only recommendations for this user.")
@click.option("--placement", help='Only recommendations for this placement; "" is the default one.')
@click.option("--json", "as_json", is_flag=True, help="Print the records as they are, one per line.")
@click.option("--from-start", is_flag=True, help="Begin with the oldest record that Kafka has.")
@click.option("-n", "count", type=click.IntRange(1), metavar="N", help="Stop after N records.")
@brokers
def subscribe(
    user: str | None,
    placement: str | None,
    as_json: bool,
    from_start: bool,
    count: int | None,
    brokers: str | None,
) -> int:
    """Follow the recommendations.

    A line has the time, the user, the placement if it is not the default one, the event that caused the
    list, the best items with their reasons, and the ages.
    """
    from streams.clients.subscribe import follow, print_recommendations

    settings = connect(brokers, "recommendations")
    consumer = follow(settings, "recommendations", from_start=from_start)
    try:
        print_recommendations(
            consumer, click.echo, user=user, placement=placement, as_json=as_json, count=count
        )
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0
