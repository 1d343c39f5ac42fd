"""Whether a store and the users changelog fit together, and what to do when they do not.

A store holds, beside its users, the changelog offset that it includes and a mark: the id of the topic that
the offset is of, and the first offset that its partition had when it last held all users of the store. The
first offset of a compacted partition stays; one that has moved says that records were deleted, with
`delete_records` or because somebody set a retention.

Where the topic has another id, or ends before the store's offset, the offset means nothing. Where the
partition was cut, what is left of it may be older than the store, because another worker wrote it again from
an older one. So in both cases the partition is read from its beginning, and of two records of a user the one
with the later event counts: it was made from the other one.

That is exact, with two exceptions. A user whom another worker served before it had the user's latest record
has lost what only that one knew. And where the store ends before a cut, a user whose latest record is among
the deleted ones, and in no other store, stays as the store has it; that is logged.

Then the users are written to the changelog again, so that it has all of them.
"""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its __init__ imports it without __all__
    AdminClient,
    OffsetSpec,
)

from streams.kafka.client import METADATA_TIMEOUT_S
from streams.kafka.identity import topic_ids
from streams.messages import MAX_ID_BYTES
from streams.settings import Settings
from streams.topics import USERS_CHANGELOG

EARLIEST: OffsetSpec = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
LATEST: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]

OFFSET_KEY = b"changelog offset".ljust(MAX_ID_BYTES + 1, b"\0")
"""The key under which a store keeps the changelog offset that it includes.

It is longer than any user id, and so no user's key; Faust's own, `__faust\\0offset__`, is a valid user id.
"""
MARK_KEY = b"\xffchangelog"
"""The key of a store's mark; no user's, because ids are UTF-8."""
OWN_KEYS = frozenset({OFFSET_KEY, MARK_KEY})
"""Keys of a store that are not users."""


class Changelog(NamedTuple):
    """The changelog as Kafka has it now."""

    topic_id: str
    first: Mapping[int, int]
    """First offset by partition."""
    end: Mapping[int, int]
    """Offset after the last record, by partition."""


class Mark(msgspec.Struct, frozen=True, array_like=True):
    """What a store's offset is of."""

    topic_id: str
    first: int


class Plan(NamedTuple):
    """How a partition's store is brought together with the changelog."""

    mark: Mark
    """The mark of the store once that is done."""
    repair: bool = False
    """Whether the changelog is read from its beginning, and the users are written to it again."""
    reason: str = ""
    """What is wrong with the changelog; empty if nothing is."""
    lost: int = 0
    """Records deleted from the changelog that the store does not include."""


def describe(admin: AdminClient, settings: Settings) -> Changelog | None:
    """The changelog now; None if it does not exist.  Blocks; `KafkaException` if Kafka does not answer."""
    topic_id = topic_ids(admin, settings, USERS_CHANGELOG).get(USERS_CHANGELOG)
    if topic_id is None:
        return None
    name = settings.topic(USERS_CHANGELOG)

    def offsets(spec: OffsetSpec) -> dict[int, int]:
        asked = {TopicPartition(name, partition): spec for partition in range(settings.partitions)}
        found = {}
        for tp, answer in admin.list_offsets(asked, request_timeout=METADATA_TIMEOUT_S).items():
            try:
                found[tp.partition] = answer.result().offset
            except KafkaException as error:  # recreated by a broker that creates topics with one partition
                if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise
        return found

    return Changelog(topic_id, offsets(EARLIEST), offsets(LATEST))


def plan(changelog: Changelog, partition: int, offset: int | None, mark: Mark | None) -> Plan:
    """What to do with the store of a partition, which includes the changelog up to `offset`.

    >>> log = Changelog("new", first={0: 0, 1: 50}, end={0: 10, 1: 90})
    >>> plan(log, 0, None, None)
    Plan(mark=Mark(topic_id='new', first=0), repair=False, reason='', lost=0)
    >>> plan(log, 0, 9, Mark("new", 0)).repair
    False
    >>> plan(log, 0, 9, Mark("old", 0)).reason
    'it was recreated'
    >>> plan(log, 0, 10, Mark("new", 0)).reason
    'it ends at 10, and the store includes offset 10'
    >>> plan(log, 1, 49, Mark("new", 0))[1:]
    (True, 'its records before 50 were deleted', 0)
    >>> plan(log, 1, 40, Mark("new", 0)).lost, plan(log, 1, None, None).lost
    (9, 50)
    """
    first, end = changelog.first.get(partition, 0), changelog.end.get(partition, 0)
    now = Mark(changelog.topic_id, first)
    cut = f"its records before {first} were deleted"
    if offset is None:
        return Plan(now, reason=cut if first else "", lost=first)
    if mark is None or mark.topic_id != changelog.topic_id:
        return Plan(now, True, "it was recreated")
    if offset >= end:
        return Plan(now, True, f"it ends at {end}, and the store includes offset {offset}")
    if first > mark.first:
        return Plan(now, True, cut, lost=max(first - 1 - offset, 0))
    return Plan(now)


def change(before: Mapping[int, Mark], now: Changelog | None) -> str:
    """What happened to the changelog since the stores were marked; empty if nothing did."""
    if now is None:
        return "was deleted"
    if any(mark.topic_id != now.topic_id for mark in before.values()):
        return "was recreated"
    cut = sorted(partition for partition, mark in before.items() if now.first.get(partition, 0) > mark.first)
    return f"was cut in partition {', '.join(map(str, cut))}" if cut else ""
