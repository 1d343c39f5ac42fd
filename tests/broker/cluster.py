"""Workers and learners as an operator starts them, on a broker, with topics of their own."""

import json
import os
import random
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, Producer, TopicPartition

from deploy.kafka import free_port
from models.checkpoint import CHECKPOINT_KEY, Checkpoint
from models.model import Model
from streams import topics
from streams.kafka.client import confluent, producer_config
from streams.kafka.embedded import PARTITIONS, EmbeddedBroker
from streams.messages import Event, decode_recommendation, encode
from streams.settings import Settings
from streams.step.users import User, decode_user

PATIENCE_S = 60
LONG_AGO = 1_500_000_000_000
"""Event time of the first click, ms."""


def wait_for(condition: Callable[[], Any], what: str, seconds: float = PATIENCE_S, every: float = 0.1) -> Any:
    """The first true value of `condition`; `TimeoutError` with `what` and its last value otherwise."""
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
        """A page as JSON; None if it does not answer."""
        request = urllib.request.Request(self.url + path, headers={"Accept": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=5) as response:
                return json.load(response)
        except OSError:
            return None

    def ready(self) -> bool:
        """Whether it says so; raises with the log's end if the process ended."""
        assert self._process.poll() is None, self.log.read_text()[-3000:]
        return self.get("/health/ready") is not None

    def signal(self, number: int) -> None:
        """Send a signal, SIGSTOP say."""
        self._process.send_signal(number)

    def wait(self, seconds: float) -> int:
        """The exit status, once it ends by itself."""
        return self._process.wait(seconds)

    def kill(self) -> None:
        """kill -9."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                return self._process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()
        return self._process.returncode


class Cluster:
    """One deployment: a topic prefix, its settings, its processes."""

    def __init__(self, brokers: str, folder: Path, **settings: Any) -> None:
        embedded = bool(settings.get("embedded"))
        self.folder = folder
        self._given = {
            "brokers": brokers,
            "topic_prefix": f"{folder.name}-",
            "partitions": PARTITIONS if embedded else 4,
            "publish_interval_s": 0.2,
            "max_items": 10_000,
            "session_timeout_s": 6,
        } | settings
        self.settings = Settings(**self._given)
        self._processes: list[Process] = []
        self._producer = Producer(producer_config(self.settings, **{"linger.ms": 5}))

    def __enter__(self) -> "Cluster":
        if not self.settings.embedded:
            topics.create(self.settings)
        return self

    def __exit__(self, *error: object) -> None:
        for process in self._processes:
            process.stop()

    def start(self, command: str, name: str = "", **settings: Any) -> Process:
        """Start `worker` or `learner`; the same name keeps its folder, but comes back on another port."""
        name = name or command
        given = self._given | {"data_dir": str(self.folder / name), "web_port": free_port()}
        given |= {"worker_id": name} if command == "worker" else {}
        env = {
            f"FRESHET_{key.upper()}": value if isinstance(value, str) else json.dumps(value)
            for key, value in (given | settings).items()
            if value is not None
        }
        process = Process(command, env, self.folder / f"{name}.log")
        self._processes.append(process)
        return process

    def publish(self, events: Iterable[Event], copies: int = 1, at_event_time: bool = False) -> int:
        """Publish events, keyed by user; how many."""
        count = 0
        for event in events:
            count += 1
            headers = [("replay", str(event.time_ms).encode())] if at_event_time else None
            for _ in range(copies):
                self.produce(encode(event), event.user.encode(), headers)
        self.flush()
        return count

    def produce(self, value: bytes | None, key: bytes | None, headers: Any = None) -> None:
        """One record to `events`."""
        self._producer.produce(self.settings.topic("events"), value, key, headers=headers)
        self._producer.poll(0)

    def flush(self) -> None:
        """Wait until everything is in Kafka."""
        self._producer.flush()

    def read(self, topic: str, isolation: str = "read_committed") -> list[Message]:
        """Everything that is in a topic now, each partition in order."""
        config = {"group.id": "reader", "enable.partition.eof": True, "isolation.level": isolation}
        consumer = Consumer(confluent(self.settings, **config))
        name = self.settings.topic(topic)
        partitions = consumer.list_topics(name, 10).topics[name].partitions
        consumer.assign([TopicPartition(name, p, OFFSET_BEGINNING) for p in partitions])
        messages, ended = [], set()
        while len(ended) < len(partitions):
            for message in consumer.consume(5000, 0.2):
                if error := message.error():
                    if error.code() == KafkaError._PARTITION_EOF:
                        ended.add(message.partition())
                else:
                    messages.append(message)
        consumer.close()
        return messages

    def written(self, topic: str) -> int:
        """Records ever written to a topic: its end offsets, much cheaper than reading it."""
        consumer = Consumer(confluent(self.settings, **{"group.id": "reader"}))
        name = self.settings.topic(topic)
        partitions = consumer.list_topics(name, 10).topics[name].partitions
        ends = [consumer.get_watermark_offsets(TopicPartition(name, p), 10)[1] for p in partitions]
        consumer.close()
        return sum(ends)

    def checkpoints(self) -> list[Checkpoint]:
        """What was published of the model, in order."""
        return [Checkpoint.decode(m.value() or b"") for m in self.read("model") if m.key() == CHECKPOINT_KEY]

    def learnt(self, examples: int) -> Callable[[], bool]:
        """A condition: so many examples are in the published model."""
        return lambda: bool((found := self.checkpoints()) and found[-1].examples >= examples)

    def model(self) -> Model:
        """The published model, read anew."""
        model = Model(self.settings.generators, self.settings.max_items)
        rows = [(m.key(), m.value()) for m in self.read("model") if m.key() != CHECKPOINT_KEY]
        model.apply(model.prepare(rows))
        return model

    def users(self) -> dict[str, User]:
        """The users table as its changelog says."""
        found = {m.key(): m.value() for m in self.read(topics.USERS_CHANGELOG)}
        return {key.decode(): decode_user(value) for key, value in found.items()}


def embedded_cluster(broker: EmbeddedBroker, folder: Path, **settings: Any) -> Cluster:
    """A deployment on the mock broker."""
    cluster = Cluster(broker.brokers, folder, embedded=True, **settings)
    broker.create(*(t.name for t in topics.topics(cluster.settings).values()))
    return cluster


def clicks(
    n: int, users: int = 200, items: int = 300, seed: int = 1, start: int = LONG_AGO
) -> Iterator[Event]:
    """Seeded clicks with structure, one second apart, as if of years ago."""
    rng = random.Random(seed)
    at: dict[int, int] = {}
    for k in range(n):
        user = rng.randrange(users)
        item = at[user] = (at.get(user, user) * 7 + rng.randrange(3)) % items
        yield Event(
            event_id=f"{seed}-{k}", user=f"u{user}", type="view", item=f"i{item}", time=start + 1000 * k
        )


def answered(cluster: Cluster) -> dict[str, str]:
    """Recommendation id ▶ event id, as a consumer that drops doubles sees it."""
    found = (decode_recommendation(m.value()) for m in cluster.read("recommendations"))
    return {r.recommendation_id: r.event_id for r in found}


def counts(model: Model) -> dict[str, int]:
    """Item ▶ events learnt."""
    events = model.generators["popularity"].events  # type: ignore[attr-defined]
    return {item: int(events[row]) for row, item in enumerate(model.items.ids) if item}
