"""The command line of the benchmarks: `make bench`, `python -m tests.bench`."""

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from deploy.kafka import KafkaBroker, KafkaFailed
from tests.bench.age import age
from tests.bench.backlog import NoAnswers
from tests.bench.caps import caps
from tests.bench.figures import Row, as_json, lines, markdown
from tests.bench.freshness import freshness
from tests.bench.machine import header
from tests.bench.memory import memory
from tests.bench.models import models
from tests.bench.newcomer import newcomer
from tests.bench.pages import pages
from tests.bench.process import Ended
from tests.bench.restart import restart
from tests.bench.site import Bench, say
from tests.bench.throughput import throughput

PARTS: dict[str, Callable[[Bench], list[Row]]] = {
    "throughput": throughput,
    "age": age,
    "freshness": freshness,
    "restart": restart,
    "memory": memory,
    "pages": pages,
    "models": models,
    "caps": caps,
    "newcomer": newcomer,
}
ONLY_BY_NAME = {"newcomer"}
ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""SIGINT too: a shell starts what is behind `&` with it ignored."""

EXAMPLES = """\
parts:
  throughput  a backlog answered: plumbing alone, whole path, learning; a naive Faust agent, a plain loop
  age         event to recommendation at 1,000 and 5,000 events/s, learner at work; the plain loop
  freshness   a click until it is in the served model, at 1,000 events/s
  restart     kill -9 with the store kept; with the store wiped and 200,000 users
  memory      of a serving process with 40,000 items and 200,000 users
  models      what one core takes to learn an example and to rank for a session, without Kafka
  pages       what 20 open overviews and 5 quality pages cost: throughput and age, with and without, in turns
  caps        5,000,000 distinct items and users through a model of 100,000 rows, without Kafka
  newcomer    start to first recommendation on the page (only when named)

examples:
  python -m tests.bench                          all but newcomer, about half an hour
  python -m tests.bench age freshness
  python -m tests.bench --quick                  a smoke run: figures mean little
  python -m tests.bench --markdown >> docs/results.md
  python -m tests.bench newcomer --fresh         clone and environment too
  FRESHET_CHUNK_EVENTS=2000 python -m tests.bench throughput --repeat 1

It starts its own Kafka (Java 17, Maven for the jars) in a temporary folder, and removes all at the end.
A machine that does something else meanwhile gives other figures: see `load` in the header.
"""


def main() -> int:
    """Measure; 0 when no bar was missed, 1 otherwise."""
    asked = _arguments()
    for number in ENDS:
        signal.signal(number, signal.default_int_handler)
    names = asked.parts or [name for name in PARTS if name not in ONLY_BY_NAME]
    head, rows = header(_command(asked), asked.seed), []
    try:
        with tempfile.TemporaryDirectory(prefix="freshet-bench-", ignore_cleanup_errors=True) as folder:
            say("starting Kafka")
            with KafkaBroker(Path(folder) / "kafka") as kafka:
                try:
                    bench = Bench(
                        kafka.brokers, Path(folder), asked.seed, asked.quick,
                        1 if asked.quick else asked.repeat, asked.fresh,
                    )  # fmt: skip
                    for name in names:
                        rows += PARTS[name](bench)
                finally:
                    _hold_signals()
    except (KafkaFailed, Ended, NoAnswers) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench: interrupted", file=sys.stderr)
        return 130
    for line in (markdown if asked.markdown else lines)(head, rows):
        print(line)
    if asked.json:
        asked.json.write_text(json.dumps(as_json(head, rows), indent=2) + "\n")
    return int(any(row.verdict == "MISSED" for row in rows))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description="What the project promises in figures, measured on this machine against a real Kafka.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("parts", nargs="*", metavar="NAME", help="a part; default: all but newcomer")
    parser.add_argument("--quick", action="store_true", help="a smoke run of every part")
    parser.add_argument("--repeat", type=int, default=3, metavar="N", help="turns (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--markdown", action="store_true", help="print a section of docs/results.md")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write figures and details there, too")
    parser.add_argument("--fresh", action="store_true", help="newcomer: from git clone on")
    asked = parser.parse_args()
    if unknown := [name for name in asked.parts if name not in PARTS]:
        parser.error(f"no part {', '.join(unknown)}: {', '.join(PARTS)}")
    if asked.repeat < 1:
        parser.error("--repeat must be at least 1")
    return asked


def _hold_signals() -> None:
    """While Kafka ends: a second Ctrl-C must not leave it behind."""
    for number in ENDS:
        signal.signal(number, signal.SIG_IGN)


def _command(asked: argparse.Namespace) -> str:
    flags = [f"--{name}" for name in ("quick", "fresh") if getattr(asked, name)]
    repeat = [] if asked.quick else [f"--repeat {asked.repeat}"]
    return " ".join(["python -m tests.bench", *asked.parts, *flags, *repeat, f"--seed {asked.seed}"])


if __name__ == "__main__":
    sys.exit(main())
