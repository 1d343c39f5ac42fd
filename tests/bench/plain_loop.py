"""A program to compare with: one thread, a confluent-kafka loop, co-visitation in a dict, nothing durable.

    python -m tests.bench.plain_loop BROKERS PREFIX

It learns and recommends one click at a time and keeps everything in memory: a restart begins with nothing,
commits are automatic, rows grow without bound.
"""

import json
import sys
from collections import defaultdict
from heapq import nlargest
from typing import Any

from confluent_kafka import Consumer, Producer

RECENT, LENGTH = 5, 20


class CoVisits:
    """Counts how often two items are near each other in a session."""

    def __init__(self) -> None:
        self._together: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        self._session: dict[str, list[str]] = defaultdict(list)

    def click(self, session_id: str, item: str) -> list[tuple[str, float]]:
        """Learn a click and recommend after it: items and scores, best first.

        >>> visits = CoVisits()
        >>> visits.click("s1", "tent"), visits.click("s1", "stove"), visits.click("s2", "tent")
        ([], [], [('stove', 1.0)])
        """
        session = self._session[session_id]
        for distance, earlier in enumerate(reversed(session), 1):
            if earlier != item:
                self._together[earlier][item] += 1 / distance
                self._together[item][earlier] += 1 / distance
        session[:] = [*(seen for seen in session if seen != item), item][-RECENT:]
        scores: dict[str, float] = defaultdict(float)
        for distance, seen in enumerate(reversed(session), 1):
            for other, weight in self._together[seen].items():
                scores[other] += weight / distance
        for seen in session:
            scores.pop(seen, None)
        return nlargest(LENGTH, scores.items(), key=lambda scored: scored[1])


def loop(brokers: str, prefix: str) -> None:
    """Learn from every event and answer it, for ever."""
    consumer = Consumer(
        {"bootstrap.servers": brokers, "group.id": f"{prefix}plain", "auto.offset.reset": "earliest"}
    )
    producer = Producer({"bootstrap.servers": brokers, "linger.ms": 1})
    consumer.subscribe([f"{prefix}events"])
    visits = CoVisits()
    while True:
        message = consumer.poll(1.0)
        if message is None or message.error():
            continue
        event: dict[str, Any] = json.loads(message.value() or b"")
        items = [
            {"item": item, "score": round(score, 4)}
            for item, score in visits.click(event["session"], event["item"])
        ]
        answer = {"user": event["user"], "event_id": event["event_id"], "items": items}
        producer.produce(f"{prefix}recommendations", json.dumps(answer), message.key())
        producer.poll(0)


if __name__ == "__main__":
    loop(*sys.argv[1:])
