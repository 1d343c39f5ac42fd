"""What Freshet wrote to its topics, decoded with plain `json` and `msgpack`."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import msgpack

from tests.chaos.expected import Place
from tests.chaos.records import Record

CHANGELOG = "freshet-serving-users-changelog"
TOPICS = ("recommendations", "examples", "dead-letter", CHANGELOG)


@dataclass
class StoredUser:
    """A user as the changelog has it."""

    offset: int
    events: int
    items: tuple[str, ...]


@dataclass
class Seen:
    """What is in the topics."""

    users: dict[str, StoredUser]
    """The last value of each key of the changelog."""
    examples: Counter[Place]
    newest: dict[str, str]
    """Id of the event that the last recommendation of each key answers."""
    answered: Counter[str]
    """Recommendations by the id of the event that they answer."""
    dead_letters: Counter[tuple[Place, str]]


def seen(read: Callable[[str], list[Record]]) -> Seen:
    """Decode the topics; `read` gives the records of one by its short name."""
    recommendations = [json.loads(record.value) for record in read("recommendations") if record.value]
    return Seen(
        users=stored_users(read(CHANGELOG)),
        examples=Counter(
            (record.partition, json.loads(record.value)["offset"]) for record in read("examples")
        ),
        newest={entry["user"]: entry["event_id"] for entry in recommendations},
        answered=Counter(entry["event_id"] for entry in recommendations),
        dead_letters=Counter(map(_dead_letter, read("dead-letter"))),
    )


def stored_users(changelog: list[Record]) -> dict[str, StoredUser]:
    """The users by id; the first fields of a value are the offset, the number of events and the items."""
    latest = {record.key: record.value for record in changelog}
    users = {}
    for key, value in latest.items():
        if value is not None:
            offset, events, items, *_ = msgpack.unpackb(value)
            users[key.decode()] = StoredUser(offset, events, tuple(items))
    return users


def _dead_letter(record: Record) -> tuple[Place, str]:
    headers = {name: (value or b"").decode(errors="replace") for name, value in record.headers}
    return (int(headers["partition"]), int(headers["offset"])), headers["reason"]
