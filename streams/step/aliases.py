"""Aliases: the history of an anonymous visitor moves to the user who logged in.  Pure.

An `alias` is an event of the visitor, in the visitor's partition.  The step empties the visitor's record and
writes a `merge`, an event of the user, which has what the visitor had; whoever has the user's partition puts
it in place.  The `merge` is in Kafka before the emptied record is durable.  After a crash in between, it is
written once more, with the same id, and counts once; and an event that a history has already is not put in
place a second time.
"""

from aiokafka.partitioner import murmur2
from msgspec.structs import replace

from streams.event_messages import Event, PastEvent
from streams.messages import Malformed, encode
from streams.step.clock import REPLAY_HEADER
from streams.step.policy import ServingPolicy
from streams.step.preferences import MOST_HIDDEN, forgotten
from streams.step.users import User
from streams.step.writes import Headers, OutputRecord

Place = tuple[int, int]
"""Partition and offset of a record."""
ROOM = 2048
"""Bytes of a `merge` beside the events that move, at most: three ids."""


MOST_MOVED = 50
"""Hidden items that move, at most."""


def partition_of(user: str, partitions: int) -> int:
    """The partition of a user's events, as Kafka's Java client finds it.

    >>> partition_of("ann", 12)
    2
    """
    hashed: int = murmur2(user.encode()) & 0x7FFFFFFF
    return hashed % partitions


def check_alias(event: Event, partition: int, partitions: int) -> None:
    """Raise `Malformed` if the other user's partition cannot be told: keys are not partitioned by murmur2."""
    if event.type == "alias" and partition_of(event.user, partitions) != partition:
        raise Malformed("wrong-partition", "the key of an alias must be partitioned by murmur2")


def move(
    user: User, event: Event, record: Place, arrived: int | None, policy: ServingPolicy
) -> tuple[User, OutputRecord]:
    """The visitor without a history after an `alias`, and the `merge` that has it.

    `record` is the partition and the offset of the alias.  `arrived`: its arrival, ms, if it is replayed.
    """
    alias, (partition, offset) = event.alias, record
    assert alias is not None  # `decode_event` refuses an alias without one
    moved = tuple(map(PastEvent, user.items, user.types, user.times))
    merge = Event(
        event_id=f"alias-{partition}-{offset}",
        user=alias,
        type="merge",
        time=event.time_ms,
        hidden=user.hidden[-MOST_MOVED:],
    )
    while moved and len(encode(moved)) + len(encode(merge)) + ROOM > policy.max_event_bytes:
        moved = moved[1 + len(moved) // 8 :]  # the oldest stay behind
    headers: Headers = [] if arrived is None else [(REPLAY_HEADER, str(arrived).encode())]
    return forgotten(user), (alias.encode(), encode(replace(merge, moved=moved)), headers)


def merged(user: User, event: Event, time: int, history_length: int) -> User:
    """The user with the events of a `merge` in their places; those that are there already count once.

    `time` is that of the `merge`, made safe, ms: nothing that moves is of a later one.

    >>> event = Event(event_id="1", user="ann", type="merge", time=9, moved=(PastEvent("tent", "view", 5),))
    >>> merged(User(items=("kettle",), types=("view",), times=(7,), session_size=1), event, 9, 50).items
    ('tent', 'kettle')
    """
    if not user.profiling:
        return user
    own = list(zip(user.times, user.items, user.types, strict=True))
    new = [(min(past.time, time), past.item, past.type) for past in event.moved]
    new = [past for past in dict.fromkeys(new) if past not in set(own)]
    session_start = min(user.times[len(own) - user.session_size :], default=user.last)
    joined = sorted(own + new, key=lambda past: past[0])[-history_length:]
    times, items, types = zip(*joined, strict=True) if joined else ((), (), ())
    size = sum(time >= session_start for time in times) if user.session_size else len(items)
    hidden = dict.fromkeys((*event.hidden, *user.hidden))
    return replace(
        user, items=items, types=types, times=times, session_size=size, hidden=tuple(hidden)[-MOST_HIDDEN:]
    )
