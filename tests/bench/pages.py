"""Pages: cost of 20 open overviews and 5 quality pages to throughput, age and CPU time an event.

Unit: the ratio between a measurement with viewers and one without; 1 is no cost.  A viewer does what a
browser does on the page: it gets figures and plots every five seconds, on a kept connection.  The history
that they show is full.  Rates and ages depend on the machine's load, the p99 of one minute may be twice that
of the next; so one load is cut into short intervals, with and without viewers in turn, and each is compared
with its neighbour.  The CPU time an event does not depend on it.

    python -m tests.bench pages
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
from tests.bench.deployment import Bench, progress
from tests.bench.prefill import fill_model
from tests.bench.process import Process
from tests.bench.report import Row, quantile
from tests.bench.steady_load import SteadyLoad
from tests.bench.warm_up import warm_up

OVERVIEW = ("/?range=15min", "/plots.json?range=15min")
QUALITY = ("/quality?range=15min", "/quality/plots.json?range=15min")
OPEN = (OVERVIEW,) * 20 + (QUALITY,) * 5
EVERY_S = 5.0
EVENTS, RATE, SKIP_S = 300_000, 1000, 5
PAIRS = 24
"""Pairs of intervals, one with viewers and one without; in each all pages are asked for once."""
FIRST = 10_000_000
"""Number of the first event of a load; a backlog before it has lower numbers."""
AT_MOST = {"throughput": 1 / 0.97, "age p99": 1.10, "processor's time an event": None}
WHO = ("now", "shown", "frozen", "popularity")
SEGMENTS = ("all", *(f"segment {n}" for n in range(20)))
WHAT = ("predictions", "hits", "reciprocal_ranks", "gains")


def pages(bench: Bench) -> list[Row]:
    """Measure without ÷ with viewers for the throughput, with ÷ without for the age and the CPU time."""
    warm_up(bench)
    rates: list[tuple[float, float]] = []
    times: list[tuple[float, float]] = []
    ages: list[tuple[float, float]] = []
    for turn in range(bench.repeat):
        progress(f"pages, turn {turn + 1} of {bench.repeat}")
        order = (turn % 2 == 1, turn % 2 == 0)  # which is measured first takes turns, too
        results = {viewed: _throughput(bench, viewed) for viewed in order}
        rates.append((results[False][0], results[True][0]))
        times.append((results[False][1], results[True][1]))
        ages += _ages(bench, order)
    costs = {
        "throughput": [without / with_ for without, with_ in rates],
        "age p99": [with_ / without for without, with_ in ages],
        "processor's time an event": [with_ / without for without, with_ in times],
    }
    measured = {"throughput": rates, "age p99": ages, "processor's time an event": times}
    return [
        Row(
            "pages", f"20 open overviews and 5 quality pages, {what}", median(ratios), "×",
            at_most=AT_MOST[what], note=_note(ratios),
            details={"without_and_with": measured[what]},
        )
        for what, ratios in costs.items()
    ]  # fmt: skip


def _throughput(bench: Bench, viewed: bool) -> tuple[float, float]:
    """Events a second of a backlog, and CPU seconds of the worker an event."""
    n = bench.scaled(EVENTS)
    with bench.deploy("pages-throughput") as deployment:
        fill_model(deployment.settings, bench)
        fill_history(deployment.settings)
        load(deployment.settings, n, bench.seed)
        watch, worker = Watch(deployment.settings), deployment.worker()
        with Viewers(worker) as viewers:
            viewers.open(viewed)
            events_per_s, cpu_s = rate(watch.until(n, worker))
    with_or_without = "with" if viewed else "without"
    progress(f"  {events_per_s:,.0f} events/s, {1e6 * cpu_s:.1f} µs each, {with_or_without} viewers")
    return events_per_s, cpu_s


def _ages(bench: Bench, order: tuple[bool, bool]) -> list[tuple[float, float]]:
    """The p99 of the age at a steady rate, ms: pairs of an interval without viewers and one with."""
    intervals = []
    with bench.deploy("pages-age") as deployment:
        fill_model(deployment.settings, bench)
        fill_history(deployment.settings)
        deployment.learner().wait_active()
        worker = deployment.worker()
        worker.wait_ready()
        with Viewers(worker) as viewers, SteadyLoad(deployment.settings, RATE, bench.seed, FIRST) as steady:
            time.sleep(SKIP_S)
            for viewed in order * bench.scaled(PAIRS):
                viewers.open(viewed)
                begin = time.time()
                time.sleep(EVERY_S)
                intervals.append((viewed, begin, time.time()))
    p99s: dict[bool, list[float]] = {True: [], False: []}
    for viewed, begin, end in intervals:
        p99 = quantile(steady.ages_between_ms(begin, end), 0.99)
        if p99 is None:
            raise AssertionError(f"no event of {EVERY_S:.0f} s was answered")
        p99s[viewed].append(p99)
    progress(f"  p99 {median(p99s[False]):.1f} ms without viewers, {median(p99s[True]):.1f} ms with")
    return list(zip(p99s[False], p99s[True], strict=True))


def _note(ratios: list[float]) -> str:
    """The bootstrapped interval of the median."""
    medians = np.median(np.random.default_rng(0).choice(ratios, (2000, len(ratios))), axis=1)
    low, high = percentile_interval(medians)
    return f"95 % interval {low:.3f} to {high:.3f} of {len(ratios)} pairs"


def fill_history(settings: Settings) -> None:
    """Write a history of 15 min of a worker and a learner, with as many counts as a quality page shows."""
    served = dict.fromkeys(("accepted", "recommendations", "predictions", "recommended_hits"), 1000.0)
    learnt = {f"quality:{who}|{part}|{what}": 50.0 for who in WHO for part in SEGMENTS for what in WHAT}
    producer, span, now = Producer(producer_config(settings)), SPANS["15min"], int(time.time() * 1000)
    for process, counts in (("serving/before", served), ("learning/before", learnt)):
        for start in slots(span, now):
            row = MetricsRow(time=start, until=start + span.step_ms, counts=counts)
            producer.produce(settings.topic("metrics"), encode(row), span.key(process, start), partition=0)
    producer.flush()


class Viewers:
    """Clients of all pages of `OPEN`, evenly over the time, in a process of their own; idle until `open`."""

    def __init__(self, worker: Process) -> None:
        context = multiprocessing.get_context("spawn")
        self._viewing, self._answers = context.Event(), context.Value("q")
        arguments = worker.port, self._viewing, self._answers
        self._process = context.Process(target=_view_all, args=arguments, daemon=True)
        self._viewed = False

    def open(self, viewing: bool) -> None:
        """Open the pages, or close them."""
        (self._viewing.set if viewing else self._viewing.clear)()
        self._viewed = self._viewed or viewing

    def __enter__(self) -> "Viewers":
        self._process.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._process.terminate()
        self._process.join()
        if self._viewed and not self._answers.value and error[0] is None:
            raise AssertionError("no page was answered: nothing is measured")


def _view_all(port: int, viewing: Any, answers: Any) -> None:
    threads = [
        threading.Thread(
            target=_view, args=(port, paths, n * EVERY_S / len(OPEN), viewing, answers), daemon=True
        )
        for n, paths in enumerate(OPEN)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _view(port: int, paths: tuple[str, ...], first_s: float, viewing: Any, answers: Any) -> None:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    due = time.monotonic() + first_s
    while True:
        time.sleep(max(due - time.monotonic(), 0))
        due += EVERY_S
        for path in paths if viewing.is_set() else ():
            try:
                connection.request("GET", path, headers={"HX-Request": "true"})
                answer = connection.getresponse()
                answer.read()
                with answers:
                    answers.value += answer.status == HTTPStatus.OK
            except (OSError, HTTPException):  # the worker is not listening yet
                connection.close()
