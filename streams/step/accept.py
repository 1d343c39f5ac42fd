"""One event: whether it is usable, how its user advances by it, and what it teaches.

Serving and evaluation share these functions.
"""

from collections.abc import Mapping

from msgspec import Struct

from models.core import Example, Shown
from streams.event_messages import Event, decode_event
from streams.messages import Malformed
from streams.step.aliases import merged
from streams.step.answers import DEFAULT, Answer, answers, check_request
from streams.step.clock import in_seconds, safe_time
from streams.step.dead_letters import MOST_BATCH_BYTES, UNREAD
from streams.step.policy import ServingPolicy
from streams.step.preferences import with_preferences
from streams.step.users import User, Verdict, advance, in_context


class Accepted(Struct, frozen=True, gc=False):
    """An event that counts: neither a duplicate nor too late."""

    event: Event
    offset: int
    """Offset of the event in its partition of `events`."""
    arrived: int
    """Arrival of the event, ms."""
    time: int
    """Event time, made safe, ms."""
    before: tuple[str, ...]
    """The user's items before the event, oldest first, at most `HISTORY`."""
    before_types: tuple[str, ...]
    """Event types of these items."""
    before_times: tuple[int, ...]
    """Event times of these items, made safe, ms."""
    before_size: int
    """How many of the newest of them are of the event's session."""
    asked: int | None
    """Event time at which the user's latest list before the event was asked for, ms; None: there was none."""
    session: int
    """Number of the event's session among the user's."""
    context: Mapping[str, str | float]
    """The event's context, with what the user's profile says beside it."""
    weight: float
    """How much it teaches; 0: nothing."""
    answers: tuple[Answer, ...]
    """The lists that it is answered with, the default one first."""

    @property
    def answered(self) -> bool:
        """Whether it is answered with the default list."""
        return bool(self.answers) and self.answers[0].placement == DEFAULT


def decode(value: bytes | None, policy: ServingPolicy) -> Event:
    """The event of a record's value; `Malformed` with the reason where it cannot be used."""
    if value == UNREAD:
        most = f"{MOST_BATCH_BYTES >> 20} MiB"
        raise Malformed(
            "too-large", f"of a batch of more than {most} uncompressed: none of its records is read"
        )
    event = decode_event(value, policy.max_event_bytes)
    check_request(event, policy.placements, policy.filters)
    if not policy.accepts(event.type):
        raise Malformed("unknown-type", f"{event.type!r} is not in event_weights")
    return event


def require_milliseconds(event: Event, arrived: int) -> None:
    """Raise `Malformed` if an event that arrived at `arrived`, ms, has its time in seconds."""
    if isinstance(event.time, int) and in_seconds(event.time, arrived):
        raise Malformed("time-in-seconds", f"{event.time} is a time in seconds: expected milliseconds")


def accept(
    user: User, event: Event, offset: int, arrived: int, policy: ServingPolicy
) -> tuple[User, Verdict, Accepted | None]:
    """Advance a user by an event that arrived at `arrived`, ms.

    Returns the user after it, the verdict on the event, and the accepted event, None if it does not count.
    """
    time = event.time_ms
    safe = safe_time(time, arrived, policy.max_ahead_ms, policy.sessions.grace_ms)
    weight = policy.weight(event.type) if user.profiling else 0.0
    asks = policy.asks(event)
    remembered = weight > 0 or (user.profiling and policy.remembers(event.type))
    step = advance(user, event, time, safe, offset, remembered, policy.sessions, asks)
    new = step.user
    if step.verdict is not Verdict.DUPLICATE:
        new = with_preferences(new, event)
        if event.type == "merge":
            new = merged(new, event, safe, policy.sessions.history_length)
    if step.verdict is not Verdict.ACCEPTED:
        return new, step.verdict, None
    accepted = Accepted(
        event, offset, arrived, safe, step.before, step.before_types, step.before_times, step.before_size,
        user.asked, new.sessions, in_context(new, event.context), weight,
        answers(new, event, safe, policy.placements, asks),
    )  # fmt: skip
    return new, step.verdict, accepted


def could_see(accepted: Accepted, user: User) -> bool:
    """Whether the latest list of `user` is the one that the event may have come from.

    The event's recommendation_id decides if it has one; else its arrival: a list that was made later, as in
    the same micro-batch after an outage, cannot have been seen.
    """
    if not user.slate:
        return False
    came_from = accepted.event.recommendation_id
    return accepted.arrived > user.slate_time if came_from is None else came_from == user.slate_id


def example(accepted: Accepted, user: User) -> Example | None:
    """The example that the event teaches, joined with the latest list of `user` if they could see it.

    None if the event teaches nothing.
    """
    event = accepted.event
    if accepted.weight <= 0 or event.item is None:
        return None
    shown = None
    if event.item in user.slate and could_see(accepted, user):
        shown = Shown(user.slate_id, user.slate.index(event.item))
    return Example(
        event.user, accepted.offset, accepted.time, event.type, event.item, accepted.weight, event.value,
        accepted.before, accepted.before_size, accepted.session, shown, dict(accepted.context),
        accepted.before_types, accepted.before_times, accepted.asked,
    )  # fmt: skip
