"""What users say of themselves: a profile, what they hide, and whether anything may be kept.  Pure."""

from msgspec.structs import replace

from streams.event_messages import Event
from streams.step.users import User

MOST_HIDDEN = 200
"""Items and brands, each, that stay hidden; of more, those that were hidden first come back."""


def with_preferences(user: User, event: Event) -> User:
    """The user after a `hide`, `unhide` or `profile`; after any other event as before.

    >>> event = Event(event_id="1", user="ann", type="hide", item="tent", time=0)
    >>> with_preferences(User(), event).hidden
    ('tent',)
    """
    if event.type == "profile":
        return _with_profile(user, event)
    if event.type in ("hide", "unhide"):
        hides = event.type == "hide"
        return replace(
            user,
            hidden=_changed(user.hidden, event.item, hides),
            hidden_brands=_changed(user.hidden_brands, event.brand, hides),
        )
    return user


def forgotten(user: User) -> User:
    """The user without history, session, lists and attributes; what is hidden stays, and what was applied."""
    return User(
        offset=user.offset, events=user.events, sessions=user.sessions, last=user.last, seen=user.seen,
        hidden=user.hidden, hidden_brands=user.hidden_brands, profiling=user.profiling,
    )  # fmt: skip


def _with_profile(user: User, event: Event) -> User:
    if event.profiling is not None:
        user = replace(user, profiling=event.profiling)
    if not user.profiling:
        return forgotten(user)
    attributes = {**user.attributes, **event.attributes}
    return replace(user, attributes={name: value for name, value in attributes.items() if value != ""})


def _changed(hidden: tuple[str, ...], name: str | None, hides: bool) -> tuple[str, ...]:
    if name is None:
        return hidden
    others = tuple(other for other in hidden if other != name)
    return (*others, name)[-MOST_HIDDEN:] if hides else others
