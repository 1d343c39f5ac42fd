"""A backlog of events, loaded before the clock starts, and a watch on how fast it is answered."""

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
"""Of the backlog: left out of the rate."""
EVERY_S = 0.1
PATIENCE_S = 60
"""Without another answer."""


class NoAnswers(Exception):
    """Nothing came for too long."""


class Point(NamedTuple):
    """Of the curve of a backlog being answered."""

    s: float
    """Time, from any origin."""
    answers: int
    """So far."""
    cpu_s: float = 0.0
    """CPU time of the process so far."""


def load(settings: Settings, n: int, seed: int, users: int = 0) -> None:
    """Put n events on the topic `events`: by default of n / `EVENTS_A_USER` users."""
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
        made = event(number, click)
        while True:
            try:
                producer.produce(topic, encode(made), made.user)
                break
            except BufferError:
                producer.poll(0.1)
        if number % 1000 == 0:
            producer.poll(0)
    producer.flush()


def _delivered(error: object, message: object) -> None:
    raise RuntimeError(f"an event could not be loaded: {error}")


class Watch:
    """How many records a topic ever got: asks Kafka for its end offsets, which costs next to nothing."""

    def __init__(self, settings: Settings, topic: str = "recommendations") -> None:
        self._admin = AdminClient({"bootstrap.servers": settings.brokers})
        name = settings.topic(topic)
        partitions = self._admin.list_topics(name, timeout=15).topics[name].partitions
        self._ends = {TopicPartition(name, number): OffsetSpec.latest() for number in partitions}

    def count(self) -> int:
        """Now."""
        return sum(future.result(30).offset for future in self._admin.list_offsets(self._ends).values())

    def until(self, n: int, process: Process) -> list[Point]:
        """Wait for n records; the curve, some points a second."""
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
    """Answers a second and CPU seconds an answer, from when `WARM_UP` of them were there until all were.

    >>> rate([Point(0, 0), Point(5, 10, 1), Point(6, 55, 5), Point(7, 100, 10)])
    (45.0, 0.1)
    """
    end = curve[-1]
    start = next(point for point in curve if point.answers >= WARM_UP * end.answers)
    answers = end.answers - start.answers
    return answers / (end.s - start.s), (end.cpu_s - start.cpu_s) / answers
