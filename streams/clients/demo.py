"""`freshet demo`: a broker, a worker, the learner and a shop on this machine, until Ctrl-C.

The broker is the embedded one and lives in this process; worker and learner are child processes, as in
production.  Everything that they write goes to a temporary folder that is removed at the end.
"""

import errno
import random
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Set
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from streams.catalog_messages import encode_item
from streams.clients.catalog import CatalogProducer
from streams.clients.child import Child, stopping, wait_ready
from streams.clients.logs import Log
from streams.clients.pages import PageError, get_json
from streams.clients.progress import Show, progress
from streams.clients.publish import MIN_SLEEP_S, EventProducer, ScheduledEvent, schedule
from streams.clients.shop import Shop
from streams.clients.subscribe import follow, records
from streams.errors import UserError
from streams.event_messages import Event
from streams.kafka.embedded import PARTITIONS, EmbeddedBroker
from streams.messages import Recommendation, decode_recommendation, now_ms
from streams.setting_origins import origins
from streams.settings import PREFIX, Settings, load
from streams.topics import topics

NOTICE_S = 5.0
"""A start that takes longer is explained."""
POLL_S = 0.1
"""How often the demo looks after everything but publishing, at least."""
BEHIND_S = 2.0
"""Being further behind than this is reported."""
MAX_PORT = 65_535
REQUIRED = {
    "embedded": True,
    "security_protocol": "PLAINTEXT",
    "partitions": PARTITIONS,
}
"""Settings of the embedded broker; besides them `brokers` and `data_dir`."""
DEFAULTS = {
    "measure_every": 5,  # few events, and minutes to look at them
    "frozen_twin_h": 0.05,
    "log_level": "warning",
}
"""Settings of the demo where the user has set no others."""


class PortUnavailable(UserError):
    """The pages cannot listen where the user wants them to; the message says why."""


def run_demo(log: Log | None, rate: float, seconds: float | None) -> None:
    """Run the demo with the simulated shop, or with a log; returns after `seconds` or at Ctrl-C.

    Raises `ProcessFailed` if the worker or the learner does, `PortUnavailable`, and `BadSetting`.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    with suppress(KeyboardInterrupt), ExitStack() as stack:
        chosen = load()
        user_set = {name for name, origin in origins(chosen).items() if origin != "default"}
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="freshet-")))
        broker = EmbeddedBroker()
        overrides = demo_settings(broker.brokers, user_set)
        settings = load(**overrides)
        ports = choose_ports(settings, asked_for="web_port" in user_set)
        broker.create(*(topic.name for topic in topics(settings).values()))
        _print("Starting a broker, a worker and the learner.")
        children: list[Child] = []
        stack.enter_context(stopping(children))
        for name, port in zip(("worker", "learner"), ports, strict=True):
            own = {"web_port": port, "data_dir": folder / name}
            children.append(Child(name, _url(settings, port), overrides | own, folder / f"{name}.log"))
        wait_ready(children, StartNotice())
        overview = Overview(children[0].url)
        stack.callback(overview.print_latest)
        _print(f"Freshet runs: {children[0].url}/ shows what it does. Ctrl-C stops it.")
        if "web_token" in overrides:
            _print(f"token for changing settings on the pages: {overrides['web_token']}")
        show = stack.enter_context(progress())
        traffic = Traffic(settings, children, overview, rate, seconds)
        traffic.run(traffic.schedule(log), show)


def demo_settings(brokers: str, user_set: Set[str]) -> dict[str, Any]:
    """The settings that the demo overrides; prints which of the user's do not apply."""
    required = REQUIRED | {"brokers": brokers}
    if ignored := sorted(user_set & {*required, "data_dir"}):
        names = ", ".join(PREFIX + name.upper() for name in ignored)
        print(f"freshet: the demo has a broker and data folders of its own: {names} ignored", file=sys.stderr)
    defaults = DEFAULTS | {"web_token": secrets.token_urlsafe(12)}
    return required | {name: value for name, value in defaults.items() if name not in user_set}


def choose_ports(settings: Settings, asked_for: bool) -> tuple[int, int]:
    """The ports of the worker's and of the learner's pages: `web_port` and the next one.

    One that is in use is replaced by any free port, but for the worker's if the user `asked_for` it, which
    raises `PortUnavailable`.
    """
    host, port = settings.web_host, settings.web_port
    try:
        worker = _bound_port(host, port)
    except OSError as error:
        message = f"port {port} of {host} cannot be used ({error.strerror})"
        if asked_for or error.errno != errno.EADDRINUSE:
            raise PortUnavailable(
                f"{message}: set FRESHET_WEB_HOST to an address of this machine and FRESHET_WEB_PORT to a"
                " free port, or to 0 for any"
            ) from None
        print(f"freshet: {message}; the pages get another one", file=sys.stderr)
        worker = _bound_port(host, 0)
    try:
        return worker, _bound_port(host, worker + 1 if worker < MAX_PORT else 0)
    except OSError:
        return worker, _bound_port(host, 0)


def _bound_port(host: str, port: int) -> int:
    """The port after binding to it for a moment; of 0, any free one.  `OSError` if it cannot be used."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)
        return int(probe.getsockname()[1])


def _url(settings: Settings, port: int) -> str:
    """The address of the pages on this machine."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.web_host, settings.web_host)  # noqa: S104  # not bound
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class StartNotice:
    """Explains a start that takes long, once."""

    def __init__(self) -> None:
        self._printed = False

    def __call__(self, waited_s: float) -> None:
        """Called repeatedly until the start is done."""
        if waited_s > NOTICE_S and not self._printed:
            self._printed = True
            _print("Waiting until both are ready; the first start compiles kernels: a minute or two.")


class Overview:
    """The worker's overview page, read every second by a thread."""

    def __init__(self, url: str) -> None:
        self._url = url + "/"
        self.figures: dict[str, Any] = {}
        """The latest; empty before the first."""
        self._stopped = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def print_latest(self) -> None:
        """Stop reading, because a worker that ends reports no worker, and print the latest."""
        self._stopped.set()
        if self.figures:
            _print(summary(self.figures))

    def _watch(self) -> None:
        while not self._stopped.is_set():
            with suppress(PageError):
                figures = get_json(self._url)
                if not self._stopped.is_set():
                    self.figures = figures
            self._stopped.wait(1)


def summary(figures: Mapping[str, Any]) -> str:
    """The overview's figures on one line.

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


def delay(late_s: float, lag: Mapping[str, int], rate: float) -> str:
    """How far the demo is behind its rate; empty when it keeps up.

    late_s: how late the latest event was published.  lag: events that the worker has not served, by
    partition.

    >>> delay(3.0, {"0": 150, "1": 50}, rate=200)
    ' · 4 s (800 events) behind 200 events/s'
    >>> delay(0.5, {"0": 20}, rate=200)
    ''
    """
    behind_s = late_s + sum(lag.values()) / rate
    if behind_s <= BEHIND_S:
        return ""
    return f" · {behind_s:,.0f} s ({behind_s * rate:,.0f} events) behind {rate:,g} events/s"


class Traffic:
    """Publishes events when they are due, and gives the recommendations to the shop's visitors."""

    def __init__(
        self,
        settings: Settings,
        children: list[Child],
        overview: Overview,
        rate: float,
        seconds: float | None,
    ) -> None:
        self._producer = EventProducer(settings, **{"linger.ms": 0})
        self._catalog = CatalogProducer(settings)
        self._consumer = follow(settings, "recommendations")
        self._children, self._overview, self._rate = children, overview, rate
        self._shop: Shop | None = None
        self._recommended: dict[str, Recommendation] = {}
        """The current recommendation by user of the shop; those to a log's users are not kept."""
        self._late_s = 0.0
        self._end = time.monotonic() + seconds if seconds else float("inf")

    def schedule(self, log: Log | None) -> Iterator[ScheduledEvent]:
        """The events of the log, or else of the shop, at the demo's rate."""
        if log is not None:
            return schedule(log, rate=self._rate)
        self._shop = shop = Shop(random.Random(0))
        self._publish_catalog(shop)
        return schedule(self._visits(shop), live=True, rate=self._rate)

    def _visits(self, shop: Shop) -> Iterator[Event]:
        while True:
            yield shop.event(now_ms(), self._recommended)
            self._publish_catalog(shop)

    def _publish_catalog(self, shop: Shop) -> None:
        """Publish the items whose stock changed, and new ones."""
        for item in shop.changed:
            self._catalog.send(item.item, encode_item(item))
        shop.changed.clear()

    def run(self, events: Iterable[ScheduledEvent], show: Show) -> None:
        """Publish until the time is up; after the last event only show the figures."""
        start = checked = time.monotonic()
        for event in events:
            due = start + event.after_s
            while (now := time.monotonic()) < due or now > checked + POLL_S:
                if not self._check(max(due - now, MIN_SLEEP_S), show):
                    return
                checked = time.monotonic()
            self._late_s = now - due
            self._producer.send(event)
            self._producer.poll()
        self._late_s = 0.0
        while self._check(POLL_S, show):
            pass

    def _check(self, wait_s: float, show: Show) -> bool:
        """Read recommendations for at most `wait_s`, and show the figures; False when the time is up."""
        for record in records(self._consumer, min(wait_s, POLL_S)):
            if self._shop is not None:
                recommendation = decode_recommendation(record.value() or b"")
                if not recommendation.placement:
                    self._recommended[recommendation.user] = recommendation
        for child in self._children:
            child.check()
        show(self._line)
        return time.monotonic() < self._end

    def _line(self) -> str:
        figures = self._overview.figures
        return summary(figures) + delay(self._late_s, figures.get("lag", {}), self._rate)


def _print(line: str) -> None:
    print(line, flush=True)
