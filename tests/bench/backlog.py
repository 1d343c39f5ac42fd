"""A backlog of events, written before the clock starts, and the rate at which it is answered."""

import time
from collections.abc import Sequence
from typing import NamedTuple

from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from streams.kafka.client import producer_config
from streams.messages import encode
from streams.settings import Settings
from tests.bench.clicks import EVENTS_A_USER, clicks, event
from tests.bench.process import START_S, Process

WARM_UP = 0.1
"""Share of the backlog that is left out of the rate."""
EVERY_S = 0.1
PATIENCE_S = 60
"""Time without another answer after which a run fails."""


class NoAnswers(Exception):
    """No answer came for too long."""


class Point(NamedTuple):
    """A point of the curve of a backlog being answered."""

    s: float
    """Time, from any origin."""
    answers: int
    """Answers so far."""
    cpu_s: float = 0.0
    """CPU time of the process so far, s."""


def load(settings: Settings, n: int, seed: int, users: int = 0) -> None:
    """Write n events to the topic `events`, of n / `EVENTS_A_USER` users unless `users` is given."""
    producer = Producer(
        producer_config(
            settings,
            **{
                "linger.ms": 50,
                "log_level": 3,
                "delivery.report.only.error": True,
                "on_delivery": _delivered,
            },
        )
    )
    topic = settings.topic("events")
    for number, click in enumerate(clicks(n, users or max(n // EVENTS_A_USER, 1), seed, walk=1)):
        record = event(number, click)
        while True:
            try:
                producer.produce(topic, encode(record), record.user)
                break
            except BufferError:
                producer.poll(0.1)
        if number % 1000 == 0:
            producer.poll(0)
    producer.flush()


def _delivered(error: object, message: object) -> None:
    raise RuntimeError(f"an event could not be loaded: {error}")


class Watch:
    """Counts the records ever written to a topic by its end offsets, which are cheap to ask for."""

    def __init__(self, settings: Settings, topic: str = "recommendations") -> None:
        self._admin = AdminClient({"bootstrap.servers": settings.brokers})
        name = settings.topic(topic)
        partitions = self._admin.list_topics(name, timeout=15).topics[name].partitions
        self._ends = {TopicPartition(name, number): OffsetSpec.latest() for number in partitions}

    def count(self) -> int:
        """The number of records by now."""
        return sum(future.result(30).offset for future in self._admin.list_offsets(self._ends).values())

    def until(self, n: int, process: Process) -> list[Point]:
        """Wait for n records; returns the curve, ten points a second.  `NoAnswers` if it stands still."""
        curve: list[Point] = []
        changed = time.monotonic()
        while not curve or curve[-1].answers < n:
            time.sleep(EVERY_S)
            process.check()
            point = Point(time.monotonic(), self.count(), process.cpu_s())
            if curve and point.answers > curve[-1].answers:
                changed = point.s
            if point.s - changed > (PATIENCE_S if point.answers else START_S):
                raise NoAnswers(f"{point.answers:,} of {n:,} events were answered, then no more")
            curve.append(point)
        return curve


def rate(curve: Sequence[Point]) -> tuple[float, float]:
    """Answers a second and CPU seconds an answer, from the first `WARM_UP` of the answers to the last one.

    >>> rate([Point(0, 0), Point(5, 10, 1), Point(6, 55, 5), Point(7, 100, 10)])
    (45.0, 0.1)
    """
    end = curve[-1]
    start = next(point for point in curve if point.answers >= WARM_UP * end.answers)
    answers = end.answers - start.answers
    return answers / (end.s - start.s), (end.cpu_s - start.cpu_s) / answers
