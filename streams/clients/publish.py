"""Publish events: from a log to the topic `events`, as fast as possible or paced.

A log that is replayed is about another time.  Its records keep the broker's timestamp, because Kafka's
retention would delete records stamped years back, and say in the header `replay` when the event would
have *arrived* had it been live (`streams.step.clock` accepts event times near their arrival only).
"""

import time
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice, tee
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Producer

from streams import event_messages, messages
from streams.clients.progress import Show
from streams.kafka.client import producer_config
from streams.settings import Settings
from streams.step.clock import REPLAY_HEADER

LOOKAHEAD = 64
"""Events that an event's time is compared with; half of them may have wrong times."""
MAX_DISORDER = 0.01
"""Share of a log's events that may be out of the order of their times without a remark."""
DELIVERY_TIMEOUT_S = 30
EMBEDDED_LINGER_MS = 3
"""The embedded broker answers a fetch with one batch per partition, however small it is."""
MIN_SLEEP_S = 0.001
"""The shortest wait when pacing: above 1,000 events/s they are published in small bursts."""


def arrivals(times: Iterable[int], lookahead: int = LOOKAHEAD) -> Iterator[int]:
    """When each event of a log would have arrived, in the log's own order; never decreases.

    An event arrives at its time, with two exceptions.  An event older than one before it is late, and an
    event younger than most of the `lookahead` events after it is stamped ahead: both arrive with the event
    before them.  So neither moves the arrival of any other event.  (Only at the very end of a log no event
    follows that could show that the last one is stamped ahead.)

    >>> list(arrivals([10, 20, 999, 30, 5, 40, 50]))
    [10, 20, 20, 30, 30, 40, 50]
    """
    upcoming = iter(times)
    window = deque(islice(upcoming, lookahead + 1))  # the event and those after it
    ordered = sorted(window)
    arrived = ordered[0] if ordered else 0
    while window:
        event = window.popleft()
        del ordered[bisect_left(ordered, event)]
        if event >= arrived and (not ordered or event <= ordered[len(ordered) // 2]):
            arrived = event
        yield arrived
        for following in islice(upcoming, 1):
            window.append(following)
            insort(ordered, following)


class ScheduledEvent(NamedTuple):
    """An event, when to publish it, and the arrival in its `replay` header."""

    after_s: float
    """Seconds after the start."""
    arrival: int | None
    """ms since the epoch; None: the event is live and has no header."""
    event: event_messages.Event


def schedule(
    events: Iterable[event_messages.Event],
    *,
    live: bool = False,
    rate: float | None = None,
    speed: float | None = None,
) -> Iterator[ScheduledEvent]:
    """Schedule events at `rate` per second, at `speed` times the pace at which they happened, or at once."""
    if live:
        pairs: Iterable[tuple[event_messages.Event, int | None]] = ((event, None) for event in events)
    else:
        events, copy = tee(events)
        pairs = zip(events, arrivals(event.time_ms for event in copy), strict=True)
    start: int | None = None
    for n, (event, arrival) in enumerate(pairs):
        after = n / rate if rate else 0.0
        if speed:
            at = event.time_ms if arrival is None else arrival
            start = at if start is None else start
            after = (at - start) / 1000 / speed
        yield ScheduledEvent(after, arrival, event)


class CheckedOrder:
    """Passes scheduled events on, and counts those that are out of the order of their times."""

    def __init__(self, events: Iterable[ScheduledEvent]) -> None:
        self._events = events
        self.events = self.displaced = 0

    def __iter__(self) -> Iterator[ScheduledEvent]:
        for scheduled in self._events:
            self.events += 1
            self.displaced += scheduled.arrival not in (None, scheduled.event.time_ms)
            yield scheduled

    def problem(self) -> str:
        """What is wrong with the order, on one line; empty where at most `MAX_DISORDER` is."""
        if self.displaced <= MAX_DISORDER * self.events:
            return ""
        return (
            f"{self.displaced:,} of {self.events:,} events are out of the order of their times, so that the"
            " model learns other sessions and ages than from live events: sort the log by time"
        )


class EventProducer:
    """Produces events to the topic `events` and counts how many were delivered and how many failed."""

    def __init__(self, settings: Settings, **config: Any) -> None:
        self._topic = settings.topic("events")
        defaults = {
            "delivery.report.only.error": True,
            "message.timeout.ms": DELIVERY_TIMEOUT_S * 1000,
            "on_delivery": self._report,
            "log_level": 2,  # failures are counted, and the first reason is kept
            "error_cb": lambda error: None,
        }
        if settings.embedded:
            config["linger.ms"] = max(config.get("linger.ms", 0), EMBEDDED_LINGER_MS)
        self._producer = Producer(producer_config(settings, **defaults | config))
        self.sent = 0
        self.failed = 0
        self.reason: str | None = None
        """Why the first event failed."""
        self.unreachable = False
        """Whether an event waited `DELIVERY_TIMEOUT_S` for Kafka: there is no point in continuing."""

    @property
    def delivered(self) -> int:
        """Number of events that Kafka acknowledged."""
        pending = len(self._producer)  # error events that were not processed yet count, too
        return max(self.sent - self.failed - pending, 0)

    def send(self, scheduled: ScheduledEvent) -> None:
        """Pass an event to the Kafka client, waiting while its buffer is full."""
        event = scheduled.event
        headers: list[tuple[str, str | bytes | None]] = []
        if scheduled.arrival is not None:
            headers = [(REPLAY_HEADER, b"%d" % scheduled.arrival)]
        value = messages.encode(event)
        self.sent += 1
        while not self.unreachable:
            try:
                return self._producer.produce(self._topic, value, event.user, headers=headers)
            except BufferError:
                self._producer.poll(0.1)
            except KafkaException as error:  # refused before it was sent, as too large for example
                return self._fail(error.args[0])
        self.failed += 1

    def poll(self) -> None:
        """Process delivery reports."""
        self._producer.poll(0)

    def flush(self, timeout_s: float = DELIVERY_TIMEOUT_S + 5) -> None:
        """Wait until every event is delivered or has failed."""
        self._producer.flush(timeout_s)

    def _report(self, error: KafkaError | None, message: Any) -> None:
        if error is not None:
            self._fail(error)

    def _fail(self, error: KafkaError) -> None:
        self.failed += 1
        self.reason = self.reason or error.str()
        self.unreachable |= error.code() == KafkaError._MSG_TIMED_OUT


def publish_events(
    events: Iterable[ScheduledEvent], producer: EventProducer, show: Show, copies: int = 1
) -> None:
    """Publish each event when it is due, `copies` times; returns when all are delivered or have failed."""
    start = time.monotonic()

    def summary() -> str:
        rate = producer.delivered / max(time.monotonic() - start, 0.001)
        return f"{producer.delivered:,} delivered, {producer.failed:,} failed, {rate:,.0f} events/s"

    for n, scheduled in enumerate(events):
        while (wait := start + scheduled.after_s - time.monotonic()) > 0:
            time.sleep(min(max(wait, MIN_SLEEP_S), 0.1))
            show(summary)
        for _ in range(copies):
            producer.send(scheduled)
        if n % 100 == 0 or scheduled.after_s:
            producer.poll()
            show(summary)
        if producer.unreachable:
            break
    producer.flush()
