"""Serve a micro-batch of events: everything to write comes back as data.

records -> decode -> advance the user -> recommend -> join with what was shown -> Writes
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec.structs import replace

from models.core import Query, Slate
from streams.event_messages import Event
from streams.messages import DeadLetter, Malformed, Recommendation, Recommended, encode
from streams.step.accept import Accepted, accept, could_see, decode, example, require_milliseconds
from streams.step.aliases import check_alias, move, partition_of
from streams.step.answers import DEFAULT, Answer
from streams.step.clock import arrival, is_replayed, kafka_time
from streams.step.dead_letters import DETAIL_LENGTH, fitted
from streams.step.policy import ServingPolicy
from streams.step.users import User, Verdict, decode_user, encode_user
from streams.step.writes import Counts, OutputRecord, Writes, empty_outputs


class Record(Protocol):
    """A record of `events` as Kafka's client gives it."""

    key: bytes | None
    value: bytes | None
    partition: int
    offset: int
    timestamp: int
    headers: Sequence[tuple[str, bytes | None]]


class Recommender(Protocol):
    """The model that a step recommends from; it does not change while the step runs."""

    @property
    def checkpoint(self) -> int:
        """Number of the model's checkpoint; 0: nothing learnt yet."""

    @property
    def checkpoint_time(self) -> int | None:
        """Wall time at which the checkpoint was published, ms; None: nothing learnt yet."""

    def recommend(self, queries: Sequence[Query], k: int) -> list[Slate]:
        """Recommend k items for each query."""

    def popular(self, k: int) -> frozenset[str]:
        """The k most popular items."""


def serve(
    records: Sequence[Record],
    topic: str,
    stored: Callable[[int, bytes], bytes | None],
    recommender: Recommender,
    policy: ServingPolicy,
    clock: Callable[[], int],
) -> Writes:
    """Serve a micro-batch; records of one partition come in the order of their offsets.

    `stored` gives a user's encoded record by partition and key.  `clock` gives the wall time in ms: before
    the lists are made, for what is answered and for records that Kafka has no likely time of; after that, for
    ages.  A record that cannot be used becomes a dead letter; nothing that a record holds should raise, and
    `serve_in_parts` is for what still does.
    """
    began, counts, outputs = clock(), Counts(), empty_outputs()
    users: dict[int, dict[bytes, User]] = defaultdict(dict)
    new_users: dict[int, int] = defaultdict(int)
    accepted: list[tuple[Record, Accepted]] = []
    decoded: list[tuple[int, int, Event]] = []
    for record in records:
        partition, key = record.partition, record.key
        arrived = arrival(record.timestamp, record.headers, began)
        try:
            event = _decode(record, policy)
            require_milliseconds(event, arrived)
            check_alias(event, partition, policy.partitions)
        except Malformed as error:
            counts.dead_letters[error.reason] = counts.dead_letters.get(error.reason, 0) + 1
            outputs["dead-letter"][partition].append(dead_letter(record, topic, error, policy))
            continue
        assert key is not None  # _decode compared it with the user's id
        user = users[partition].get(key)
        if user is None:
            value = stored(partition, key)
            user = User() if value is None else decode_user(value)
        if user.offset >= record.offset:
            counts.replayed += 1
            continue
        decoded.append((partition, record.offset, event))
        new_users[partition] += user.offset < 0
        user, verdict, usable = accept(user, event, record.offset, arrived, policy)
        if event.type == "alias" and verdict is not Verdict.DUPLICATE:
            replayed = is_replayed(record.timestamp, record.headers, began)
            place = partition, record.offset
            user, merge = move(user, event, place, arrived if replayed else None, policy)
            outputs["events"][partition_of(event.alias or "", policy.partitions)].append(merge)
        users[partition][key] = user
        if usable is not None:
            counts.accepted += 1
            accepted.append((record, usable))
        elif verdict is Verdict.DUPLICATE:
            counts.duplicates += 1
        else:
            counts.late += 1

    skipped = skipped_answers(accepted, policy, began)
    asked = [
        [a for a in event.answers if (record.partition, record.offset, a.placement) not in skipped]
        for record, event in accepted
    ]
    queries = [answer.query for answers in asked for answer in answers]
    slates = iter(recommender.recommend(queries, policy.list_length))
    popular = recommender.popular(policy.list_length)
    now = clock()
    recommendations, examples = outputs["recommendations"], outputs["examples"]
    answered: dict[tuple[int, int], bytes] = {}
    ages = []
    for (record, counted), answers in zip(accepted, asked, strict=True):
        partition, key = record.partition, record.key
        assert key is not None
        user = users[partition][key]
        taught = example(counted, user)
        if taught is not None:
            examples[partition].append((key, encode(taught), []))
            if counted.answered and could_see(counted, user):
                counts.predictions += 1
                counts.recommended_hits += taught.shown is not None
                counts.popular_hits += taught.item in popular
        age = max(now - kafka_time(record.timestamp, now), 0)
        for answer in answers:
            slate = next(slates)
            recommendation = _recommendation(counted, answer, record.partition, slate, recommender, age, now)
            value = encode(recommendation)
            answered.setdefault((partition, record.offset), value)
            recommendations[partition].append((recommendation_key(key, answer.placement), value, []))
            ages.append(age)
            if answer.placement == DEFAULT and user.profiling:
                users[partition][key] = replace(
                    user,
                    slate_id=recommendation.recommendation_id,
                    slate=slate.items,
                    slate_time=counted.arrived + age,
                )
    counts.recommendations, counts.skipped = len(ages), len(skipped)
    counts.users = sum(new_users.values())
    encoded = {
        partition: {key: encode_user(user) for key, user in changed.items()}
        for partition, changed in users.items()
    }
    return Writes(encoded, outputs, new_users, counts, ages, decoded, answered)


def skipped_answers(
    accepted: Sequence[tuple[Record, Accepted]], policy: ServingPolicy, now: int
) -> frozenset[tuple[int, int, str]]:
    """Partition, offset and placement of the lists that the worker is too far behind (at `now`, ms) to make.

    For events that Kafka got more than `answer_all_within_ms` ago only each user's latest list of a placement
    is made: it would replace the others at once.  Those older than `answer_none_after_ms` get none.  What
    counts is Kafka's time of the record, because an event's own time may be wrong.  Nobody waits for the
    answers of a log that is replayed, and a replay is measured by them: it is answered in full.
    """
    limits = [limit for limit in (policy.answer_all_within_ms, policy.answer_none_after_ms) if limit]
    if not limits:
        return frozenset()
    since = now - min(limits)
    waited = [
        (record, event)
        for record, event in accepted
        if event.arrived < since  # no later than Kafka's time: the cheaper question first
        and event.answers
        and kafka_time(record.timestamp, now) < since
        and not is_replayed(record.timestamp, record.headers, now)
    ]
    if not waited:
        return frozenset()
    latest: dict[tuple[int, bytes | None, str], int] = {}
    if policy.answer_all_within_ms:
        latest = {
            (record.partition, record.key, answer.placement): record.offset
            for record, event in accepted
            for answer in event.answers
        }
    none_since = now - policy.answer_none_after_ms if policy.answer_none_after_ms else 0
    return frozenset(
        (record.partition, record.offset, answer.placement)
        for record, event in waited
        for answer in event.answers
        if record.offset < latest.get((record.partition, record.key, answer.placement), 0)
        or kafka_time(record.timestamp, now) < none_since
    )


def _decode(record: Record, policy: ServingPolicy) -> Event:
    event = decode(record.value, policy)
    if record.key is None or record.key != event.user.encode():
        raise Malformed("wrong-key", "the key of the record must be the user's id, in UTF-8")
    return event


def dead_letter(record: Record, topic: str, error: Malformed, policy: ServingPolicy) -> OutputRecord:
    """The dead letter of a record: its key, value and headers, cut if they are too large, and the reason."""
    most = policy.max_event_bytes
    (key, value, headers), cut = fitted(record.key, record.value, list(record.headers), most)
    letter = DeadLetter(
        reason=error.reason,
        detail=error.detail[:DETAIL_LENGTH],
        topic=topic,
        partition=record.partition,
        offset=record.offset,
        time=record.timestamp,
        value_bytes=len(record.value or b""),
        cut=cut,
    )
    return key, value, [*headers, *letter.headers()]


def recommendation_key(user: bytes, placement: str) -> bytes:
    r"""The key of a user's recommendations: compaction keeps the latest of each placement.

    No id has the byte 0xFF, which is no UTF-8: so no user's key is another's for a placement.

    >>> recommendation_key(b"ann", ""), recommendation_key(b"ann", "basket")
    (b'ann', b'ann\xffbasket')
    """
    return user + b"\xff" + placement.encode() if placement else user


def _recommendation(
    accepted: Accepted,
    answer: Answer,
    partition: int,
    slate: Slate,
    recommender: Recommender,
    age: int,
    now: int,
) -> Recommendation:
    published, placement = recommender.checkpoint_time, answer.placement
    place = f"{partition}-{accepted.offset}"
    return Recommendation(
        recommendation_id=f"{place}-{placement}" if placement else place,
        user=accepted.event.user,
        time=now,
        event_id=accepted.event.event_id,
        event_type=accepted.event.type,
        offset=accepted.offset,
        placement=placement,
        items=list(map(Recommended, slate.items, slate.scores, slate.reasons)),
        short=slate.short,
        checkpoint=recommender.checkpoint,
        age_ms=age,
        model_age_ms=None if published is None else max(now - published, 0),
    )
