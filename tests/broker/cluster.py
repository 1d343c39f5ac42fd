"""Start workers and learners as an operator does, on a broker, and read what they write to its topics."""

import json
import os
import random
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)

from deploy.kafka import free_port
from models.checkpoint import CHECKPOINT_KEY, Checkpoint
from models.model import Model
from streams import topics
from streams.event_messages import Event
from streams.kafka.admin import create
from streams.kafka.client import confluent, producer_config
from streams.kafka.embedded import PARTITIONS, EmbeddedBroker
from streams.messages import decode_recommendation, encode
from streams.settings import Settings
from streams.step.users import User, decode_user

PATIENCE_S = 60
TAIL = 10_000
"""Offsets at the end of the topic `model` in which the latest checkpoint is looked for: the topic is long."""
LONG_AGO = 1_500_000_000_000
"""Event time of the first click, ms."""


def wait_for(condition: Callable[[], Any], what: str, seconds: float = PATIENCE_S, every: float = 0.1) -> Any:
    """Return the first true value of `condition`; otherwise `TimeoutError` with `what` and the last value."""
    end, value = time.monotonic() + seconds, None
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(every)
    raise TimeoutError(f"{what}: not within {seconds} s, last {value!r}")


class Process:
    """A worker or learner process and its log."""

    def __init__(self, command: str, env: dict[str, str], log: Path) -> None:
        self.url = f"http://127.0.0.1:{env['FRESHET_WEB_PORT']}"
        self.log = log
        self._process = subprocess.Popen(
            [sys.executable, "-m", "streams", command],
            env=os.environ | env,
            stdout=log.open("ab"),
            stderr=subprocess.STDOUT,
        )

    def get(self, path: str = "/") -> dict[str, Any] | None:
        """A page as JSON; None if the process does not answer."""
        request = urllib.request.Request(self.url + path, headers={"Accept": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=5) as response:
                return json.load(response)
        except OSError:
            return None

    def ready(self) -> bool:
        """Whether the process reports itself ready; fails with the end of the log if it has ended."""
        assert self._process.poll() is None, self.log.read_text()[-3000:]
        return self.get("/health/ready") is not None

    def signal(self, number: int) -> None:
        """Send a signal, such as SIGSTOP, to the process."""
        self._process.send_signal(number)

    def ended(self) -> bool:
        """Whether the process has ended."""
        return self._process.poll() is not None

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def wait(self, seconds: float) -> int:
        """Wait until the process ends by itself, and return its exit status."""
        return self._process.wait(seconds)

    def kill(self) -> None:
        """Kill the process with SIGKILL."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """Stop the process with SIGTERM, and return its exit status."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                return self._process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()
        return self._process.returncode


def _end(consumer: Consumer, tp: TopicPartition) -> tuple[int, int] | None:
    """First offset and end of a partition; None while a topic that was created a moment ago has no leader."""
    try:
        return consumer.get_watermark_offsets(tp, 10)
    except KafkaException as error:
        if error.args[0].code() == KafkaError.NOT_LEADER_FOR_PARTITION:
            return None
        raise


class Cluster:
    """A deployment with a topic prefix, settings and processes of its own.  `with` ends the processes."""

    def __init__(self, brokers: str, folder: Path, **settings: Any) -> None:
        embedded = bool(settings.get("embedded"))
        self.folder = folder
        self._configured = {
            "brokers": brokers,
            "topic_prefix": f"{folder.name}-",
            "partitions": PARTITIONS if embedded else 4,
            "publish_interval_s": 0.2,
            "max_items": 10_000,
            "session_timeout_s": 6,
        } | settings
        self.settings = Settings(**self._configured)
        self._processes: list[Process] = []
        self._producer = Producer(producer_config(self.settings, **{"linger.ms": 5}))

    def __enter__(self) -> "Cluster":
        if not self.settings.embedded:
            create(self.settings)
        return self

    def __exit__(self, *error: object) -> None:
        for process in self._processes:
            process.stop()

    def start(self, command: str, name: str = "", **settings: Any) -> Process:
        """Start a `worker` or `learner`; with the same name again: the same folder, but another port."""
        name = name or command
        own = {"data_dir": str(self.folder / name), "web_port": free_port()}
        own |= {"worker_id": name} if command == "worker" else {}
        env = {
            f"FRESHET_{key.upper()}": value if isinstance(value, str) else json.dumps(value)
            for key, value in (self._configured | own | settings).items()
            if value is not None
        }
        process = Process(command, env, self.folder / f"{name}.log")
        self._processes.append(process)
        return process

    def publish(self, events: Iterable[Event], copies: int = 1, at_event_time: bool = False) -> None:
        """Publish each event `copies` times, keyed by user.

        With `at_event_time` each record has the header `replay`, so that it arrived when it happened.
        """
        for event in events:
            headers = [("replay", str(event.time_ms).encode())] if at_event_time else None
            for _ in range(copies):
                self.produce(encode(event), event.user.encode(), headers)
        self.flush()

    def produce(self, value: bytes | None, key: bytes | None, headers: Any = None) -> None:
        """Queue one record for `events`; `flush` waits until Kafka has it."""
        self._producer.produce(self.settings.topic("events"), value, key, headers=headers)
        self._producer.poll(0)

    def flush(self) -> None:
        """Wait until Kafka has every queued record."""
        self._producer.flush()

    def read(self, topic: str, latest: int | None = None) -> list[Message]:
        """Read the committed records that are in a topic now, each partition in order.

        With `latest`, only those within that number of offsets from the end of each partition.
        """
        messages, ended = [], set()
        with self._consumer(
            **{"enable.partition.eof": True, "isolation.level": "read_committed"}
        ) as consumer:
            ends = self._end_offsets(consumer, topic)
            for tp, end in ends.items():
                tp.offset = OFFSET_BEGINNING if latest is None else max(end - latest, 0)
            consumer.assign(list(ends))
            while len(ended) < len(ends):
                for message in consumer.consume(5000, 0.2):
                    if error := message.error():
                        if error.code() == KafkaError._PARTITION_EOF:
                            ended.add(message.partition())
                    else:
                        messages.append(message)
        return messages

    def record_count(self, topic: str) -> int:
        """The number of records ever written to a topic, by its end offsets: much cheaper than `read`."""
        with self._consumer() as consumer:
            return sum(self._end_offsets(consumer, topic).values())

    def lag(self) -> int:
        """The number of events whose offset the workers have not committed yet.

        A worker commits an event once its recommendation, example and user record are in Kafka.  So at 0
        every event has had its effect, and nothing more comes.
        """
        with self._consumer() as consumer:
            ends = self._end_offsets(consumer, "events")
            committed = {tp.partition: tp.offset for tp in consumer.committed(list(ends), 10)}
        return sum(end - max(committed[tp.partition], 0) for tp, end in ends.items())

    @contextmanager
    def _consumer(self, **config: Any) -> Iterator[Consumer]:
        """A consumer that knows the offsets of the workers' group, without joining it or committing."""
        group = {"group.id": self.settings.topic(topics.SERVING_APP), "enable.auto.commit": False}
        consumer = Consumer(confluent(self.settings, **group, **config))
        try:
            yield consumer
        finally:
            consumer.close()

    def _end_offsets(self, consumer: Consumer, topic: str) -> dict[TopicPartition, int]:
        name = self.settings.topic(topic)
        partitions = consumer.list_topics(name, 10).topics[name].partitions
        assigned = [TopicPartition(name, partition) for partition in partitions]
        return {tp: wait_for(lambda tp=tp: _end(consumer, tp), f"{tp} has a leader")[1] for tp in assigned}

    def checkpoints(self) -> list[Checkpoint]:
        """The published checkpoints, in order."""
        return _checkpoints(self.read("model"))

    def has_learnt(self, examples: int) -> Callable[[], bool]:
        """A condition for `wait_for`: the latest checkpoint has learnt at least this number of examples."""
        return lambda: any(
            checkpoint.examples >= examples for checkpoint in _checkpoints(self.read("model", TAIL))[-1:]
        )

    def model(self) -> Model:
        """A model with the rows that are published now."""
        model = Model(self.settings.generators, self.settings.max_items)
        rows = [(m.key(), m.value()) for m in self.read("model") if m.key() != CHECKPOINT_KEY]
        model.apply(model.prepare(rows))
        return model

    def users(self) -> dict[str, User]:
        """The user records by user id, as the changelog has them."""
        latest = {m.key(): m.value() for m in self.read(topics.USERS_CHANGELOG)}
        return {key.decode(): decode_user(value) for key, value in latest.items()}

    def events_applied(self) -> int:
        """The number of events applied to users, duplicates not counted."""
        return sum(user.events for user in self.users().values())

    def answers(self) -> dict[str, str]:
        """Event id by recommendation id: an event that was answered twice is in it once."""
        recommendations = (decode_recommendation(m.value()) for m in self.read("recommendations"))
        return {r.recommendation_id: r.event_id for r in recommendations}


def _checkpoints(rows: Iterable[Message]) -> list[Checkpoint]:
    return [Checkpoint.decode(row.value() or b"") for row in rows if row.key() == CHECKPOINT_KEY]


def embedded_cluster(broker: EmbeddedBroker, folder: Path, **settings: Any) -> Cluster:
    """A deployment on the embedded broker."""
    cluster = Cluster(broker.brokers, folder, embedded=True, **settings)
    broker.create(*(t.name for t in topics.topics(cluster.settings).values()))
    return cluster


def clicks(
    n: int, users: int = 200, items: int = 300, seed: int = 1, start: int = LONG_AGO
) -> Iterator[Event]:
    """Generate `n` seeded clicks, one second apart from `start` (ms), that a model can learn from."""
    rng = random.Random(seed)
    latest: dict[int, int] = {}
    for k in range(n):
        user = rng.randrange(users)
        item = latest[user] = (latest.get(user, user) * 7 + rng.randrange(3)) % items
        yield Event(
            event_id=f"{seed}-{k}", user=f"u{user}", type="view", item=f"i{item}", time=start + 1000 * k
        )


def event_counts(model: Model) -> dict[str, int]:
    """Number of events learnt, by item."""
    events = model.generators["popularity"].events  # type: ignore[attr-defined]
    return {item: int(events[row]) for row, item in enumerate(model.items.ids) if item}
