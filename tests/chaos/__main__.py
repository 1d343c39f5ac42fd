"""Play the scenarios: `python -m tests.chaos`; `--help` lists them."""

import argparse
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from deploy.kafka import KafkaFailed
from tests.chaos.broker import Broker
from tests.chaos.chaos import Chaos
from tests.chaos.report import Row, table
from tests.chaos.scenarios import SCENARIOS

ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that interrupt a run; SIGINT too, because a shell starts background jobs with it ignored."""

EXAMPLES = """\
examples:
  python -m tests.chaos --seed 1                 every scenario in the order of the seed, about 15 minutes
  python -m tests.chaos pause stall --seed 7
  python -m tests.chaos --quick                  every scenario scaled down
  python -m tests.chaos --keep /tmp/chaos pause  keeps logs and folders

It starts a Kafka (which needs Java 17, and Maven for the jars).  The exit status is 1 when a row is wrong.
"""


def main() -> int:
    """Play, print the table, and return the exit status: 0 when every row is right."""
    arguments = _arguments()
    for number in ENDS:
        signal.signal(number, signal.default_int_handler)
    names = arguments.scenarios or random.Random(arguments.seed).sample(sorted(SCENARIOS), len(SCENARIOS))
    rows: list[tuple[str, Row]] = []
    with tempfile.TemporaryDirectory(prefix="freshet-chaos-", ignore_cleanup_errors=True) as temporary:
        folder = arguments.keep or Path(temporary)
        try:
            with Broker(folder / "kafka") as broker:
                for name in names:
                    for row in play(name, broker, folder, arguments.seed, arguments.quick):
                        rows.append((name, row))
                        print(_progress(name, row), file=sys.stderr, flush=True)
        except KafkaFailed as error:
            print(f"chaos: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("chaos: interrupted", file=sys.stderr)
            return 130
        finally:
            print(table(rows))
    wrong = sum(not row.right for _, row in rows)
    print(f"\nseed {arguments.seed}: {len(rows) - wrong} of {len(rows)} rows right")
    return int(wrong > 0)


def play(name: str, broker: Broker, folder: Path, seed: int, quick: bool = False) -> Iterator[Row]:
    """The rows of a scenario; one that cannot be played to its end is a wrong row."""
    began = time.monotonic()
    chaos = Chaos(broker, folder / name, random.Random(f"{seed}/{name}"), quick)
    try:
        yield from SCENARIOS[name](chaos)
    except Exception as error:
        yield Row("the scenario", "it is played to its end", repr(error), False)
    print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)


def _progress(name: str, row: Row) -> str:
    verdict = "right" if row.right else "WRONG"
    return f"{time.strftime('%H:%M:%S')}  {verdict}  {name}: {row.done}: {row.seen}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos",
        description="Play faults against Freshet on a real Kafka, and judge by an oracle of its own.",
        epilog="scenarios:\n" + _described() + "\n" + EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("scenarios", nargs="*", metavar="NAME", help="a scenario (default: all)")
    parser.add_argument(
        "--seed", type=int, default=1, metavar="N", help="seed of order, moments and events (%(default)s)"
    )
    parser.add_argument("--quick", action="store_true", help="each scenario scaled down")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="an empty folder for logs and data, kept")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.scenarios if name not in SCENARIOS]:
        parser.error(f"unknown scenario {', '.join(unknown)}: expected {', '.join(SCENARIOS)}")
    return arguments


def _described() -> str:
    lines = [f"  {name:13} {(row.__doc__ or '').splitlines()[0]}" for name, row in SCENARIOS.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
