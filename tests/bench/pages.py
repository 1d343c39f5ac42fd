"""Pages: what 20 open overviews cost the stream, throughput and age, beside the same without, in turns.

A viewer does what a browser does on the page: figures and plots every five seconds, on a kept connection.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from statistics import median

from tests.bench.backlog import Watch, load, rate
from tests.bench.figures import Row, quantile
from tests.bench.filled import fill_model
from tests.bench.process import Process
from tests.bench.site import Bench, say
from tests.bench.steady import Load
from tests.bench.warm import warm_up

VIEWERS = 20
EVERY_S = 5.0
PATHS = ("/?range=15min", "/plots.json?range=15min")
EVENTS, RATE, SECONDS, SKIP_S = 300_000, 1000, 40, 5
FIRST = 10_000_000
"""Number of the first event of a load: a backlog before it has lower ones."""
AT_MOST = {"throughput": 1 / 0.97, "age p99": 1.10}


def pages(bench: Bench) -> list[Row]:
    """Two rows: without ÷ with for the throughput, with ÷ without for the age; 1 is no cost."""
    warm_up(bench)
    rates: list[tuple[float, float]] = []
    ages: list[tuple[float, float]] = []
    for turn in range(bench.repeat):
        say(f"pages, turn {turn + 1} of {bench.repeat}")
        looked = (turn % 2 == 1, turn % 2 == 0)  # who is first takes turns, too
        found = {viewed: _throughput(bench, viewed) for viewed in looked}
        rates.append((found[False], found[True]))
        found = _ages(bench, looked)
        ages.append((found[False], found[True]))
    costs = {
        "throughput": [without / with_ for without, with_ in rates],
        "age p99": [with_ / without for without, with_ in ages],
    }
    measured = {"throughput": rates, "age p99": ages}
    return [
        Row(
            "pages", f"{VIEWERS} open overviews, {what}", median(found), "×", at_most=AT_MOST[what],
            note=f"{min(found):.3f} to {max(found):.3f}",
            details={"without_and_with": measured[what]},
        )
        for what, found in costs.items()
    ]  # fmt: skip


def _throughput(bench: Bench, viewed: bool) -> float:
    """Events a second of a backlog."""
    n = bench.scaled(EVENTS)
    with bench.site("pages-throughput") as site:
        fill_model(site.settings, bench)
        load(site.settings, n, bench.seed)
        watch, worker = Watch(site.settings), site.worker()
        with viewers(worker, VIEWERS if viewed else 0):
            found, _ = rate(watch.until(n, worker))
    say(f"  {found:,.0f} events/s {'with' if viewed else 'without'} viewers")
    return found


def _ages(bench: Bench, looked: tuple[bool, bool]) -> dict[bool, float]:
    """The p99 of the age at a steady rate, ms, of one and the same worker."""
    found = {}
    with bench.site("pages-age") as site:
        fill_model(site.settings, bench)
        site.learner().wait_active()
        worker = site.worker()
        worker.wait_ready()
        for n, viewed in enumerate(looked):
            with (
                viewers(worker, VIEWERS if viewed else 0),
                Load(site.settings, RATE, bench.seed + n, FIRST * (n + 1)) as steady,
            ):
                time.sleep(SKIP_S + bench.scaled(SECONDS))
            found[viewed] = quantile(steady.ages_ms(SKIP_S), 0.99) or float("nan")
            say(f"  p99 {found[viewed]:.1f} ms {'with' if viewed else 'without'} viewers")
    return found


@contextmanager
def viewers(worker: Process, count: int) -> Iterator[None]:
    """So many open overviews, until the end of the `with`."""
    done = threading.Event()
    threads = [
        threading.Thread(target=_view, args=(worker.port, n * EVERY_S / max(count, 1), done), daemon=True)
        for n in range(count)
    ]
    for thread in threads:
        thread.start()
    yield
    done.set()
    for thread in threads:
        thread.join()


def _view(port: int, first_s: float, done: threading.Event) -> None:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    wait = first_s
    while not done.wait(wait):
        for path in PATHS:
            try:
                connection.request("GET", path, headers={"HX-Request": "true"})
                connection.getresponse().read()
            except OSError:  # not up yet
                connection.close()
        wait = EVERY_S
    connection.close()
