"""A steady load of events, and the times at which a consumer reads their recommendations."""

import gc
import threading
import time
from itertools import count
from typing import NamedTuple

import msgspec
from confluent_kafka import Producer

from streams.clients.subscribe import follow, records
from streams.kafka.client import producer_config
from streams.messages import encode
from streams.settings import Settings
from tests.bench.clicks import clicks, event, number

USERS = 20_000
ENDLESS = 100_000_000
DRAIN_S = 30.0
"""Time for which missing answers are waited for after the last event."""


class Sent(NamedTuple):
    """An event that Kafka has."""

    at: float
    """Time at which the event was passed to the producer, s since the epoch."""
    partition: int
    offset: int


class Answer(NamedTuple):
    """The first recommendation for an event."""

    at: float
    """Time at which the recommendation was read, s since the epoch."""
    checkpoint: int
    step_start: float
    """Time at which the step began that made it, s since the epoch, by the worker's clock."""


class _Recommendation(msgspec.Struct):
    """The fields of a recommendation that are read; those of the plain loop have no checkpoint."""

    event_id: str
    checkpoint: int = 0
    time: int = 0


class SteadyLoad:
    """Events at a steady rate from `with` to its end, by two threads: one sends, one reads.

    The age of an event is the time from the call that passes it to the producer until the call returns that
    reads its recommendation, both in this process and by one clock.
    """

    def __init__(self, settings: Settings, events_per_s: float, seed: int, first: int = 0) -> None:
        self.sent: dict[int, Sent] = {}
        self.answers: dict[int, Answer] = {}
        self.checkpoints: dict[int, float] = {}
        """Time at which the first recommendation from a checkpoint was read, by its number."""
        self.lateness: list[float] = []
        """Delay with which each event was sent, s: how far this process could not keep up."""
        self._settings, self._rate, self._seed, self._first = settings, events_per_s, seed, first
        self._consumer = follow(settings, "recommendations")
        self._stop_sending, self._stop_reading = threading.Event(), threading.Event()
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._send, self._read)]

    def __enter__(self) -> "SteadyLoad":
        gc.collect()
        gc.disable()  # no pause of this process in the ages
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop_sending.set()
        self._threads[0].join()
        until = time.monotonic() + (DRAIN_S if error[0] is None else 0)
        while self.unanswered and time.monotonic() < until:
            time.sleep(0.2)
        self._stop_reading.set()
        self._threads[1].join()
        self._consumer.close()
        gc.enable()

    def ages_ms(self, skip_s: float, until_step: bool = False) -> list[float]:
        """Ages of the answered events without those of the first `skip_s`, ms.

        With `until_step`, the times until the step began that served them.
        """
        begin = min(sent.at for sent in self.sent.values()) + skip_s
        return [
            1000 * ((answer.step_start if until_step else answer.at) - sent.at)
            for sent, answer in self._answered(begin)
        ]

    def ages_between_ms(self, begin: float, end: float) -> list[float]:
        """Ages of the answered events that were sent between two times (s since the epoch), ms."""
        return [1000 * (answer.at - sent.at) for sent, answer in self._answered(begin) if sent.at < end]

    def _answered(self, begin: float) -> list[tuple[Sent, Answer]]:
        return [(s, self.answers[n]) for n, s in self.sent.items() if s.at >= begin and n in self.answers]

    @property
    def unanswered(self) -> int:
        """The number of events that are in Kafka and have no recommendation."""
        return len(self.sent.keys() - self.answers.keys())

    def _send(self) -> None:
        producer = Producer(producer_config(self._settings, **{"linger.ms": 0, "log_level": 3}))
        topic, stream = self._settings.topic("events"), clicks(ENDLESS, USERS, self._seed, walk=3)
        start = time.time()
        for n in count():
            due = start + n / self._rate
            while (wait := due - time.time()) > 0:
                producer.poll(0)
                time.sleep(wait)
            if self._stop_sending.is_set():
                break
            upcoming = event(self._first + n, next(stream))
            at = time.time()
            self.lateness.append(at - due)
            producer.produce(
                topic, encode(upcoming), upcoming.user, on_delivery=self._on_delivery(self._first + n, at)
            )
            producer.poll(0)
        producer.flush()

    def _on_delivery(self, n: int, at: float):  # type: ignore[no-untyped-def]
        def delivered(error, message) -> None:  # type: ignore[no-untyped-def]
            if error is None:
                self.sent[n] = Sent(at, message.partition(), message.offset())

        return delivered

    def _read(self) -> None:
        decode = msgspec.json.Decoder(_Recommendation).decode
        while not self._stop_reading.is_set():
            fetched = records(self._consumer, 0.1)
            now = time.time()
            for record in fetched:
                read = decode(record.value() or b"")
                self.answers.setdefault(number(read.event_id), Answer(now, read.checkpoint, read.time / 1000))
                self.checkpoints.setdefault(read.checkpoint, now)
