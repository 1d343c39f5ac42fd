"""The board: every process says on the topic `metrics` how it is, and reads there how all of them are.

So any worker answers for the whole cluster, history outlives a restart, and one that died is known by its
silence.  Writing and reading are librdkafka's threads; the loop that serves the stream only hands over.
"""

import logging
import math
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from confluent_kafka import Producer

from streams.kafka.client import producer_config
from streams.kafka.follower import Follower
from streams.messages import MetricsRow, decode_metrics, encode
from streams.monitor.history import HEARTBEAT_S, NOW, WINDOW_MS, Heartbeat, History, Point, Recorder
from streams.monitor.sample import Sample
from streams.runtime.background import BackgroundTask
from streams.settings import Settings

log = logging.getLogger(__name__)

QUEUE = 2_000
"""Rows that wait for a Kafka that does not answer; what comes after is dropped."""
LEAVE_S = 2.0


class ProcessStatus:
    """One process's view of all."""

    def __init__(self, settings: Settings, kind: str) -> None:
        self.process = f"{kind}/{settings.name}"
        self._settings, self._topic = settings, settings.topic("metrics")
        self._history, self._lock = History(), threading.Lock()
        self._recorder: Recorder | None = None
        self._producer: Producer | None = None
        self._follower = Follower(settings, "metrics", self._take)

    def start(self) -> None:
        """Begin to read."""
        self._follower.start()

    def background_task(self, read: Callable[[], Awaitable[Sample]]) -> BackgroundTask:
        """To say how this process is, as long as it runs."""
        return BackgroundTask(HEARTBEAT_S, partial(self.say, read), self.start, self.leave)

    async def say(self, read: Callable[[], Awaitable[Sample]]) -> None:
        """Take a reading and write what is due; waits until the rows of before the start are read."""
        if not self._follower.caught_up:
            return
        reading, now = await read(), now_ms()
        if self._recorder is None:
            self._recorder = Recorder(self.process)
            with self._lock:
                self._recorder.resume(self._history.own(self.process), now)
        gauges = plain(reading.gauges)
        rows = self._recorder.add(now, plain(reading.totals), gauges)
        rows[f"{self.process}/{NOW}"] = MetricsRow(
            time=now - WINDOW_MS,
            until=now,
            counts=self._recorder.window(),
            gauges=gauges,
            process=reading.process,
        )
        for key, row in rows.items():
            self._write(key, encode(row))

    def leave(self) -> None:
        """Take leave, and end."""
        if self._recorder is not None:
            self._write(f"{self.process}/{NOW}", None)
        if self._producer is not None:
            self._producer.flush(LEAVE_S)
        self._follower.stop()

    def points(self, span: str) -> list[Point]:
        """The history of a span, oldest first."""
        with self._lock:
            return self._history.points(span, now_ms())

    def heartbeats(self) -> list[Heartbeat]:
        """The latest words of each process."""
        with self._lock:
            return self._history.heartbeats(now_ms())

    def _take(self, key: bytes, value: bytes | None, offset: int, written: int) -> None:
        row = None if not value else decode_metrics(value)
        with self._lock:
            self._history.add(key.decode(), row, now_ms() if self._follower.caught_up else written)

    def _write(self, key: str, value: bytes | None) -> None:
        if self._producer is None:
            self._producer = Producer(
                producer_config(
                    self._settings,
                    **{
                        "linger.ms": 50,
                        "compression.type": "gzip",
                        "message.timeout.ms": 30_000,
                        "queue.buffering.max.messages": QUEUE,
                    },
                )
            )
        try:
            self._producer.produce(self._topic, value, key, partition=0)
            self._producer.poll(0)
        except BufferError:
            log.debug("the topic metrics takes no more rows")


def plain(values: Mapping[str, float]) -> dict[str, float]:
    """As a row takes them: NumPy's numbers as Python's, and none that JSON does not have.

    >>> import numpy
    >>> plain({"a": numpy.float32(0.5), "b": float("nan"), "c": 3})
    {'a': 0.5, 'c': 3}
    """
    made = {name: v if isinstance(v, int) else float(v) for name, v in values.items()}
    return {name: value for name, value in made.items() if math.isfinite(value)}


def now_ms() -> int:
    """The wall clock."""
    return int(time.time() * 1000)
