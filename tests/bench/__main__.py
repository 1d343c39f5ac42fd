"""The command line of the benchmarks: `python -m tests.bench age restart`."""

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
from tests.bench.behind import behind
from tests.bench.burst import burst
from tests.bench.caps import caps
from tests.bench.cores import cores
from tests.bench.deployment import Bench, progress
from tests.bench.freshness import freshness
from tests.bench.machine import header
from tests.bench.memory import memory
from tests.bench.models import models
from tests.bench.newcomer import newcomer
from tests.bench.pages import pages
from tests.bench.process import Ended
from tests.bench.report import Row, as_json, lines, markdown
from tests.bench.restart import restart
from tests.bench.rules import rules
from tests.bench.soak import soak
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
    "cores": cores,
    "behind": behind,
    "rules": rules,
    "burst": burst,
    "soak": soak,
    "newcomer": newcomer,
}
ONLY_BY_NAME = {"burst", "soak", "newcomer"}
ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that interrupt a run; SIGINT too, because a shell starts background jobs with it ignored."""

EXAMPLES = """\
parts:
  throughput  rate at which a backlog is answered, beside a naive Faust agent and a plain loop: events/s
  age         time from an event to its recommendation at 1,000 and 5,000 events/s: ms
  freshness   time from a click until the served model includes it, at 1,000 events/s: s
  restart     time to answer again after kill -9: s; rate at which a wiped store is restored: records/s
  memory      resident memory of a worker with 40,000 items and 200,000 users: MiB
  models      CPU time to learn an example and to rank for a session, without Kafka: µs
  pages       cost of 20 open overviews and 5 quality pages to throughput and age: ratio, 1 is no cost
  cores       CPU time of worker, learner and broker by thread at 0, 200 and 1,000 events/s, on a real Kafka
              and on the embedded broker: cores
  caps        rows and memory of a model of 100,000 rows after 5,000,000 distinct items, without Kafka
  behind      CPU time an event of a backlog takes, answered in full and by the latest of each user: µs
  rules       CPU time that catalog and rules take of making a list: µs
  burst       age of answers, and time until caught up, after a minute of ten times the capacity (only when
              named): s
  soak        growth of memory, open files and disk over two hours at 300 events/s (only when named): MiB/h
  newcomer    time from the command to the first recommendation on the page (only when named): s

examples:
  python -m tests.bench                          every part that need not be named, about half an hour
  python -m tests.bench age freshness
  python -m tests.bench --quick                  a smoke run, whose figures mean little
  python -m tests.bench --markdown >> docs/results.md
  python -m tests.bench newcomer --fresh         from git clone on, with a new environment
  FRESHET_CHUNK_EVENTS=2000 python -m tests.bench throughput --repeat 1

It starts a Kafka (which needs Java 17, and Maven for the jars) in a temporary folder, and removes it at the
end.  Figures depend on the machine's load: see `load` in the header.
"""


def main() -> int:
    """Measure, and return the exit status: 0 when no bar was missed, 1 otherwise, 130 when interrupted."""
    arguments = _arguments()
    for number in ENDS:
        signal.signal(number, signal.default_int_handler)
    names = arguments.parts or [name for name in PARTS if name not in ONLY_BY_NAME]
    head, rows = header(_command(arguments), arguments.seed), []
    try:
        with tempfile.TemporaryDirectory(prefix="freshet-bench-", ignore_cleanup_errors=True) as folder:
            progress("starting Kafka")
            with KafkaBroker(Path(folder) / "kafka") as kafka:
                try:
                    bench = Bench(
                        kafka.brokers, Path(folder), arguments.seed, arguments.quick,
                        1 if arguments.quick else arguments.repeat, arguments.fresh,
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
    for line in (markdown if arguments.markdown else lines)(head, rows):
        print(line)
    if arguments.json:
        arguments.json.write_text(json.dumps(as_json(head, rows), indent=2) + "\n")
    return int(any(row.verdict == "MISSED" for row in rows))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description="Measure the figures that the project promises, on this machine against a real Kafka.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "parts", nargs="*", metavar="NAME", help="a part (default: all but burst, soak, newcomer)"
    )
    parser.add_argument("--quick", action="store_true", help="a smoke run of every part")
    parser.add_argument(
        "--repeat", type=int, default=3, metavar="N", help="number of turns (default: %(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=1, metavar="N", help="seed of all random numbers (default: %(default)s)"
    )
    parser.add_argument("--markdown", action="store_true", help="print a section of docs/results.md")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write figures and details to FILE")
    parser.add_argument("--fresh", action="store_true", help="newcomer: measure from git clone on")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.parts if name not in PARTS]:
        parser.error(f"unknown part {', '.join(unknown)}: expected {', '.join(PARTS)}")
    if arguments.repeat < 1:
        parser.error("--repeat must be at least 1")
    return arguments


def _hold_signals() -> None:
    """Ignore signals while Kafka ends, so that a second Ctrl-C does not leave it behind."""
    for number in ENDS:
        signal.signal(number, signal.SIG_IGN)


def _command(arguments: argparse.Namespace) -> str:
    flags = [f"--{name}" for name in ("quick", "fresh") if getattr(arguments, name)]
    repeat = [] if arguments.quick else [f"--repeat {arguments.repeat}"]
    return " ".join(["python -m tests.bench", *arguments.parts, *flags, *repeat, f"--seed {arguments.seed}"])


if __name__ == "__main__":
    sys.exit(main())
