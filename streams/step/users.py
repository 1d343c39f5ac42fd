"""The user record, and how an event advances it.

Everything that is kept of one user is one frozen value in one table.  It holds the offset of the last
event applied, so that a replay after a crash skips what was applied: delivery at least once, effect once.
Bounds: `history_length` events, `dedupe_events` ids of 8 bytes, one slate.
"""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from hashlib import blake2b

import msgspec

from models.core import HISTORY, Query
from streams.messages import Event

ID_BYTES = 8
"""Of an event id's hash: two ids of one user's latest 128 collide once in 10^17."""


class User(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One user.  Fields are only ever added at the end, with a default: old records stay readable."""

    offset: int = -1
    """Of the last event applied, in the user's partition of `events`."""
    events: int = 0
    """Events applied: accepted ones and too late ones, no duplicates."""
    items: tuple[str, ...] = ()
    """The history, oldest first by event time."""
    types: tuple[str, ...] = ()
    times: tuple[int, ...] = ()
    """Made safe, ms; ascending."""
    session: str | None = None
    """The events' own session id, if they say."""
    session_start: int = 0
    """Time of the session's first event, ms."""
    sessions: int = 0
    last: int = 0
    """Latest event time, ms."""
    seen: bytes = b""
    """Hashes of the latest event ids, oldest first, `ID_BYTES` each."""
    slate_id: str = ""
    """The latest recommendation's id."""
    slate: tuple[str, ...] = ()
    """Its items, best first."""
    session_size: int = 0
    """How many of the newest items belong to the current session."""

    def session_items(self) -> tuple[str, ...]:
        """The items of the current session, oldest first."""
        return self.items[len(self.items) - self.session_size :]


def asked(user: User, time: int, context: Mapping[str, str | float]) -> Query:
    """The user as a recommender looks at one; a new session without an item goes on from the last."""
    return Query(user.items[-HISTORY:], user.session_size or HISTORY, time, context)


class Verdict(Enum):
    """What became of an event."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    """Its id was seen: counts for nothing."""
    LATE = "late"
    """Older than the grace period allows: it is history, and nothing else."""


class Advanced(msgspec.Struct, frozen=True, gc=False):
    """The user after the event, what became of it, and what the user had done before it."""

    user: User
    verdict: Verdict
    before: tuple[str, ...]
    """Items before the event, oldest first, at most `HISTORY`; empty unless accepted."""
    before_size: int
    """How many of the newest of them are of the event's session."""


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """The settings that `advance` decides by."""

    session_gap_ms: int = 1_800_000
    grace_ms: int = 3_600_000
    history_length: int = 50
    dedupe_events: int = 128


def advance(
    user: User, event: Event, own_time: int, time: int, offset: int, remembered: bool, rules: SessionLimits
) -> Advanced:
    """Apply an event from `offset`; `own_time` is what it says, `time` that made safe (ms).

    `remembered`: whether the event's item becomes history.  An event older than the user's last is put
    in its place if it is younger than the grace period; an older one is history and nothing else.
    """
    seen = _hash(event.event_id)
    if _contains(user.seen, seen):
        return Advanced(msgspec.structs.replace(user, offset=offset), Verdict.DUPLICATE, (), 0)
    recent = user.seen[-ID_BYTES * (rules.dedupe_events - 1) :] if rules.dedupe_events > 1 else b""
    late = user.last - own_time > rules.grace_ms and time < user.last

    session, start, sessions, size = user.session, user.session_start, user.sessions, user.session_size
    if not late and time >= user.last and _new_session(user, event, time, rules.session_gap_ms):
        session, start, sessions, size = event.session, time, sessions + 1, 0
    elif not late and start - rules.session_gap_ms <= time < start and session == event.session:
        start = time  # late, but of this session

    items, types, times = user.items, user.types, user.times
    at = len(times) if not times or time >= times[-1] else bisect_right(times, time)
    before = () if late else items[max(at - HISTORY, 0) : at]
    before_size = 0 if late else min(max(at - (len(items) - size), 0), len(before))
    if remembered and event.item is not None:
        size += not late and time >= start and at >= len(items) - size
        cut = max(len(times) + 1 - rules.history_length, 0)
        items = (*items[:at], event.item, *items[at:])[cut:]
        types = (*types[:at], event.type, *types[at:])[cut:]
        times = (*times[:at], time, *times[at:])[cut:]
    new = User(
        offset, user.events + 1, items, types, times, session, start, sessions,
        max(user.last, time) if not late else user.last,
        recent + seen, user.slate_id, user.slate, min(size, len(items)),
    )  # fmt: skip
    return Advanced(new, Verdict.LATE if late else Verdict.ACCEPTED, before, before_size)


def _new_session(user: User, event: Event, time: int, gap_ms: int) -> bool:
    if user.sessions == 0:
        return True
    if event.session is not None:
        return event.session != user.session
    return time - user.last > gap_ms


def _hash(event_id: str) -> bytes:
    return blake2b(event_id.encode(), digest_size=ID_BYTES).digest()


def _contains(seen: bytes, hashed: bytes) -> bool:
    at = seen.find(hashed)
    while at >= 0 and at % ID_BYTES:
        at = seen.find(hashed, at + 1)
    return at >= 0


encode_user = msgspec.msgpack.Encoder().encode
decode_user = msgspec.msgpack.Decoder(User).decode
