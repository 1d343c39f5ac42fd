"""What is known of each example of a log whatever the model: who, when, how often before."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.core import Example

Numbers = NDArray[np.int64]
Flags = NDArray[np.bool_]


class Facts(NamedTuple):
    """One value for each of n examples, in the order of the log."""

    times: Numbers
    """int64[n], ms."""
    users: Numbers
    """int64[n]: number of the user, in order of appearance."""
    sessions: Numbers
    """int64[n]: number of the session, in order of appearance."""
    items: Numbers
    """int64[n]: number of the item, in order of appearance."""
    user_events: Numbers
    """int64[n]: the user's examples before this one."""
    again: Flags
    """bool[n]: the user had the item before."""
    repeat: Flags
    """bool[n]: it is the user's latest item once more."""


def facts(examples: Sequence[Example]) -> Facts:
    """One pass over the log."""
    n = len(examples)
    users: dict[str, int] = {}
    items: dict[str, int] = {}
    sessions: dict[tuple[int, int], int] = {}
    times, whose, of_session, which, before = np.zeros((5, n), np.int64)
    again, repeat = np.zeros(n, np.bool_), np.zeros(n, np.bool_)
    user_events: list[int] = []
    had: set[int] = set()  # user and item as one number
    for at, one in enumerate(examples):
        user = users.setdefault(one.user, len(users))
        item = items.setdefault(one.item, len(items))
        session = sessions.setdefault((user, one.session), len(sessions))
        if user == len(user_events):
            user_events.append(0)
        times[at], whose[at], of_session[at], which[at] = one.time, user, session, item
        before[at] = user_events[user]
        both = user << 32 | item
        again[at] = both in had
        repeat[at] = bool(one.history) and one.history[-1] == one.item
        had.add(both)
        user_events[user] += 1
    return Facts(times, whose, of_session, which, before, again, repeat)


def first_windows(items: Numbers, windows: Numbers) -> Numbers:
    """int64[items]: the first window in which each item is."""
    first = np.full(int(items.max()) + 1 if len(items) else 0, np.iinfo(np.int64).max)
    np.minimum.at(first, items, windows)
    return first


def last_in_window(sessions: Numbers, windows: Numbers) -> Flags:
    """bool[n]: whether an example is the last of its session in its window.

    >>> last_in_window(np.array([0, 0, 1, 0]), np.array([0, 0, 0, 1])).tolist()
    [False, True, True, True]
    """
    last: dict[tuple[int, int], int] = {}
    for at, key in enumerate(zip(sessions.tolist(), windows.tolist(), strict=True)):
        last[key] = at
    flags = np.zeros(len(sessions), np.bool_)
    flags[list(last.values())] = True
    return flags


def from_the_end(users: Numbers) -> Numbers:
    """int64[n]: how many of the user's examples come after each.

    >>> from_the_end(np.array([0, 1, 0, 0])).tolist()
    [2, 0, 1, 0]
    """
    after = np.zeros(len(users), np.int64)
    count: dict[int, int] = {}
    for at in range(len(users) - 1, -1, -1):
        user = int(users[at])
        after[at] = count.get(user, 0)
        count[user] = int(after[at]) + 1
    return after
