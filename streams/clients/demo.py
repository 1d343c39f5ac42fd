"""`freshet demo`: a broker, a worker, the learner and a shop on this machine, until Ctrl-C.

The broker is the embedded one and lives in this process; worker and learner are child processes, as in
production.  Everything that they write goes to a temporary folder that is removed at the end.
"""

import ctypes
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from http.client import HTTPException
from itertools import count
from pathlib import Path
from typing import Any

from streams import messages
from streams.clients.logs import Log
from streams.clients.progress import Show, progress
from streams.clients.publish import NAP_S, Due, EventProducer, schedule
from streams.clients.shop import Shop
from streams.clients.subscribe import follow, records
from streams.kafka.embedded import PARTITIONS, EmbeddedBroker
from streams.settings import PREFIX, Settings, load
from streams.topics import topics

START_S = 180
"""Kernels are compiled at the first start, which takes a minute on a slow machine."""
STOP_S = 10
TAIL_LINES = 20
"""Of the log of a child that died."""


class Died(Exception):
    """A child ended by itself, or never became ready; the message has the tail of its log."""


class Child:
    """`python -m streams NAME`, which ends when this process does, however this ends."""

    def __init__(self, name: str, port: int, overrides: Mapping[str, Any], folder: Path) -> None:
        self.name, self._log = name, folder / f"{name}.log"
        self.url = f"http://127.0.0.1:{port}"
        """Of its pages."""
        mine = {**overrides, "web_port": port, "data_dir": folder / name, "log_level": "warning"}
        env = {PREFIX + key.upper(): str(value) for key, value in mine.items()}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "streams", name],
                env=os.environ | env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C is ours to pass on, in order
                preexec_fn=_die_with_parent if _LIBC else None,
            )

    def check(self) -> None:
        """`Died` if it has."""
        if self._process.poll() is not None:
            raise self.died(f"ended with exit code {self._process.returncode}")

    def ready(self) -> bool:
        """Whether its pages say so."""
        return _get(f"{self.url}/health/ready") is not None

    def died(self, how: str) -> Died:
        """That it `how`, with the tail of its log."""
        tail = self._log.read_text(errors="replace").splitlines()[-TAIL_LINES:]
        return Died("\n".join([f"the {self.name} {how}; the end of its log:", *tail]))

    def terminate(self) -> None:
        """Ask it to end."""
        self._process.terminate()

    def join(self, timeout_s: float) -> None:
        """Wait for its end, and make an end of it after the timeout."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1


def _die_with_parent() -> None:
    """Between fork and exec: a demo that is killed -9 leaves nobody behind."""
    assert _LIBC
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@contextmanager
def children(overrides: Mapping[str, Any], folder: Path) -> Iterator[list[Child]]:
    """The worker and the learner, ready; stopped together at the end."""
    started: list[Child] = []
    try:
        for name, port in (("worker", _free_port()), ("learner", _free_port(0))):
            started.append(Child(name, port, overrides, folder))
        _until_ready(started)
        yield started
    finally:
        _hold_signals()
        for child in started:
            child.terminate()
        until = time.monotonic() + STOP_S
        for child in started:
            child.join(max(0.1, until - time.monotonic()))


class Figures:
    """What the worker's page says, asked for every second by a thread of its own."""

    def __init__(self, url: str) -> None:
        self._url = url + "/"
        self.latest: dict[str, Any] = {}
        """Empty until there are some."""
        self._held = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def hold(self) -> None:
        """Keep the latest: a worker that ends says that nobody serves."""
        self._held.set()

    def _watch(self) -> None:
        while not self._held.is_set():
            if (found := _get(self._url)) and not self._held.is_set():
                self.latest = json.loads(found)
            self._held.wait(1)


def _get(url: str) -> bytes | None:
    """The page, as JSON; None where there is none (yet)."""
    request = urllib.request.Request(url, headers={"Accept": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            found: bytes = answer.read()
            return found
    except (OSError, HTTPException):  # refused, not ready, ended
        return None


def summary(figures: Mapping[str, Any]) -> str:
    """The page's figures on one line.

    >>> summary({"events_per_s": 199.6, "age_ms": {"p50": 3.1, "p99": 9.8},
    ...     "hits": {"predictions": 200, "recommended": 90, "popularity": 20},
    ...     "model": {"checkpoint": 7, "age_ms": 400}})
    '200 events/s · age p50 3.1 p99 9.8 ms · hits 45.0 %, popular 10.0 % · checkpoint 7, 0.4 s old'
    """
    if not figures:
        return "no figures yet"
    hits, model, age = figures["hits"], figures["model"], figures["age_ms"]

    def rate(name: str) -> str:
        return f"{100 * hits[name] / hits['predictions']:.1f} %" if hits["predictions"] else "-"

    def number(value: float | None, divisor: float = 1) -> str:
        return "-" if value is None else f"{value / divisor:.1f}"

    return (
        f"{figures['events_per_s']:,.0f} events/s · age p50 {number(age['p50'])} p99 {number(age['p99'])} ms"
        f" · hits {rate('recommended')}, popular {rate('popularity')}"
        f" · checkpoint {model['checkpoint']}, {number(model['age_ms'], 1000)} s old"
    )


class Stream:
    """Publishes the events when they are due, and hands the recommendations back to the shop."""

    def __init__(
        self, settings: Settings, started: list[Child], figures: Figures, seconds: float | None
    ) -> None:
        self._producer = EventProducer(settings, **{"linger.ms": 0})
        self._consumer = follow(settings, "recommendations")
        self._children, self._figures = started, figures
        self._until = time.monotonic() + seconds if seconds else float("inf")
        self.recommended: dict[str, messages.Recommendation] = {}
        """user ▶ the current one; the simulated shop has so many users, a log's are not kept."""

    def go(self, dues: Iterable[Due], show: Show, keep: bool) -> None:
        """Until the time is up; when the events end before, it goes on showing the figures."""
        start = time.monotonic()
        for due in dues:
            while (wait := start + due.after_s - time.monotonic()) > 0:
                if not self._pause(max(wait, NAP_S), show, keep):
                    return
            self._producer.send(due)
            self._producer.poll()
        while self._pause(0.1, show, keep):
            pass

    def _pause(self, wait_s: float, show: Show, keep: bool) -> bool:
        """Wait so long at the most, busy with the rest; False when the time is up."""
        for record in records(self._consumer, min(wait_s, 0.1)):
            if keep:
                made = messages.decode_recommendation(record.value() or b"")
                self.recommended[made.user] = made
        for child in self._children:
            child.check()
        show(lambda: summary(self._figures.latest))
        return time.monotonic() < self._until


def demo(log: Log | None, rate: float, seconds: float | None) -> None:
    """Run it: with the simulated shop, or with a log of the user's.  `Died` if a child does."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    figures = None
    try:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="freshet-")))
            broker = EmbeddedBroker()
            overrides = {
                "embedded": True,
                "measure_every": 5,  # few events, and minutes to look at them
                "frozen_twin_h": 0.05,
                "brokers": broker.brokers,
                "security_protocol": "PLAINTEXT",
                "partitions": PARTITIONS,
                "web_host": "127.0.0.1",
            }
            settings = load(**overrides)
            broker.create(*(t.name for t in topics(settings).values()))
            print("Starting a broker, a worker and the learner; the first time takes a while.", flush=True)
            started = stack.enter_context(children(overrides, folder))
            figures = Figures(started[0].url)
            stack.callback(figures.hold)
            print(f"Freshet runs: {started[0].url}/ shows what it does. Ctrl-C stops it.", flush=True)
            show = stack.enter_context(progress())
            stream = Stream(settings, started, figures, seconds)
            stream.go(_dues(log, rate, stream), show, keep=log is None)
    except KeyboardInterrupt:
        pass
    finally:
        if figures and figures.latest:
            print(summary(figures.latest))


def _dues(log: Log | None, rate: float, stream: Stream) -> Iterator[Due]:
    if log:
        return schedule(log, rate=rate)
    shop = Shop(random.Random(0))
    events = (shop.event(int(time.time() * 1000), stream.recommended) for _ in count())
    return schedule(events, live=True, rate=rate)


def _until_ready(started: list[Child]) -> None:
    start = time.monotonic()
    while waiting := [child for child in started if not child.ready()]:
        for child in started:
            child.check()
        if time.monotonic() > start + START_S:
            raise waiting[0].died(f"was not ready after {START_S} s")
        time.sleep(0.1)


def _free_port(wanted: int = 6066) -> int:
    """The usual port of the pages, or any other if that is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            return _free_port(0)
        return int(probe.getsockname()[1])


def _hold_signals() -> None:
    """While the children end: a second Ctrl-C must not leave one behind."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
