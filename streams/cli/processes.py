"""Commands that run Freshet's processes, or show them: demo, worker, learner, top."""

import os
from typing import Any

import click

from streams.cli.event_log import open_log, reading_options
from streams.cli.options import brokers, examples
from streams.cli.types import POSITIVE

web_port = click.option(
    "--web-port", type=click.IntRange(0, 65535), metavar="PORT", help="Port of the pages; 0: any free one."
)


@click.command(epilog=examples("freshet demo", "freshet demo --data events.csv.gz --rate 500 --seconds 60"))
@click.option(
    "--data",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    help="Play this log instead of the shop.",
)
@click.option("--rate", type=POSITIVE, metavar="N", default=200, show_default=True, help="Events per second.")
@click.option("--seconds", type=POSITIVE, metavar="S", help="Stop after S seconds.")
@reading_options
def demo(data: str | None, rate: float, seconds: float | None, reading: dict[str, Any]) -> None:
    """Run everything on this machine, with a simulated shop.

    Starts a broker, a worker, the learner and the shop, until Ctrl-C.  Needs neither Kafka nor Java: the
    broker is the one that confluent-kafka has for tests.  --data plays a log of yours (a table or JSON
    lines, .gz or not) instead of the shop; the options below it say how to read it.
    """
    from streams.clients.demo import run_demo
    from streams.settings import load

    run_demo(open_log(data, "demo", load(), **reading) if data else None, rate, seconds)


@click.command(
    epilog=examples("freshet worker", "freshet worker --worker-id a --web-port 6066 --data-dir /var/lib/a")
)
@brokers
@click.option("--worker-id", metavar="NAME", help="A stable name: a restart keeps its partitions.")
@web_port
@click.option(
    "--data-dir", type=click.Path(file_okay=False), help="Folder of the local state, one per worker."
)
def worker(**overrides: Any) -> None:
    """Turn events into recommendations.

    Any number of workers share the partitions of the topic events.
    """
    _run("streams.app", overrides)


@click.command(epilog=examples("freshet learner", "freshet learner --brokers kafka:9092 --web-port 6067"))
@brokers
@web_port
@click.option("--data-dir", type=click.Path(file_okay=False), help="Folder of the local state.")
def learner(**overrides: Any) -> None:
    """Learn the model from what users did.

    One learner is active at a time; others are on standby.
    """
    _run("streams.learner", overrides)


def _run(module: str, overrides: dict[str, Any]) -> None:
    from streams.settings import PREFIX, load

    changes = {name: value for name, value in overrides.items() if value is not None}
    settings = load(**changes)  # refuses a bad setting before anything else is imported
    os.environ |= {PREFIX + name.upper(): str(value) for name, value in changes.items()}  # read by the module

    from streams.runtime.faust_app import run

    run(module, settings)


@click.command(epilog=examples("freshet top", "freshet top --url http://worker-1:6066"))
@click.option("--url", default="http://127.0.0.1:6066", show_default=True, help="Address of any worker.")
@click.option("--once", is_flag=True, help="Print the overview once and exit.")
def top(url: str, once: bool) -> None:
    """Show the overview of the cluster in this terminal."""
    from streams.clients.top import run_top

    run_top(url, once)
