"""A backlog of events, loaded before the clock starts, and a watch on how fast it is answered."""

import time
from collections.abc import Sequence

from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from streams.kafka.client import producer_config
from streams.messages import encode
from streams.settings import Settings
from tests.bench.clicks import EVENTS_A_USER, clicks, event
from tests.bench.process import Process

WARM_UP = 0.1
"""Of the backlog: left out of the rate."""
EVERY_S = 0.1
PATIENCE_S = 60
"""Without a single answer."""


class NoAnswers(Exception):
    """Nothing came for `PATIENCE_S`."""


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

    def until(self, n: int, process: Process) -> list[tuple[float, int]]:
        """Wait for n records; (s, records so far), ten a second."""
        curve: list[tuple[float, int]] = []
        changed = time.monotonic()
        while not curve or curve[-1][1] < n:
            time.sleep(EVERY_S)
            process.check()
            now, got = time.monotonic(), self.count()
            if curve and got > curve[-1][1]:
                changed = now
            if now - changed > PATIENCE_S + (180 if not got else 0):  # starting may compile kernels
                raise NoAnswers(f"{got:,} of {n:,} events were answered, then nothing for {PATIENCE_S} s")
            curve.append((now, got))
        return curve


def rate(curve: Sequence[tuple[float, int]]) -> float:
    """Records a second, from when `WARM_UP` of them were there until all were.

    >>> rate([(0.0, 0), (5.0, 10), (6.0, 55), (7.0, 100)])
    45.0
    """
    last = curve[-1][1]
    start, before = next((s, n) for s, n in curve if n >= WARM_UP * last)
    end = next(s for s, n in curve if n >= last)
    return (last - before) / (end - start)
