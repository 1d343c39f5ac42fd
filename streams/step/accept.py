"""What becomes of one event: its user goes on, and it teaches.  Pure; serving and evaluating share it."""

from typing import TYPE_CHECKING

from msgspec import Struct

from models.core import Example, Query, Shown
from streams.messages import Event
from streams.step.clock import safe_time
from streams.step.users import User, Verdict, advance, asked

if TYPE_CHECKING:
    from streams.step.serve import ServingPolicy


class Accepted(Struct, frozen=True, gc=False):
    """An event that counts."""

    event: Event
    offset: int
    """In its partition of `events`."""
    time: int
    """Made safe, ms."""
    before: tuple[str, ...]
    """The user's items before it, oldest first, at most `HISTORY`."""
    before_size: int
    """How many of the newest of them are of its session."""
    session: int
    """Number of its session among the user's."""
    after: Query
    """The user with it, as a recommender looks at one."""
    weight: float
    answered: bool
    """Whether it causes a recommendation."""


def accept(
    user: User, event: Event, offset: int, arrived: int, policy: "ServingPolicy"
) -> tuple[User, Verdict, Accepted | None]:
    """The user after an event that arrived at `arrived`, ms; what became of it; the event if it counts."""
    time = event.time_ms
    safe = safe_time(time, arrived, policy.max_ahead_ms, policy.sessions.grace_ms)
    weight = policy.weight(event.type)
    step = advance(user, event, time, safe, offset, weight > 0, policy.sessions)
    if step.verdict is not Verdict.ACCEPTED:
        return step.user, step.verdict, None
    new = step.user
    accepted = Accepted(
        event, offset, safe, step.before, step.before_size, new.sessions, asked(new, safe, event.context),
        weight, event.type not in policy.unanswered_types,
    )  # fmt: skip
    return new, step.verdict, accepted


def example(one: Accepted, user: User) -> Example | None:
    """What the event teaches, with what `user` had been shown; None if it teaches nothing."""
    event = one.event
    if one.weight <= 0 or event.item is None:
        return None
    shown = None
    if event.item in user.slate:
        shown = Shown(user.slate_id, user.slate.index(event.item))
    return Example(
        event.user, one.offset, one.time, event.type, event.item, one.weight, event.value,
        one.before, one.before_size, one.session, shown, event.context,
    )  # fmt: skip
