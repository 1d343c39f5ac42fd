"""What a micro-batch writes, as data: the writer takes it as it is."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import NamedTuple

from streams.event_messages import Event

Headers = list[tuple[str, bytes | None]]
OutputRecord = tuple[bytes | None, bytes | None, Headers]
"""Key, value, headers."""
Outputs = dict[str, dict[int, list[OutputRecord]]]
"""Records by topic (a key of `streams.topics.topics`) and partition, in the order of their events.

All topics of a user are partitioned alike: an event's outputs go to the partition that it came from.
"""
UserRecords = dict[int, dict[bytes, bytes]]
"""Encoded user records by partition and key."""


@dataclass(slots=True)
class Counts:
    """What happened to the events of a step; counts of several steps add up."""

    accepted: int = 0
    duplicates: int = 0
    late: int = 0
    """Older than the grace period."""
    replayed: int = 0
    """Applied before a crash or a rebalance, and skipped now."""
    recommendations: int = 0
    skipped: int = 0
    """Accepted events that got no recommendation, because the worker was behind."""
    users: int = 0
    """Users seen for the first time."""
    predictions: int = 0
    """Events whose item could have been in the list that the user could see: see `could_see`."""
    recommended_hits: int = 0
    """Predictions whose item was in that list."""
    popular_hits: int = 0
    """Predictions whose item was among the most popular ones."""
    dead_letters: dict[str, int] = field(default_factory=dict)
    """Dead letters by reason."""

    def add(self, other: "Counts") -> None:
        """Add the counts of another step."""
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for reason, count in other.dead_letters.items():
            self.dead_letters[reason] = self.dead_letters.get(reason, 0) + count


_COUNTS = tuple(f.name for f in fields(Counts) if f.name != "dead_letters")


class Writes(NamedTuple):
    """Everything that a micro-batch writes, and what happened in it."""

    users: UserRecords
    outputs: Outputs
    new_users: dict[int, int]
    """Users seen for the first time, by partition."""
    counts: Counts
    ages_ms: list[int]
    """Age of each recommendation, from the event's arrival in Kafka, ms."""
    decoded: Sequence[tuple[int, int, Event]] = ()
    """Partition, offset and content of each record that is an event and was not replayed, in their order."""
    recommendations: Mapping[tuple[int, int], bytes] = MappingProxyType({})
    """Encoded recommendation by partition and offset of its event."""


def empty_outputs() -> Outputs:
    """Outputs to be filled: `outputs[topic][partition].append(record)`."""
    return defaultdict(lambda: defaultdict(list))


def joined(parts: Iterable[Writes]) -> Writes:
    """The writes of successive steps as those of one: of several records of a user the last remains."""
    decoded: list[tuple[int, int, Event]] = []
    recommendations: dict[tuple[int, int], bytes] = {}
    whole = Writes({}, empty_outputs(), {}, Counts(), [], decoded, recommendations)
    for part in parts:
        for partition, changed in part.users.items():
            whole.users.setdefault(partition, {}).update(changed)
        for topic, by_partition in part.outputs.items():
            for partition, records in by_partition.items():
                whole.outputs[topic][partition] += records
        for partition, count in part.new_users.items():
            whole.new_users[partition] = whole.new_users.get(partition, 0) + count
        whole.counts.add(part.counts)
        whole.ages_ms.extend(part.ages_ms)
        decoded += part.decoded
        recommendations |= part.recommendations
    return whole
