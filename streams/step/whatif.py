"""What if: a user as they would be, had they done something else.  Pure: stored records do not change.

The history is taken apart into events and put together again without those that are dropped; what is added
comes after it, a second apart, through the same `advance` as real events do.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from msgspec.structs import replace

from streams.event_messages import Event
from streams.step.policy import SessionLimits
from streams.step.users import User, advance

STEP_MS = 1000
"""Time between the last event and the first one added, and between added ones, ms."""
MOST = 50
"""Events that can be added."""


class Counterfactual(NamedTuple):
    """Changes to a user's history; `any(changes)`: whether there are any."""

    dropped: frozenset[int] = frozenset()
    """Events that did not happen: 1 is the newest."""
    retyped: Mapping[int, str] = {}
    """Events of another type: the type by the event's number, as above."""
    added: tuple[tuple[str, str], ...] = ()
    """(type, item), in order."""
    context: Mapping[str, str | float] = {}
    """Context of the request: device, page ..."""


def effective(changes: Counterfactual, user: User) -> Counterfactual:
    """The changes that have an effect: without events that the user lacks, and without the types they had."""
    types = dict(enumerate(reversed(user.types), 1))
    return changes._replace(
        dropped=changes.dropped & types.keys(),
        retyped={n: type for n, type in changes.retyped.items() if types.get(n, type) != type},
    )


def changed(
    user: User, changes: Counterfactual, remembers: Callable[[str], bool], rules: SessionLimits
) -> User:
    """The user with the changes; `remembers` says whether events of a type become history.

    >>> user = User(items=("a", "b"), types=("view", "view"), times=(1, 2), last=2, sessions=1,
    ...     session_size=2)
    >>> what_if = Counterfactual(frozenset({2}), added=(("click", "c"),))
    >>> other = changed(user, what_if, lambda type: True, SessionLimits())
    >>> other.items, other.types, other.session_items()
    (('b', 'c'), ('view', 'click'), ('b', 'c'))
    """
    kept, size = [], 0
    newest = len(user.items)
    for n, (item, type, time) in enumerate(zip(user.items, user.types, user.times, strict=True)):
        number = newest - n
        type = changes.retyped.get(number, type)
        if number not in changes.dropped and remembers(type):
            kept.append((item, type, time))
            size += number <= user.session_size
    items, types, times = (tuple(column) for column in zip(*kept, strict=True)) if kept else ((), (), ())
    other = replace(user, items=items, types=types, times=times, session_size=size)
    for n, (type, item) in enumerate(changes.added[:MOST], 1):
        time = user.last + n * STEP_MS
        event = Event(
            event_id=f"what-if-{n}", user="?", type=type, item=item, time=time, session=user.session
        )
        other = advance(other, event, time, time, user.offset + n, remembers(type), rules).user
    return other
