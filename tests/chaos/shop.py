"""Seeded traffic: users who view, buy and ask, with duplicates and unusable records among their events."""

import json
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from confluent_kafka import Producer

BATCH_S = 0.02
USERS, ITEMS = 40, 300
UNUSABLE: tuple[bytes | None, ...] = (
    None,
    b'{"event_id": "1", "us',
    b'{"event_id": "1", "user": "u", "time": 1}',
)


class Shop:
    """Publishes events of `USERS` users to a topic, a seeded stream that continues from call to call."""

    def __init__(self, brokers: str, topic: str, rng: random.Random) -> None:
        self._topic, self._rng, self._number = topic, rng, 0
        self._latest: dict[str, bytes] = {}
        self._producer = Producer(
            {
                "bootstrap.servers": brokers,
                "partitioner": "murmur2_random",
                "acks": "all",
                "enable.idempotence": True,
                "linger.ms": 5,
                "log_level": 3,  # errors only
                "message.max.bytes": 20_000_000,
            }
        )

    def publish(self, count: int) -> None:
        """Publish events as fast as Kafka takes them."""
        for _ in range(count):
            self._publish_one()
        self.flush()

    def publish_of(self, user: str) -> None:
        """Publish the next event of one user."""
        self.produce(user.encode(), self._event(user))

    @contextmanager
    def open(self, rate: float = 300) -> Iterator[None]:
        """Publish `rate` events a second meanwhile; all of them are in Kafka at the end."""
        closing = threading.Event()
        thread = threading.Thread(target=self._publish_until, args=(closing, rate))
        thread.start()
        try:
            yield
        finally:
            closing.set()
            thread.join()

    def produce(self, key: bytes | None, value: bytes | None, **more: Any) -> None:
        """Publish one record of any kind, and wait until Kafka has it."""
        self._producer.produce(self._topic, value, key, **more)
        self.flush()

    def flush(self) -> None:
        """Wait until Kafka has every record."""
        left = self._producer.flush(60)
        assert not left, f"Kafka did not take {left} records"

    def _publish_until(self, closing: threading.Event, rate: float) -> None:
        began, published = time.monotonic(), 0
        while not closing.wait(BATCH_S):
            due = int((time.monotonic() - began) * rate)
            for _ in range(due - published):
                self._publish_one()
            published = due
            self._producer.poll(0)
        self.flush()

    def _publish_one(self) -> None:
        user, chance = f"u{self._rng.randrange(USERS)}", self._rng.random()
        if chance < 0.01:
            value = self._rng.choice(UNUSABLE)
        elif chance < 0.03 and user in self._latest:
            value = self._latest[user]  # a duplicate
        else:
            value = self._latest[user] = self._event(user)
        self._producer.produce(self._topic, value, user.encode())

    def _event(self, user: str) -> bytes:
        self._number += 1
        kind = self._rng.choices(("view", "purchase", "impression", "request"), (85, 5, 5, 5))[0]
        return event(user, type=kind, event_id=f"e{self._number}", item=f"i{self._rng.randrange(ITEMS)}")


def event(user: str, **fields: Any) -> bytes:
    """An event of now, as JSON: a view of an item, unless `fields` say something else."""
    plain = {"event_id": f"x{time.time_ns()}", "user": user, "type": "view", "item": "i0"}
    return json.dumps(plain | {"time": int(time.time() * 1000)} | fields).encode()
