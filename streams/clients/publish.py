"""Publish events: from a log to the topic `events`, as fast as possible or paced.

A log that is replayed tells of another time.  Its records keep the broker's timestamp, because Kafka's
retention would delete records stamped years back, and say in the header `replay` when the event would
have *arrived* had it been live (`streams.step.clock` believes event times near their arrival only).
"""

import time
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice, tee
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Producer

from streams import messages
from streams.clients.progress import Show
from streams.kafka.client import producer_config
from streams.settings import Settings
from streams.step.clock import REPLAY_HEADER

LOOKAHEAD = 64
"""Events that vote on whether one is stamped ahead: half of them may lie together."""

DELIVERY_TIMEOUT_S = 30
EMBEDDED_LINGER_MS = 3
"""The embedded broker answers a fetch with one batch a partition, however small it is."""
NAP_S = 0.001
"""The shortest wait when pacing: above 1,000 events/s they go in little bursts."""


def arrivals(times: Iterable[int], lookahead: int = LOOKAHEAD) -> Iterator[int]:
    """When each event of a log would have arrived, in the log's own order; never goes back.

    An event arrives at its time, but for two kinds.  One that is older than what came before it is
    late: it arrives with the event before it.  One that is younger than most of the `lookahead` events
    after it is stamped ahead: it, too, arrives with the event before it.  So neither moves the arrival
    of any other event.  (Only at the very end of a log does nothing follow that could contradict.)

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


class Due(NamedTuple):
    """An event, when to publish it, and what its `replay` header says."""

    after_s: float
    """Seconds after the start."""
    arrival: int | None
    """ms since the epoch; None: it is live, and gets no header."""
    event: messages.Event


def schedule(
    events: Iterable[messages.Event],
    *,
    live: bool = False,
    rate: float | None = None,
    speed: float | None = None,
) -> Iterator[Due]:
    """When to publish what: `rate` events a second, or `speed` times as fast as they happened, or at once."""
    if live:
        pairs: Iterable[tuple[messages.Event, int | None]] = ((event, None) for event in events)
    else:
        these, same = tee(events)
        pairs = zip(these, arrivals(event.time_ms for event in same), strict=True)
    start: int | None = None
    for n, (event, arrival) in enumerate(pairs):
        after = n / rate if rate else 0.0
        if speed:
            at = event.time_ms if arrival is None else arrival
            start = at if start is None else start
            after = (at - start) / 1000 / speed
        yield Due(after, arrival, event)


class EventProducer:
    """Puts events on the topic `events` and counts what became of them."""

    def __init__(self, settings: Settings, **config: Any) -> None:
        self._topic = settings.topic("events")
        defaults = {
            "delivery.report.only.error": True,
            "message.timeout.ms": DELIVERY_TIMEOUT_S * 1000,
            "on_delivery": self._report,
            "log_level": 2,  # what fails is counted, and said once
            "error_cb": lambda error: None,
        }
        if settings.embedded:
            config["linger.ms"] = max(config.get("linger.ms", 0), EMBEDDED_LINGER_MS)
        self._producer = Producer(producer_config(settings, **defaults | config))
        self.sent = 0
        self.failed = 0
        self.reason: str | None = None
        """Why the first one failed."""
        self.unreachable = False
        """An event waited `DELIVERY_TIMEOUT_S` for Kafka: there is no point in going on."""

    @property
    def delivered(self) -> int:
        """Events that Kafka has."""
        return self.sent - self.failed - len(self._producer)

    def send(self, due: Due) -> None:
        """Hand an event to the client, waiting while its buffer is full."""
        event = due.event
        headers = None if due.arrival is None else [(REPLAY_HEADER, b"%d" % due.arrival)]
        value = messages.encode(event)
        self.sent += 1
        while not self.unreachable:
            try:
                return self._producer.produce(self._topic, value, event.user, headers=headers)
            except BufferError:
                self._producer.poll(0.1)
            except KafkaException as error:  # refused before it was sent: too large, say
                return self._fail(error.args[0])
        self.failed += 1

    def poll(self) -> None:
        """Take the reports of what failed."""
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


def publish(dues: Iterable[Due], producer: EventProducer, show: Show, copies: int = 1) -> None:
    """Publish each event when it is due, `copies` times; returns when all is delivered or has failed."""
    start = time.monotonic()

    def summary() -> str:
        rate = producer.delivered / max(time.monotonic() - start, 0.001)
        return f"{producer.delivered:,} delivered, {producer.failed:,} failed, {rate:,.0f} events/s"

    for n, due in enumerate(dues):
        while (wait := start + due.after_s - time.monotonic()) > 0:
            time.sleep(min(max(wait, NAP_S), 0.1))
            show(summary)
        for _ in range(copies):
            producer.send(due)
        if n % 100 == 0 or due.after_s:
            producer.poll()
            show(summary)
        if producer.unreachable:
            break
    producer.flush()
