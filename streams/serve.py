"""The serving step: a micro-batch of events in, everything to write out.  Pure.

    events ▶ decode ▶ advance the user ▶ recommend ▶ join with what was shown ▶ Writes

It knows no Kafka, no clock and no randomness of its own; writes are data.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from msgspec.structs import replace

from models.core import Asked, Example, Shown, Slate
from streams.clock import arrival, safe_time
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
from streams.users import Rules, User, Verdict, advance, asked, decode_user, encode_user


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

    def recommend(self, asked: Sequence[Asked], k: int) -> list[Slate]:
        """k items for each who is asked for."""

    def popular(self, k: int) -> frozenset[str]:
        """What everybody would be shown."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The settings that the step decides by."""

    users: Rules
    event_weights: dict[str, float]
    unknown_event_weight: float
    accept_unknown_types: bool
    unanswered_types: frozenset[str]
    max_event_bytes: int
    max_ahead_ms: int
    list_length: int

    @classmethod
    def of(cls, settings: Settings) -> "Policy":
        """The part of the settings that the step decides by."""
        return cls(
            Rules(
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


class _Accepted(NamedTuple):
    """An accepted event between the two halves of the step."""

    key: bytes
    event: Event
    partition: int
    offset: int
    timestamp: int
    time: int
    before: tuple[str, ...]
    before_size: int
    session: int
    after: Asked
    weight: float
    answered: bool


def serve(
    records: Sequence[Record],
    topic: str,
    stored: Callable[[int, bytes], bytes | None],
    recommender: Recommender,
    policy: Policy,
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
    accepted: list[_Accepted] = []
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
        time = event.time_ms
        arrived = arrival(record.timestamp, record.headers)
        safe = safe_time(time, arrived, policy.max_ahead_ms, policy.users.grace_ms)
        weight = policy.weight(event.type)
        new_users[partition] += user.offset < 0
        new, verdict, before, size = advance(user, event, time, safe, record.offset, weight > 0, policy.users)
        users[partition][key] = new
        if verdict is Verdict.DUPLICATE:
            counts.duplicates += 1
        elif verdict is Verdict.LATE:
            counts.late += 1
        else:
            counts.accepted += 1
            answered = event.type not in policy.unanswered_types
            accepted.append(
                _Accepted(
                    key, event, partition, record.offset, record.timestamp, safe, before, size, new.sessions,
                    asked(new, safe, event.context),
                    weight, answered,
                )
            )  # fmt: skip

    slates = iter(recommender.recommend([a.after for a in accepted if a.answered], policy.list_length))
    popular = recommender.popular(policy.list_length)
    now = clock()
    recommendations: dict[int, list[tuple[bytes, bytes]]] = defaultdict(list)
    examples: dict[int, list[tuple[bytes, bytes]]] = defaultdict(list)
    ages = []
    for one in accepted:
        partition, event = one.partition, one.event
        user = users[partition][one.key]
        if one.weight > 0 and event.item is not None:
            examples[partition].append((one.key, encode(_example(one, user))))
            if user.slate and one.answered:
                counts.predictions += 1
                counts.recommended_hits += event.item in user.slate
                counts.popular_hits += event.item in popular
        if one.answered:
            slate, age = next(slates), max(now - one.timestamp, 0)
            recommendation = _recommendation(one, slate, recommender, age, now)
            recommendations[partition].append((one.key, encode(recommendation)))
            ages.append(age)
            users[partition][one.key] = replace(
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


def _decode(record: Record, policy: Policy) -> Event:
    event = decode_event(record.value, policy.max_event_bytes)
    if not policy.accept_unknown_types and event.type not in policy.event_weights:
        raise Malformed("unknown-type", f"{event.type!r} is not in event_weights")
    if record.key is None or record.key != event.user.encode():
        raise Malformed("wrong-key", "the key of the record must be the user's id, in UTF-8")
    return event


def _example(one: _Accepted, user: User) -> Example:
    event = one.event
    assert event.item is not None
    shown = None
    if event.item in user.slate:
        shown = Shown(user.slate_id, user.slate.index(event.item))
    return Example(
        event.user, one.offset, one.time, event.type, event.item, one.weight, event.value,
        one.before, one.before_size, one.session, shown, event.context,
    )  # fmt: skip


def _recommendation(
    one: _Accepted, slate: Slate, recommender: Recommender, age: int, now: int
) -> Recommendation:
    made = recommender.checkpoint_time
    return Recommendation(
        recommendation_id=f"{one.partition}-{one.offset}",
        user=one.event.user,
        time=now,
        event_id=one.event.event_id,
        event_type=one.event.type,
        items=list(map(Recommended, slate.items, slate.scores, slate.reasons)),
        checkpoint=recommender.checkpoint,
        age_ms=age,
        model_age_ms=None if made is None else max(now - made, 0),
    )
