"""Heartbeats: every process writes its state to the topic `metrics`, and reads there the state of all.

So any worker answers for the whole cluster, history survives a restart, and a process that died is known by
its missed heartbeats.  librdkafka's threads write and read; the loop that serves the stream only enqueues.
"""

import logging
import math
import threading
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from confluent_kafka import Producer

from streams.kafka.client import producer_config
from streams.kafka.follower import Follower
from streams.messages import MetricsRow, decode_metrics, encode, now_ms
from streams.monitor.history import HEARTBEAT_S, NOW, WINDOW_MS, Heartbeat, History, Point, Recorder
from streams.monitor.sample import Sample
from streams.runtime.background import BackgroundTask
from streams.settings import Settings

log = logging.getLogger(__name__)

MAX_QUEUED = 2_000
"""Rows that wait while Kafka does not answer; later ones are dropped."""
FLUSH_TIMEOUT_S = 2.0

TakeSample = Callable[[], Awaitable[Sample]]


class ProcessStatus:
    """Sends the heartbeats of this process, and knows the status of all processes and their history.

    `kind` is `serving` or `learning`.
    """

    def __init__(self, settings: Settings, kind: str) -> None:
        self.process = f"{kind}/{settings.name}"
        self._settings, self._topic = settings, settings.topic("metrics")
        self._history, self._lock = History(), threading.Lock()
        self._recorder: Recorder | None = None
        self._producer: Producer | None = None
        self._follower = Follower(settings, "metrics", self._receive)

    def start(self) -> None:
        """Begin to read the topic."""
        self._follower.start()

    def background_task(self, take_sample: TakeSample) -> BackgroundTask:
        """Sends a heartbeat every `HEARTBEAT_S` as long as the process runs."""
        return BackgroundTask(HEARTBEAT_S, partial(self.send, take_sample), self.start, self.stop)

    async def send(self, take_sample: TakeSample) -> None:
        """Take a sample and write the rows that are due; nothing until the rows on the topic are read."""
        if not self._follower.caught_up:
            return
        sample, now = await take_sample(), now_ms()
        if self._recorder is None:
            self._recorder = Recorder(self.process)
            with self._lock:
                self._recorder.resume(self._history.rows_of(self.process), now)
        gauges = json_numbers(sample.gauges)
        rows = self._recorder.add(now, json_numbers(sample.totals), gauges)
        rows[f"{self.process}/{NOW}"] = MetricsRow(
            time=now - WINDOW_MS,
            until=now,
            counts=self._recorder.window(),
            gauges=gauges,
            process=sample.process,
        )
        for key, row in rows.items():
            self._write(key, encode(row))

    def stop(self) -> None:
        """Deregister this process and stop reading; blocks."""
        if self._recorder is not None:
            self._write(f"{self.process}/{NOW}", None)
        if self._producer is not None:
            self._producer.flush(FLUSH_TIMEOUT_S)
        self._follower.stop()

    def points(self, span: str) -> list[Point]:
        """The history of the cluster over a span, oldest first."""
        with self._lock:
            return self._history.points(span, now_ms())

    def heartbeats(self) -> list[Heartbeat]:
        """The last heartbeat of each process, by name."""
        with self._lock:
            return self._history.heartbeats(now_ms())

    def _receive(self, key: bytes, value: bytes | None, offset: int, written: int) -> None:
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
                        "queue.buffering.max.messages": MAX_QUEUED,
                    },
                )
            )
        try:
            self._producer.produce(self._topic, value, key, partition=0)
            self._producer.poll(0)
        except BufferError:
            log.debug("a row for the topic metrics was dropped: %s rows are waiting", MAX_QUEUED)


def json_numbers(values: Mapping[str, float]) -> dict[str, float]:
    """The values as JSON has them: Python's numbers instead of NumPy's, without NaN and infinities.

    >>> import numpy
    >>> json_numbers({"a": numpy.float32(0.5), "b": float("nan"), "c": 3})
    {'a': 0.5, 'c': 3}
    """
    numbers = {name: value if isinstance(value, int) else float(value) for name, value in values.items()}
    return {name: value for name, value in numbers.items() if math.isfinite(value)}
