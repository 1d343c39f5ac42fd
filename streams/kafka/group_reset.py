"""Events that a reset of the group's offsets skipped: committed, but never applied.

`kafka-consumer-groups --reset-offsets --to-latest` moves the committed offset over events that no worker has
read, and leaves no trace of it.  But the latest recommendation of each partition names the event that it
answered.  So what is committed behind that one is looked at: an event was skipped if the record of its user
has not come so far.  (Dead letters, duplicates and impressions get no recommendation; of these only dead
letters leave their user as it was, and they are recognised.)

Kafka resets a group only while nobody is in it, so it is enough to look once, before a worker serves.
"""

import logging
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from streams.kafka.client import consumer_config, is_end, is_no_record
from streams.kafka.losses import Losses
from streams.kafka.reading import latest
from streams.messages import Malformed, decode_recommendation
from streams.settings import Settings
from streams.step.accept import decode
from streams.step.policy import ServingPolicy
from streams.step.users import decode_user
from streams.topics import SERVING_APP

log = logging.getLogger(__name__)

TAIL = 10
"""Offsets at the end of `recommendations` in which the latest is looked for: some are markers, no records."""
TIMEOUT_S = 5.0
"""Time for the answers, for the events, and for the committed offsets: it delays the start, at most."""
ANSWERED_BYTES = 100
"""Memory of a partition and an offset, about."""
BATCH = 1000
MAX_EVENTS = 20_000
"""Events of a partition that are looked at; what is committed after them counts as skipped."""

Stored = Callable[[int, bytes], bytes | None]
"""A user's encoded record by partition and key."""


class Skipped(NamedTuple):
    """Events of one partition that were skipped: some of those from `first` to before `after`."""

    partition: int
    events: int
    first: int
    after: int


def count_skipped(
    app: Any, settings: Settings, policy: ServingPolicy, stored: Stored, losses: Losses, partitions: list[int]
) -> None:
    """Count what a reset skipped in these partitions as lost; blocks, and raises nothing."""
    generation, until = app.consumer_generation_id, time.monotonic() + settings.session_timeout_s

    def assigned() -> bool:  # a worker that stood still for longer may not know yet that it lost them
        return bool(app.consumer_generation_id == generation and time.monotonic() < until)

    try:
        for loss in skipped(settings, partitions, stored, policy, assigned):
            losses.add(loss.partition, loss.events)
    except KafkaException as error:
        log.warning("cannot tell whether the group was reset: %s", error.args[0].str())
    except Exception:  # partitions that move meanwhile, records of others: no reason not to serve
        log.exception("cannot tell whether the group was reset")


def skipped(
    settings: Settings,
    partitions: list[int],
    stored: Stored,
    policy: ServingPolicy,
    assigned: Callable[[], bool],
) -> list[Skipped]:
    """What a reset skipped in these partitions, also in the log; blocks.

    `assigned` tells whether the partitions are still this worker's: what another one has committed meanwhile
    was not skipped.  `KafkaException` if Kafka does not answer.
    """
    events = settings.topic("events")
    answered = _after_latest_answer(settings)
    config: dict[str, Any] = {
        "group.id": settings.topic(SERVING_APP),
        "isolation.level": "read_committed",
        "enable.partition.eof": True,
    }
    consumer = Consumer(consumer_config(settings, **config))
    try:  # it neither joins the group nor commits
        committed = consumer.committed([TopicPartition(events, p) for p in partitions], TIMEOUT_S)
        found, deadline = [], time.monotonic() + TIMEOUT_S
        for tp in committed:
            first, after = answered.get(tp.partition, tp.offset), tp.offset
            if first >= after:
                continue
            count = _unapplied(consumer, tp, first, deadline, stored, policy)
            if count and not assigned():
                log.warning("cannot tell whether the group was reset: the partitions moved meanwhile")
                break
            if count:
                found.append(Skipped(tp.partition, count, first, after))
                log.warning(
                    "%s: the committed offset of partition %s was moved over %s events that no worker has"
                    " read (offsets %s to %s): was the group reset?",
                    events, tp.partition, count, first, after - 1,
                )  # fmt: skip
        return found
    finally:
        consumer.close()


def _after_latest_answer(settings: Settings) -> dict[int, int]:
    """Offset after the latest event that was answered, by partition of `events`."""
    after: dict[int, int] = {}
    for partition, offset in latest(settings, "recommendations", TAIL, TIMEOUT_S, _answered):
        after[partition] = max(offset + 1, after.get(partition, 0))
    return after


def _answered(message: Message) -> tuple[tuple[int, int], int]:
    """Partition and offset of the event that a recommendation answers, -1 if unknown, and their bytes."""
    value = message.value()
    offset = -1 if not value else decode_recommendation(value).offset
    return (message.partition() or 0, offset), ANSWERED_BYTES


def _unapplied(
    consumer: Consumer,
    committed: TopicPartition,
    first: int,
    deadline: float,
    stored: Stored,
    policy: ServingPolicy,
) -> int:
    """Events from offset `first` to the committed one whose users' records have not come so far.

    As many as are found until `deadline`, a monotonic time.
    """
    count = looked_at = 0
    partition, after = committed.partition, committed.offset
    consumer.assign([TopicPartition(committed.topic, partition, first)])
    while time.monotonic() < deadline and looked_at < MAX_EVENTS:
        for message in consumer.consume(BATCH, 0.1):
            if is_no_record(message):
                if is_end(message):
                    return count
                continue
            key, offset = message.key() or b"", message.offset() or 0
            if offset >= after:
                return count
            looked_at += 1
            try:
                applies = decode(message.value(), policy).user.encode() == key
            except Malformed:
                continue
            value = stored(partition, key) if applies else None
            count += applies and (value is None or decode_user(value).offset < offset)
            if offset == after - 1:
                return count
    return count if looked_at < MAX_EVENTS else count + max(after - first - looked_at, 0)
