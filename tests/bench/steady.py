"""A steady load, and its answers as an outside consumer gets them."""

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
"""Answers that are missing after the last event are waited for so long."""


class Sent(NamedTuple):
    """An event that Kafka has."""

    at: float
    """When it was handed to the client, s since the epoch."""
    partition: int
    offset: int


class Answer(NamedTuple):
    """The first recommendation for an event."""

    at: float
    checkpoint: int
    made: float
    """When the step began that made it, s, by the worker's clock."""


class _Recommendation(msgspec.Struct):
    """As much of one as is looked at; a plain loop's has no checkpoint."""

    event_id: str
    checkpoint: int = 0
    time: int = 0


class Load:
    """Events at a steady rate, from `with` to its end, in two threads: one sends, one reads.

    The age of an event is from the call that hands it to the client until the call that reads its
    recommendation returns, both in this process and by one clock.
    """

    def __init__(self, settings: Settings, events_per_s: float, seed: int, first: int = 0) -> None:
        self.sent: dict[int, Sent] = {}
        self.answers: dict[int, Answer] = {}
        self.checkpoints: dict[int, float] = {}
        """Number of a checkpoint ▶ when the first recommendation made from it was read."""
        self.lateness: list[float] = []
        """By how much an event was sent after its time, s: what this process could not keep up with."""
        self._settings, self._rate, self._seed, self._first = settings, events_per_s, seed, first
        self._consumer = follow(settings, "recommendations")
        self._sending, self._reading = threading.Event(), threading.Event()
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._send, self._read)]

    def __enter__(self) -> "Load":
        gc.collect()
        gc.disable()  # no pause of ours in the ages
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._sending.set()
        self._threads[0].join()
        until = time.monotonic() + (DRAIN_S if error[0] is None else 0)
        while self.unanswered and time.monotonic() < until:
            time.sleep(0.2)
        self._reading.set()
        self._threads[1].join()
        self._consumer.close()
        gc.enable()

    def ages_ms(self, skip_s: float, until_made: bool = False) -> list[float]:
        """Of the answered events, without those of the first `skip_s`; or how long until the step began."""
        begin = min(sent.at for sent in self.sent.values()) + skip_s
        return [
            1000 * ((answer.made if until_made else answer.at) - sent.at)
            for sent, answer in self._answered(begin)
        ]

    def ages_between_ms(self, begin: float, end: float) -> list[float]:
        """Of the answered events that were sent between two times, s since the epoch."""
        return [1000 * (answer.at - sent.at) for sent, answer in self._answered(begin) if sent.at < end]

    def _answered(self, begin: float) -> list[tuple[Sent, Answer]]:
        return [(s, self.answers[n]) for n, s in self.sent.items() if s.at >= begin and n in self.answers]

    @property
    def unanswered(self) -> int:
        """Events that Kafka has and nobody answered."""
        return len(self.sent.keys() - self.answers.keys())

    def _send(self) -> None:
        producer = Producer(producer_config(self._settings, **{"linger.ms": 0, "log_level": 3}))
        topic, made = self._settings.topic("events"), clicks(ENDLESS, USERS, self._seed, walk=3)
        start = time.time()
        for n in count():
            due = start + n / self._rate
            while (wait := due - time.time()) > 0:
                producer.poll(0)
                time.sleep(wait)
            if self._sending.is_set():
                break
            one = event(self._first + n, next(made))
            at = time.time()
            self.lateness.append(at - due)
            producer.produce(topic, encode(one), one.user, on_delivery=self._keep(self._first + n, at))
            producer.poll(0)
        producer.flush()

    def _keep(self, n: int, at: float):  # type: ignore[no-untyped-def]
        def delivered(error, message) -> None:  # type: ignore[no-untyped-def]
            if error is None:
                self.sent[n] = Sent(at, message.partition(), message.offset())

        return delivered

    def _read(self) -> None:
        decode = msgspec.json.Decoder(_Recommendation).decode
        while not self._reading.is_set():
            found = records(self._consumer, 0.1)
            now = time.time()
            for record in found:
                made = decode(record.value() or b"")
                self.answers.setdefault(number(made.event_id), Answer(now, made.checkpoint, made.time / 1000))
                self.checkpoints.setdefault(made.checkpoint, now)
