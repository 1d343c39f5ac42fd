"""Pages: what 20 open overviews and 5 quality pages cost the stream, beside the same without, in turns.

A viewer does what a browser does on the page: figures and plots every five seconds, on a kept connection.
The history that they show is full.  Who shares the machine makes rates and ages unsteady, the p99 of one
minute twice that of the next; so one load is cut into short spells, with viewers and without in turn, and
each is laid beside its neighbour.  The processor's time an event is not touched by that.
"""

import multiprocessing
import threading
import time
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from statistics import median
from typing import Any

import numpy as np
from confluent_kafka import Producer

from models.evaluation.bootstrap import percentile_interval
from streams.kafka.client import producer_config
from streams.messages import MetricsRow, encode
from streams.monitor.history import SPANS, slots
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
EVENTS, RATE, SKIP_S = 300_000, 1000, 5
PAIRS = 24
"""Of spells, one with viewers and one without; each as long as it takes to ask for all pages once."""
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
        ages += _ages(bench, looked)
    costs = {
        "throughput": [without / with_ for without, with_ in rates],
        "age p99": [with_ / without for without, with_ in ages],
        "processor's time an event": [with_ / without for without, with_ in times],
    }
    measured = {"throughput": rates, "age p99": ages, "processor's time an event": times}
    return [
        Row(
            "pages", f"20 open overviews and 5 quality pages, {what}", median(found), "×",
            at_most=AT_MOST[what], note=_about(found),
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
        with Viewers(worker) as viewers:
            viewers.look(viewed)
            found, time_s = rate(watch.until(n, worker))
    say(f"  {found:,.0f} events/s, {1e6 * time_s:.1f} µs each, {'with' if viewed else 'without'} viewers")
    return found, time_s


def _ages(bench: Bench, looked: tuple[bool, bool]) -> list[tuple[float, float]]:
    """The p99 of the age at a steady rate, ms, of spells without viewers and their neighbours with."""
    spells = []
    with bench.site("pages-age") as site:
        fill_model(site.settings, bench)
        fill_history(site.settings)
        site.learner().wait_active()
        worker = site.worker()
        worker.wait_ready()
        with Viewers(worker) as viewers, Load(site.settings, RATE, bench.seed, FIRST) as steady:
            time.sleep(SKIP_S)
            for viewed in looked * bench.scaled(PAIRS):
                viewers.look(viewed)
                begin = time.time()
                time.sleep(EVERY_S)
                spells.append((viewed, begin, time.time()))
    p99s: dict[bool, list[float]] = {True: [], False: []}
    for viewed, begin, end in spells:
        found = quantile(steady.ages_between_ms(begin, end), 0.99)
        if found is None:
            raise AssertionError(f"no event of {EVERY_S:.0f} s was answered")
        p99s[viewed].append(found)
    say(f"  p99 {median(p99s[False]):.1f} ms without viewers, {median(p99s[True]):.1f} ms with")
    return list(zip(p99s[False], p99s[True], strict=True))


def _about(found: list[float]) -> str:
    """Within what the median would have come out, had other pairs of the same kind been drawn."""
    drawn = np.median(np.random.default_rng(0).choice(found, (2000, len(found))), axis=1)
    low, high = percentile_interval(drawn)
    return f"95 % interval {low:.3f} to {high:.3f} of {len(found)} pairs"


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


class Viewers:
    """All of `OPEN`, evenly over the time, in a process of their own; nobody looks until told to."""

    def __init__(self, worker: Process) -> None:
        context = multiprocessing.get_context("spawn")
        self._looking, self._answered = context.Event(), context.Value("q")
        given = worker.port, self._looking, self._answered
        self._process = context.Process(target=_view_all, args=given, daemon=True)
        self._looked = False

    def look(self, looking: bool) -> None:
        """Open the pages, or close them."""
        (self._looking.set if looking else self._looking.clear)()
        self._looked = self._looked or looking

    def __enter__(self) -> "Viewers":
        self._process.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._process.terminate()
        self._process.join()
        if self._looked and not self._answered.value and error[0] is None:
            raise AssertionError("nobody saw a page: nothing is measured")


def _view_all(port: int, looking: Any, answered: Any) -> None:
    threads = [
        threading.Thread(
            target=_view, args=(port, paths, n * EVERY_S / len(OPEN), looking, answered), daemon=True
        )
        for n, paths in enumerate(OPEN)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _view(port: int, paths: tuple[str, ...], first_s: float, looking: Any, answered: Any) -> None:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    due = time.monotonic() + first_s
    while True:
        time.sleep(max(due - time.monotonic(), 0))
        due += EVERY_S
        for path in paths if looking.is_set() else ():
            try:
                connection.request("GET", path, headers={"HX-Request": "true"})
                answer = connection.getresponse()
                answer.read()
                with answered:
                    answered.value += answer.status == HTTPStatus.OK
            except (OSError, HTTPException):  # not up yet
                connection.close()
