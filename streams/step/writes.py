"""What a micro-batch writes, as data: the writer takes it as it is."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from streams.messages import Event, Recommendation

Headers = list[tuple[str, bytes]]
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
    """Accepted events that got no recommendation, because the worker was behind and a later one did."""
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
    recommendations: Mapping[tuple[int, int], Recommendation] = MappingProxyType({})
    """Recommendation by partition and offset of its event."""


def empty_outputs() -> Outputs:
    """Outputs to be filled: `outputs[topic][partition].append(record)`."""
    return defaultdict(lambda: defaultdict(list))
