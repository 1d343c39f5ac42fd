"""The user record, and how an event advances it.

A user is one frozen value in one table.  It holds the offset of the last event applied, so that a replay
after a crash skips what was applied: delivery at least once, effect once.
Bounds: `history_length` events, `dedupe_events` ids of 8 bytes, one slate.
"""

from bisect import bisect_right
from collections.abc import Mapping
from enum import Enum
from hashlib import blake2b

import msgspec

from models.core import HISTORY, NO_PROFILE, Profile, Query
from streams.event_messages import Event
from streams.step.policy import SessionLimits

ID_BYTES = 8
"""Size of an event id's hash: two of a user's latest 128 ids collide once in 10^17 users."""


class User(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The record of one user.  New fields come at the end, with a default: old records stay readable."""

    offset: int = -1
    """Offset of the last event applied, in the user's partition of `events`."""
    events: int = 0
    """Events applied, accepted or too late; duplicates do not count."""
    items: tuple[str, ...] = ()
    """Items of the history, oldest first by event time."""
    types: tuple[str, ...] = ()
    times: tuple[int, ...] = ()
    """Event times of the history, made safe, ms; ascending."""
    session: str | None = None
    """Session id that the events carry, if they do."""
    session_start: int = 0
    """Time of the session's first event, ms."""
    sessions: int = 0
    last: int = 0
    """Latest event time, ms."""
    seen: bytes = b""
    """Hashes of the latest event ids, oldest first, `ID_BYTES` each."""
    slate_id: str = ""
    """Id of the latest recommendation."""
    slate: tuple[str, ...] = ()
    """Items of the latest recommendation, best first."""
    session_size: int = 0
    """How many of the newest items belong to the current session."""
    slate_time: int = 0
    """When the latest recommendation was made: the arrival of its event and its age then, ms."""
    asked: int | None = None
    """Event time of the latest event that asks for a list, ms."""
    hidden: tuple[str, ...] = ()
    """Items that the user hid, the latest last."""
    hidden_brands: tuple[str, ...] = ()
    attributes: dict[str, str | float] = {}
    """What the user's profile says: country, language, age band ..."""
    profiling: bool = True
    """Whether anything personal may be kept and used; if not, nothing is, but what the user hid."""

    def session_items(self) -> tuple[str, ...]:
        """The items of the current session, oldest first."""
        return self.items[len(self.items) - self.session_size :]


def query(user: User, time: int, context: Mapping[str, str | float]) -> Query:
    """The user as a recommender sees one; a new session without an item continues the last one."""
    return Query(
        user.items[-HISTORY:], user.session_size or HISTORY, time, in_context(user, context),
        user.types[-HISTORY:], user.times[-HISTORY:], None, profile(user),
    )  # fmt: skip


def in_context(user: User, context: Mapping[str, str | float]) -> Mapping[str, str | float]:
    """The context of an event; what it does not say, the user's profile may."""
    return {**user.attributes, **context} if user.attributes else context


def profile(user: User) -> Profile:
    """What the user said of themself, as a recommender sees it."""
    if user.hidden or user.hidden_brands or user.attributes:
        return Profile(user.attributes, user.hidden, user.hidden_brands)
    return NO_PROFILE


class Verdict(Enum):
    """Whether an event counts."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    """Its id was seen before: it changes nothing."""
    LATE = "late"
    """Older than the grace period allows: it becomes history and nothing else."""


class Advanced(msgspec.Struct, frozen=True, gc=False):
    """The user after an event, the verdict on the event, and the history before it."""

    user: User
    verdict: Verdict
    before: tuple[str, ...]
    """Items before the event, oldest first, at most `HISTORY`; empty unless accepted."""
    before_types: tuple[str, ...]
    """Event types of these items."""
    before_times: tuple[int, ...]
    """Event times of these items, made safe, ms."""
    before_size: int
    """How many of the newest of them are of the event's session."""


def advance(
    user: User,
    event: Event,
    own_time: int,
    time: int,
    offset: int,
    remembered: bool,
    limits: SessionLimits,
    asks: bool = True,
) -> Advanced:
    """Apply an event from `offset`; `own_time` is the time that it carries, `time` that made safe (ms).

    `remembered`: whether the event's item becomes history.  `asks`: whether it asks for a list.  An event
    older than the user's last one is put in its place if it is younger than the grace period; otherwise it
    becomes history and nothing else.
    """
    hashed = _hash(event.event_id)
    if _contains(user.seen, hashed):
        return Advanced(msgspec.structs.replace(user, offset=offset), Verdict.DUPLICATE, (), (), (), 0)
    recent = user.seen[-ID_BYTES * (limits.dedupe_events - 1) :] if limits.dedupe_events > 1 else b""
    late = user.last - own_time > limits.grace_ms and time < user.last

    session, start, sessions, size = user.session, user.session_start, user.sessions, user.session_size
    if not late and time >= user.last and _new_session(user, event, time, limits.session_gap_ms):
        session, start, sessions, size = event.session, time, sessions + 1, 0
    elif not late and start - limits.session_gap_ms <= time < start and session == event.session:
        start = time  # late, but of this session

    items, types, times = user.items, user.types, user.times
    at = len(times) if not times or time >= times[-1] else bisect_right(times, time)
    first = at if late else max(at - HISTORY, 0)
    before, before_types, before_times = items[first:at], types[first:at], times[first:at]
    before_size = 0 if late else min(max(at - (len(items) - size), 0), len(before))
    if remembered and event.item is not None:
        size += not late and time >= start and at >= len(items) - size
        cut = max(len(times) + 1 - limits.history_length, 0)
        items = (*items[:at], event.item, *items[at:])[cut:]
        types = (*types[:at], event.type, *types[at:])[cut:]
        times = (*times[:at], time, *times[at:])[cut:]
    new = User(
        offset, user.events + 1, items, types, times, session, start, sessions,
        max(user.last, time) if not late else user.last,
        recent + hashed, user.slate_id, user.slate, min(size, len(items)), user.slate_time,
        time if asks and not late else user.asked,
        user.hidden, user.hidden_brands, user.attributes, user.profiling,
    )  # fmt: skip
    verdict = Verdict.LATE if late else Verdict.ACCEPTED
    return Advanced(new, verdict, before, before_types, before_times, before_size)


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
