"""Restart: time until a worker answers again after kill -9, and the rate at which a wiped store is restored.

Units: s from the kill until the recommendation for an event sent after it is read; changelog records/s by the
times between Faust's log lines before and after the recovery.

    python -m tests.bench restart
"""

import shutil
import time
from statistics import median

from streams import topics
from tests.bench.backlog import Watch
from tests.bench.clicks import ITEMS
from tests.bench.deployment import Bench, Deployment, progress
from tests.bench.prefill import fill_model, fill_users
from tests.bench.process import Ended
from tests.bench.report import Row
from tests.bench.steady_load import SteadyLoad
from tests.bench.warm_up import warm_up

RATE, SETTLE_S, PATIENCE_S = 1000, 10, 120
USERS = 200_000
BEGIN, END = "Restoring state from changelog topics", "Done reading from changelog topics"
"""Faust's log lines before and after a recovery."""


def restart(bench: Bench) -> list[Row]:
    """Measure a restart with the store kept, and one with the store wiped."""
    warm_up(bench)
    return [*store_kept(bench), *store_wiped(bench)]


def store_kept(bench: Bench) -> list[Row]:
    """Measure the time from kill -9 until the recommendation for an event sent after it is read."""
    with bench.deploy("restart-kept") as deployment:
        fill_model(deployment.settings, bench)
        worker = deployment.worker()
        worker.wait_ready()
        seconds = []
        with SteadyLoad(deployment.settings, RATE, bench.seed) as load:
            time.sleep(SETTLE_S)
            for turn in range(bench.repeat):
                progress(f"restart: kill -9, store kept, {turn + 1} of {bench.repeat}")
                killed, next_event = time.time(), len(load.lateness)
                worker.kill()
                worker = deployment.worker()
                seconds.append(_first_answer(load, next_event) - killed)
                progress(f"  answers after {seconds[-1]:.2f} s")
                time.sleep(SETTLE_S)
        return [
            Row("restart", "kill -9, store kept: answers again after", max(seconds), "s", at_most=5,
                note=f"longest of {len(seconds)}, {RATE:,} events/s, {ITEMS:,} items, a stable worker id",
                details={"seconds": seconds}),
            Row("restart", "... events without an answer", load.unanswered, "", at_most=0,
                note=f"of {len(load.sent):,}"),
        ]  # fmt: skip


def _first_answer(load: SteadyLoad, first: int) -> float:
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        for n in range(first, len(load.lateness)):
            if answer := load.answers.get(n):
                return answer.at
        time.sleep(0.05)
    raise Ended(f"no answer within {PATIENCE_S} s of kill -9")


def store_wiped(bench: Bench) -> list[Row]:
    """Measure changelog records a second between the two lines that Faust logs around the recovery."""
    users = bench.scaled(USERS)
    with bench.deploy("restart-wiped") as deployment:
        fill_model(deployment.settings, bench)
        size = fill_users(deployment.settings, users, bench.seed) / users
        records = Watch(deployment.settings, topics.USERS_CHANGELOG).count()
        rates, starts = [], []
        for turn in range(bench.repeat):
            progress(f"restart: store wiped, {users:,} users, {turn + 1} of {bench.repeat}")
            seconds, ready = _restore(deployment, f"worker-{turn}")
            rates.append(records / seconds)
            starts.append(ready)
            progress(f"  {rates[-1]:,.0f} records/s, ready after {ready:.2f} s")
    return [
        Row("restart", f"store wiped, {users:,} users: restored", median(rates), "records/s",
            at_least=100_000, note=f"{size:,.0f} bytes a record, by Faust's log",
            details={"records_per_s": rates}),
        Row("restart", "... from the start of the process until ready", median(starts), "s",
            note=f"with a model of {ITEMS:,} items to read", details={"seconds": starts}),
    ]  # fmt: skip


def _restore(deployment: Deployment, name: str) -> tuple[float, float]:
    worker = deployment.worker(name)
    ready = worker.wait_ready()
    begin, end = worker.logged(BEGIN), worker.logged(END)
    worker.stop()  # or the next one, by another name, waits for its partitions
    shutil.rmtree(deployment.folder / name)
    if begin is None or end is None:
        raise Ended(f"the log does not say when the store was restored: {BEGIN!r}, {END!r}")
    return end - begin, ready
