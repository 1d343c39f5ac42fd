"""Watch the topics while a process runs: what was deleted, recreated, repartitioned, or lost to retention.

Consumers notice none of it: a deleted topic looks like a quiet one, and one that was recreated under the same
name starts at offset 0 again, which users and model take for events that they have seen.  Kafka gives every
topic an id, and that differs.

A thread asks every few seconds, off the loop that serves, with three requests.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from confluent_kafka import KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]  # see admin.py

from streams.kafka.admin import START_OVER
from streams.kafka.client import confluent
from streams.kafka.losses import Loss, Losses
from streams.settings import Settings
from streams.topics import Topic, topics

log = logging.getLogger(__name__)

WATCH_S = 5.0
REQUEST_TIMEOUT_S = 10.0
JOIN_TIMEOUT_S = 2.0
MISSED_LOOKS = 2
"""Looks in a row without a topic after which it counts as deleted: one broker may know less than another."""


@dataclass(frozen=True, slots=True)
class TopicState:
    """What Kafka says about a topic."""

    id: str
    """Different for each topic that ever had the name; empty if the broker gives no ids."""
    partitions: int


def problems(
    wanted: Iterable[Topic], before: Mapping[str, TopicState], now: Mapping[str, TopicState | None]
) -> list[str]:
    """What differs from what this process started with, with what to do, a line each.

    `now` is None for a topic that does not exist, and has no entry for one that could not be described.

    >>> events = Topic("events", "user id", "what users did", 2, {})
    >>> problems([events], {}, {"events": TopicState("a", 3)})[0][:64]
    'events: has 3 partitions, not 2: the records of the others are n'
    >>> problems([events], {"events": TopicState("a", 2)}, {"events": TopicState("b", 2)})[0][:46]
    'events: was deleted and recreated while this p'
    """
    lines = []
    for topic in wanted:
        if topic.name not in now:
            continue
        state, first = now[topic.name], before.get(topic.name)
        if state is None:
            lines.append(
                f"{topic.name}: was deleted: stop all workers and learners, and run `freshet topics`;"
                f" {START_OVER}"
            )
        elif first is not None and first.id != state.id:
            lines.append(
                f"{topic.name}: was deleted and recreated while this process runs: stop all workers and"
                f" learners; {START_OVER}"
            )
        elif state.partitions != topic.partitions:
            lines.append(
                f"{topic.name}: has {state.partitions} partitions, not {topic.partitions}: the records of the"
                f" others are not read, because state is kept by partition; Kafka cannot remove partitions:"
                f" {START_OVER}"
            )
    return lines


class TopicWatch:
    """Watches all of Freshet's topics, and the offsets of `source`, which this process reads.

    `assigned` gives the partitions of `source` that it reads now; `losses` counts what it missed of them.
    """

    def __init__(
        self, settings: Settings, source: str, losses: Losses, assigned: Callable[[], Iterable[int]]
    ) -> None:
        self.problems: list[str] = []
        """Why the topics cannot be served, with what to do; empty when they can."""
        self._settings, self._source, self._losses = settings, topics(settings)[source], losses
        self._assigned = assigned
        self._wanted = list(topics(settings).values())
        self._before: dict[str, TopicState] = {}
        self._missed: dict[str, int] = {}
        self._rewound: dict[int, tuple[int, int]] = {}
        self._admin: AdminClient | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="topic-watch", daemon=True)

    def start(self) -> None:
        """Begin to watch; a second call does nothing (Faust announces a worker twice)."""
        if self._thread.ident is None:
            self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(JOIN_TIMEOUT_S)

    def look(self) -> None:
        """Ask Kafka once, and update `problems` and the losses; blocks.  `KafkaException` if Kafka fails."""
        if self._admin is None:
            self._admin = AdminClient(confluent(self._settings))
        found = problems(self._wanted, self._before, self._described(self._admin))
        found += self._compare_offsets(self._admin)
        for line in found:
            if line not in self.problems:
                log.error("%s", line)
        self.problems = found

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.look()
            except KafkaException as error:
                log.debug("the topics cannot be watched: %s", error.args[0].str())
            except Exception:
                log.exception("the topics cannot be watched")
            self._stopping.wait(WATCH_S)

    def _described(self, admin: AdminClient) -> dict[str, TopicState | None]:
        """The topics as they are now."""
        if self._settings.embedded:  # that broker knows no ids
            return {}
        names = [topic.name for topic in self._wanted]
        answers = admin.describe_topics(TopicCollection(names), request_timeout=REQUEST_TIMEOUT_S)
        states: dict[str, TopicState | None] = {}
        for name, answer in answers.items():
            try:
                topic = answer.result(REQUEST_TIMEOUT_S)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    log.debug("topic %s cannot be described: %s", name, error.args[0].str())
                    continue
                self._missed[name] = self._missed.get(name, 0) + 1
                if self._missed[name] >= MISSED_LOOKS:
                    states[name] = None
                continue
            self._missed.pop(name, None)
            states[name] = state = TopicState(str(topic.topic_id or ""), len(topic.partitions))
            self._before.setdefault(name, state)
        return states

    def _compare_offsets(self, admin: AdminClient) -> list[str]:
        """Count what was lost; a line for each partition that ends below what was read."""
        name, partitions = self._source.name, list(self._assigned())
        if not partitions:
            return []
        starts = _offsets(admin, name, partitions, OffsetSpec.earliest())  # type: ignore[no-untyped-call]
        ends = _offsets(admin, name, partitions, OffsetSpec.latest())  # type: ignore[no-untyped-call]
        for loss in self._losses.check(starts):
            self._warn(loss)
        rewound = self._losses.beyond(ends)
        lines = [
            f"{name}: partition {partition} ends at {end}, and this process has read it to {position}: it was"
            f" recreated or truncated: stop all workers and learners; {START_OVER}"
            for partition, (position, end) in rewound.items()
            if partition
            in self._rewound  # twice in a row: the offsets that were asked for first may be older
        ]
        self._rewound = rewound
        return lines

    def _warn(self, loss: Loss) -> None:
        log.warning(
            "%s: %s records of partition %s were deleted before they were read (offsets %s to %s): keep them"
            " longer (FRESHET_%s_RETENTION_H), or add capacity",
            self._source.name, loss.after - loss.first, loss.partition, loss.first, loss.after - 1,
            self._source.name.removeprefix(self._settings.topic_prefix).upper(),
        )  # fmt: skip


def _offsets(admin: AdminClient, name: str, partitions: Iterable[int], spec: OffsetSpec) -> dict[int, int]:
    """First or end offset by partition, without those whose leader does not answer."""
    requests = {TopicPartition(name, partition): spec for partition in partitions}
    offsets = {}
    for tp, answer in admin.list_offsets(requests, request_timeout=REQUEST_TIMEOUT_S).items():
        try:
            offsets[tp.partition] = answer.result(REQUEST_TIMEOUT_S).offset
        except KafkaException as error:
            log.debug("the offsets of %s[%s] cannot be read: %s", name, tp.partition, error.args[0].str())
    return offsets
