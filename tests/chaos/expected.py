"""The oracle: what the records of `events` must cause, in users, examples, answers and dead letters.

It follows docs/messages.md for the events that this driver publishes: times near their arrival, the default
weights and bounds.  It shares no code with the product.
"""

import json
from bisect import insort
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.records import Record

HISTORY_LENGTH = 50
DEDUPE_EVENTS = 128
TEACH_NOTHING = {"impression", "request"}
UNANSWERED = {"impression"}
Place = tuple[int, int]
"""Partition and offset of a record of `events`."""


@dataclass
class User:
    """What the events of a user amount to."""

    offset: int = -1
    """Offset of the latest event, a duplicate or not."""
    events: int = 0
    """Number of events, without duplicates."""
    history: list[tuple[int, str]] = field(default_factory=list)
    """Time and item of the latest events that teach, oldest first."""
    ids: deque[str] = field(default_factory=lambda: deque(maxlen=DEDUPE_EVENTS))

    @property
    def items(self) -> tuple[str, ...]:
        """The items of the history, oldest first."""
        return tuple(item for _, item in self.history)


@dataclass
class Expected:
    """Everything that the records of `events` cause."""

    users: dict[str, User] = field(default_factory=dict)
    examples: set[Place] = field(default_factory=set)
    """One for each event that teaches."""
    newest: dict[str, str] = field(default_factory=dict)
    """Id of the event that the last recommendation of each user must answer."""
    dead_letters: Counter[tuple[Place, str]] = field(default_factory=Counter)
    """One for each unusable record, with its reason."""


def expected(events: Iterable[Record]) -> Expected:
    """Compute what these records cause; those of a partition come in the order of their offsets."""
    causes = Expected()
    for record in events:
        event, reason = usable(record)
        place = record.partition, record.offset
        if event is None:
            causes.dead_letters[place, reason] += 1
            continue
        user = causes.users.setdefault(event["user"], User())
        user.offset = record.offset
        if event["event_id"] in user.ids:
            continue
        user.ids.append(event["event_id"])
        user.events += 1
        if event["type"] not in TEACH_NOTHING:
            insort(user.history, (event["time"], event["item"]), key=lambda entry: entry[0])
            del user.history[:-HISTORY_LENGTH]
            causes.examples.add(place)
        if event["type"] not in UNANSWERED:
            causes.newest[event["user"]] = event["event_id"]
    return causes


def usable(record: Record) -> tuple[dict[str, Any] | None, str]:
    """The event of a record and "", or None and the reason of its dead letter."""
    if not record.value:
        return None, "empty"
    try:
        event = json.loads(record.value)
    except ValueError:
        return None, "malformed-json"
    needed = {"event_id", "user", "type", "time"}
    if event.get("type") != "request":
        needed.add("item")
    if needed - event.keys():
        return None, "missing-field"
    if record.key != event["user"].encode():
        return None, "wrong-key"
    return event, ""
