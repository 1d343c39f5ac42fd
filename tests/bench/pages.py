"""Pages: what 20 open overviews and 5 quality pages cost the stream, beside the same without, in turns.

A viewer does what a browser does on the page: figures and plots every five seconds, on a kept connection.
The history that they show is full.  Who shares the machine makes rates and ages unsteady; the processor's
time an event is not touched by that.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from statistics import median

from confluent_kafka import Producer

from streams.history import SPANS, slots
from streams.kafka.client import producer_config
from streams.messages import MetricsRow, encode
from streams.settings import Settings
from tests.bench.backlog import Watch, load, rate
from tests.bench.figures import Row, quantile
from tests.bench.filled import fill_model
from tests.bench.process import Process
from tests.bench.site import Bench, say
from tests.bench.steady import Load
from tests.bench.warm import warm_up

OVERVIEW = ("/?range=15min", "/plots.json?range=15min")
QUALITY = ("/quality?range=15min", "/quality/plots.json?range=15min")
OPEN = (OVERVIEW,) * 20 + (QUALITY,) * 5
EVERY_S = 5.0
EVENTS, RATE, SECONDS, SKIP_S = 300_000, 1000, 40, 5
FIRST = 10_000_000
"""Number of the first event of a load: a backlog before it has lower ones."""
AT_MOST = {"throughput": 1 / 0.97, "age p99": 1.10, "processor's time an event": None}
WHO = ("now", "shown", "frozen", "popularity")
SEGMENTS = ("all", *(f"segment {n}" for n in range(20)))
WHAT = ("predictions", "hits", "reciprocal_ranks", "gains")


def pages(bench: Bench) -> list[Row]:
    """Without ÷ with for the throughput, with ÷ without for the age and the time; 1 is no cost."""
    warm_up(bench)
    rates: list[tuple[float, float]] = []
    times: list[tuple[float, float]] = []
    ages: list[tuple[float, float]] = []
    for turn in range(bench.repeat):
        say(f"pages, turn {turn + 1} of {bench.repeat}")
        looked = (turn % 2 == 1, turn % 2 == 0)  # who is first takes turns, too
        answered = {viewed: _throughput(bench, viewed) for viewed in looked}
        rates.append((answered[False][0], answered[True][0]))
        times.append((answered[False][1], answered[True][1]))
        old = _ages(bench, looked)
        ages.append((old[False], old[True]))
    costs = {
        "throughput": [without / with_ for without, with_ in rates],
        "age p99": [with_ / without for without, with_ in ages],
        "processor's time an event": [with_ / without for without, with_ in times],
    }
    measured = {"throughput": rates, "age p99": ages, "processor's time an event": times}
    return [
        Row(
            "pages", f"20 open overviews and 5 quality pages, {what}", median(found), "×",
            at_most=AT_MOST[what], note=f"{min(found):.3f} to {max(found):.3f}",
            details={"without_and_with": measured[what]},
        )
        for what, found in costs.items()
    ]  # fmt: skip


def _throughput(bench: Bench, viewed: bool) -> tuple[float, float]:
    """Events a second of a backlog, and seconds of the worker's processor time an event."""
    n = bench.scaled(EVENTS)
    with bench.site("pages-throughput") as site:
        fill_model(site.settings, bench)
        fill_history(site.settings)
        load(site.settings, n, bench.seed)
        watch, worker = Watch(site.settings), site.worker()
        with viewers(worker, OPEN if viewed else ()):
            found, time_s = rate(watch.until(n, worker))
    say(f"  {found:,.0f} events/s, {1e6 * time_s:.1f} µs each, {'with' if viewed else 'without'} viewers")
    return found, time_s


def _ages(bench: Bench, looked: tuple[bool, bool]) -> dict[bool, float]:
    """The p99 of the age at a steady rate, ms, of one and the same worker."""
    found = {}
    with bench.site("pages-age") as site:
        fill_model(site.settings, bench)
        fill_history(site.settings)
        site.learner().wait_active()
        worker = site.worker()
        worker.wait_ready()
        for n, viewed in enumerate(looked):
            with (
                viewers(worker, OPEN if viewed else ()),
                Load(site.settings, RATE, bench.seed + n, FIRST * (n + 1)) as steady,
            ):
                time.sleep(SKIP_S + bench.scaled(SECONDS))
            found[viewed] = quantile(steady.ages_ms(SKIP_S), 0.99) or float("nan")
            say(f"  p99 {found[viewed]:.1f} ms {'with' if viewed else 'without'} viewers")
    return found


def fill_history(settings: Settings) -> None:
    """Write 15 min of a worker and of a learner, with as many counts as a quality page has."""
    served = dict.fromkeys(("accepted", "recommendations", "predictions", "recommended_hits"), 1000.0)
    learnt = {f"quality:{who}|{part}|{what}": 50.0 for who in WHO for part in SEGMENTS for what in WHAT}
    producer, span, now = Producer(producer_config(settings)), SPANS["15min"], int(time.time() * 1000)
    for process, counts in (("serving/before", served), ("learning/before", learnt)):
        for start in slots(span, now):
            row = MetricsRow(time=start, until=start + span.step_ms, counts=counts)
            producer.produce(settings.topic("metrics"), encode(row), span.key(process, start), partition=0)
    producer.flush()


@contextmanager
def viewers(worker: Process, pages: Sequence[Sequence[str]]) -> Iterator[None]:
    """These pages open, until the end of the `with`: what each asks for, evenly over the time."""
    done = threading.Event()
    threads = [
        threading.Thread(target=_view, args=(worker.port, paths, n * EVERY_S / len(pages), done), daemon=True)
        for n, paths in enumerate(pages)
    ]
    for thread in threads:
        thread.start()
    yield
    done.set()
    for thread in threads:
        thread.join()


def _view(port: int, paths: Sequence[str], first_s: float, done: threading.Event) -> None:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    wait = first_s
    while not done.wait(wait):
        for path in paths:
            try:
                connection.request("GET", path, headers={"HX-Request": "true"})
                connection.getresponse().read()
            except OSError:  # not up yet
                connection.close()
        wait = EVERY_S
    connection.close()
