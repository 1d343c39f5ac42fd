"""The serving step: a micro-batch of events in, everything to write out.  Pure.

    events ▶ decode ▶ advance the user ▶ recommend ▶ join with what was shown ▶ Writes

It knows no Kafka, no clock and no randomness of its own; writes are data.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from msgspec.structs import replace

from models.core import Query, Slate
from streams.messages import (
    DeadLetter,
    Event,
    Malformed,
    Recommendation,
    Recommended,
    decode_event,
    encode,
)
from streams.settings import Settings
from streams.step.accept import Accepted, accept, example
from streams.step.clock import arrival
from streams.step.users import SessionLimits, User, Verdict, decode_user, encode_user


class Record(Protocol):
    """A record as Kafka's client gives it."""

    key: bytes | None
    value: bytes | None
    partition: int
    offset: int
    timestamp: int
    headers: Sequence[tuple[str, bytes]]


class Recommender(Protocol):
    """What the step asks of a model; it does not change while the step runs."""

    checkpoint: int
    """0: nothing learnt yet."""
    checkpoint_time: int | None
    """Wall time of the checkpoint, ms."""

    def recommend(self, asked: Sequence[Query], k: int) -> list[Slate]:
        """K items for each who is asked for."""

    def popular(self, k: int) -> frozenset[str]:
        """What everybody would be shown."""


@dataclass(frozen=True, slots=True)
class ServingPolicy:
    """The settings that the step decides by."""

    sessions: SessionLimits
    event_weights: dict[str, float]
    unknown_event_weight: float
    accept_unknown_types: bool
    unanswered_types: frozenset[str]
    max_event_bytes: int
    max_ahead_ms: int
    list_length: int

    @classmethod
    def of(cls, settings: Settings) -> "ServingPolicy":
        """The part of the settings that the step decides by."""
        return cls(
            SessionLimits(
                session_gap_ms=int(settings.session_gap_s * 1000),
                grace_ms=int(settings.grace_s * 1000),
                history_length=settings.history_length,
                dedupe_events=settings.dedupe_events,
            ),
            settings.event_weights,
            settings.unknown_event_weight,
            settings.accept_unknown_types,
            settings.unanswered_types,
            settings.max_event_bytes,
            int(settings.max_ahead_s * 1000),
            settings.list_length,
        )

    def weight(self, event_type: str) -> float:
        """How much an event of this type teaches."""
        return self.event_weights.get(event_type, self.unknown_event_weight)


@dataclass(slots=True)
class Counts:
    """What happened to the events of a step; adds up over steps."""

    accepted: int = 0
    duplicates: int = 0
    late: int = 0
    replayed: int = 0
    """Seen before a crash or a rebalance, and skipped."""
    recommendations: int = 0
    users: int = 0
    """Seen for the first time."""
    predictions: int = 0
    """Events whose item could have been in the list that the user had been shown."""
    recommended_hits: int = 0
    """... and was."""
    popular_hits: int = 0
    """... and would have been in the list of what is popular."""
    dead_letters: dict[str, int] = field(default_factory=dict)
    """By reason."""


class Written(NamedTuple):
    """What is written to one partition; keys and values are bytes, in the order of the events."""

    users: dict[bytes, bytes]
    recommendations: list[tuple[bytes, bytes]]
    examples: list[tuple[bytes, bytes]]
    dead_letters: list[tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]]
    new_users: int
    """Users that nothing was known of."""


class Writes(NamedTuple):
    """Everything that a micro-batch writes."""

    partitions: dict[int, Written]
    """The partition that an event came from ▶ what it causes: all topics are partitioned alike."""
    counts: Counts
    ages_ms: list[int]
    """Of each recommendation."""


def serve(
    records: Sequence[Record],
    topic: str,
    stored: Callable[[int, bytes], bytes | None],
    recommender: Recommender,
    policy: ServingPolicy,
    clock: Callable[[], int],
) -> Writes:
    """Serve a micro-batch; records of one partition come in the order of their offsets.

    `stored` gives a user's value by partition and key; `clock` gives the wall time in ms, for ages only, and
    is asked once the lists are made.  A record that cannot be used becomes a dead letter; nothing that a
    record holds raises.
    """
    counts = Counts()
    users: dict[int, dict[bytes, User]] = defaultdict(dict)
    dead: dict[int, list[tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]]] = defaultdict(list)
    new_users: dict[int, int] = defaultdict(int)
    accepted: list[tuple[Record, Accepted]] = []
    for record in records:
        partition = record.partition
        try:
            event = _decode(record, policy)
        except Malformed as bad:
            counts.dead_letters[bad.reason] = counts.dead_letters.get(bad.reason, 0) + 1
            letter = DeadLetter(
                reason=bad.reason,
                detail=bad.detail[:1000],
                topic=topic,
                partition=partition,
                offset=record.offset,
                time=record.timestamp,
            )
            dead[partition].append((record.key, record.value, letter.headers()))
            continue
        key = record.key
        assert key is not None  # _decode compared it with the user's id
        user = users[partition].get(key)
        if user is None:
            value = stored(partition, key)
            user = User() if value is None else decode_user(value)
        if user.offset >= record.offset:
            counts.replayed += 1
            continue
        new_users[partition] += user.offset < 0
        arrived = arrival(record.timestamp, record.headers)
        user, verdict, one = accept(user, event, record.offset, arrived, policy)
        users[partition][key] = user
        if one is not None:
            counts.accepted += 1
            accepted.append((record, one))
        elif verdict is Verdict.DUPLICATE:
            counts.duplicates += 1
        else:
            counts.late += 1

    slates = iter(recommender.recommend([a.after for _, a in accepted if a.answered], policy.list_length))
    popular = recommender.popular(policy.list_length)
    now = clock()
    recommendations: dict[int, list[tuple[bytes, bytes]]] = defaultdict(list)
    examples: dict[int, list[tuple[bytes, bytes]]] = defaultdict(list)
    ages = []
    for record, one in accepted:
        partition, key = record.partition, record.key
        assert key is not None
        user = users[partition][key]
        taught = example(one, user)
        if taught is not None:
            examples[partition].append((key, encode(taught)))
            if user.slate and one.answered:
                counts.predictions += 1
                counts.recommended_hits += taught.shown is not None
                counts.popular_hits += taught.item in popular
        if one.answered:
            slate, age = next(slates), max(now - record.timestamp, 0)
            recommendation = _recommendation(one, partition, slate, recommender, age, now)
            recommendations[partition].append((key, encode(recommendation)))
            ages.append(age)
            users[partition][key] = replace(
                user, slate_id=recommendation.recommendation_id, slate=slate.items
            )
    counts.recommendations, counts.users = len(ages), sum(new_users.values())
    written = {
        partition: Written(
            {key: encode_user(user) for key, user in users[partition].items()},
            recommendations[partition], examples[partition], dead[partition], new_users[partition],
        )
        for partition in users.keys() | dead.keys()
    }  # fmt: skip
    return Writes(written, counts, ages)


def _decode(record: Record, policy: ServingPolicy) -> Event:
    event = decode_event(record.value, policy.max_event_bytes)
    if not policy.accept_unknown_types and event.type not in policy.event_weights:
        raise Malformed("unknown-type", f"{event.type!r} is not in event_weights")
    if record.key is None or record.key != event.user.encode():
        raise Malformed("wrong-key", "the key of the record must be the user's id, in UTF-8")
    return event


def _recommendation(
    one: Accepted, partition: int, slate: Slate, recommender: Recommender, age: int, now: int
) -> Recommendation:
    made = recommender.checkpoint_time
    return Recommendation(
        recommendation_id=f"{partition}-{one.offset}",
        user=one.event.user,
        time=now,
        event_id=one.event.event_id,
        event_type=one.event.type,
        items=list(map(Recommended, slate.items, slate.scores, slate.reasons)),
        checkpoint=recommender.checkpoint,
        age_ms=age,
        model_age_ms=None if made is None else max(now - made, 0),
    )
