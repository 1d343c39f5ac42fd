"""Restart: kill -9 under load with the store kept; and with the store wiped, how fast it is restored."""

import shutil
import time
from statistics import median

from streams import topics
from tests.bench.backlog import Watch
from tests.bench.clicks import ITEMS
from tests.bench.figures import Row
from tests.bench.filled import fill_model, fill_users
from tests.bench.process import Ended
from tests.bench.site import Bench, Site, say
from tests.bench.steady import Load
from tests.bench.warm import warm_up

RATE, SETTLE_S, PATIENCE_S = 1000, 10, 120
USERS = 200_000
BEGIN, END = "Restoring state from changelog topics", "Done reading from changelog topics"
"""What Faust logs around a recovery."""


def restart(bench: Bench) -> list[Row]:
    """Both."""
    warm_up(bench)
    return [*kept(bench), *wiped(bench)]


def kept(bench: Bench) -> list[Row]:
    """Seconds from kill -9 until the recommendation for an event sent after it is read."""
    with bench.site("restart-kept") as site:
        fill_model(site.settings, bench)
        worker = site.worker()
        worker.wait_ready()
        found = []
        with Load(site.settings, RATE, bench.seed) as load:
            time.sleep(SETTLE_S)
            for turn in range(bench.repeat):
                say(f"restart: kill -9, store kept, {turn + 1} of {bench.repeat}")
                killed, next_event = time.time(), len(load.lateness)
                worker.kill()
                worker = site.worker()
                found.append(_first_answer(load, next_event) - killed)
                say(f"  answers after {found[-1]:.2f} s")
                time.sleep(SETTLE_S)
        return [
            Row("restart", "kill -9, store kept: answers again after", max(found), "s", at_most=5,
                note=f"longest of {len(found)}, {RATE:,} events/s, {ITEMS:,} items, a stable worker id",
                details={"seconds": found}),
            Row("restart", "... events without an answer", load.unanswered, "", at_most=0,
                note=f"of {len(load.sent):,}"),
        ]  # fmt: skip


def _first_answer(load: Load, first: int) -> float:
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        for n in range(first, len(load.lateness)):
            if answer := load.answers.get(n):
                return answer.at
        time.sleep(0.05)
    raise Ended(f"no answer within {PATIENCE_S} s of kill -9")


def wiped(bench: Bench) -> list[Row]:
    """Changelog records a second, between the two lines that Faust logs around the recovery."""
    users = bench.scaled(USERS)
    with bench.site("restart-wiped") as site:
        fill_model(site.settings, bench)
        size = fill_users(site.settings, users, bench.seed) / users
        records = Watch(site.settings, topics.USERS_CHANGELOG).count()
        rates, starts = [], []
        for turn in range(bench.repeat):
            say(f"restart: store wiped, {users:,} users, {turn + 1} of {bench.repeat}")
            seconds, ready = _restored(site, f"worker-{turn}")
            rates.append(records / seconds)
            starts.append(ready)
            say(f"  {rates[-1]:,.0f} records/s, ready after {ready:.2f} s")
    return [
        Row("restart", f"store wiped, {users:,} users: restored", median(rates), "records/s",
            at_least=100_000, note=f"{size:,.0f} bytes a record, by Faust's log",
            details={"records_per_s": rates}),
        Row("restart", "... from the start of the process until ready", median(starts), "s",
            note=f"with a model of {ITEMS:,} items to read", details={"seconds": starts}),
    ]  # fmt: skip


def _restored(site: Site, name: str) -> tuple[float, float]:
    worker = site.worker(name)
    ready = worker.wait_ready()
    begin, end = worker.logged(BEGIN), worker.logged(END)
    worker.stop()  # else the next one, of another name, waits for its partitions
    shutil.rmtree(site.folder / name)
    if begin is None or end is None:
        raise Ended(f"the log does not say when the store was restored: {BEGIN!r}, {END!r}")
    return end - begin, ready
