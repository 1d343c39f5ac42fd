"""Cores: CPU time of each process by thread, at rest and under a steady load.

Unit: cores, CPU seconds a second, over 20 s at each rate, on a real Kafka and on the embedded broker (which
runs in the measuring process).  CPU time depends less on what else runs than any time by the clock.

    python -m tests.bench cores
"""

import os
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

from streams import topics
from streams.kafka.embedded import PARTITIONS, EmbeddedBroker
from tests.bench.deployment import Bench, Deployment, progress
from tests.bench.report import Row, quantile
from tests.bench.steady_load import SteadyLoad

RATES = (0, 200, 1000)
SECONDS, SETTLE_S = 20, 6
BARS = {"learner": {200: 0.15}, "worker": {200: 0.15}}
FIRST = 10_000_000
"""Distance between the numbers of the first events of two loads."""
LEAST = 0.003
"""Threads below so many cores are left out of the note."""


class Thread(NamedTuple):
    """A thread of a process, by its name in the kernel."""

    process: int
    id: int
    name: str


class Watched(NamedTuple):
    """A process under measurement, or those of its threads that have `threads` in their name."""

    pid: int
    threads: str = ""


def cores(bench: Bench) -> list[Row]:
    """Measure worker, learner and broker on both brokers at each rate."""
    kafka = Watched(int((bench.folder / "kafka" / "broker.pid").read_text().split()[0]))
    with bench.deploy("cores") as deployment:
        rows = _measured("kafka", deployment, kafka)
    broker = EmbeddedBroker()
    embedded = {"brokers": broker.brokers, "embedded": True, "partitions": PARTITIONS}
    with bench.deploy("cores", **embedded) as deployment:
        broker.create(*(topic.name for topic in topics.topics(deployment.settings).values()))
        return rows + _measured("embedded", deployment, Watched(os.getpid(), "rdk:mock"))


def _measured(name: str, deployment: Deployment, broker: Watched) -> list[Row]:
    bench, rows = deployment.bench, []
    learner, worker = deployment.learner(), deployment.worker()
    learner.wait_active()
    worker.wait_ready()
    watched = {"worker": Watched(worker.pid), "learner": Watched(learner.pid), "broker": broker}
    for turn, rate in enumerate(RATES, 1):
        progress(f"cores: {name}, {rate:,} events/s")
        load = SteadyLoad(deployment.settings, rate, bench.seed, FIRST * turn) if rate else None
        with load or nullcontext():
            time.sleep(SETTLE_S)
            used = measure({process.pid for process in watched.values()}, bench.scaled(SECONDS))
        part = f"cores, {name}, {rate:,}/s"
        rows += [_row(part, rate, process, used, *of) for process, of in watched.items()]
        if load:
            ages = load.ages_ms(SETTLE_S)
            note = f"p99 {quantile(ages, 0.99):.1f} ms" if ages else "nothing was answered"
            rows.append(Row(part, "age, p50", quantile(ages, 0.5), "ms", note=note))
    return rows


def cpu_s(processes: Iterable[int]) -> dict[Thread, float]:
    """CPU seconds of each thread so far, user and system."""
    seconds = {}
    for process in processes:
        for task in Path(f"/proc/{process}/task").iterdir():
            name, _, fields = task.joinpath("stat").read_text().partition("(")[2].rpartition(")")
            user, system = fields.split()[11:13]
            seconds[Thread(process, int(task.name), name)] = (int(user) + int(system)) / os.sysconf(
                "SC_CLK_TCK"
            )
    return seconds


def measure(processes: Iterable[int], seconds: float) -> dict[Thread, float]:
    """Cores that each thread uses for so many seconds."""
    processes = list(processes)
    before, began = cpu_s(processes), time.monotonic()
    time.sleep(seconds)
    after, elapsed = cpu_s(processes), time.monotonic() - began
    return {thread: (used - before.get(thread, 0.0)) / elapsed for thread, used in after.items()}


def _row(part: str, rate: int, process: str, used: Mapping[Thread, float], pid: int, threads: str) -> Row:
    by_name: dict[str, float] = defaultdict(float)
    for thread, value in used.items():
        if thread.process == pid and threads in thread.name:
            by_name["main" if thread.id == pid else thread.name] += value
    busiest = sorted(by_name.items(), key=lambda thread: -thread[1])
    return Row(
        part, process, sum(by_name.values()), "cores", at_most=BARS.get(process, {}).get(rate),
        note=", ".join(f"{name} {value:.3f}" for name, value in busiest if value >= LEAST),
        details={"threads": dict(by_name)},
    )  # fmt: skip
