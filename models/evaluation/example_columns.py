"""The examples of a log as columns: time, user, item, and the user's earlier events; no model is involved."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.core import Example

Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]


class ExampleColumns(NamedTuple):
    """One value for each of n examples, in the order of the log; users, sessions and items are numbered."""

    times: Integers
    """int64[n]: event time, ms."""
    users: Integers
    """int64[n]: number of the user, in order of appearance."""
    sessions: Integers
    """int64[n]: number of the session, in order of appearance."""
    items: Integers
    """int64[n]: number of the item, in order of appearance."""
    user_events: Integers
    """int64[n]: the user's examples before this one."""
    known_to_user: Mask
    """bool[n]: the user has an earlier example of the item."""
    repeats_latest: Mask
    """bool[n]: the item is also the user's latest one before."""


def example_columns(examples: Sequence[Example]) -> ExampleColumns:
    """The columns of a log, in one pass.

    >>> log = [Example("ann", n, n, "view", item) for n, item in enumerate(["tent", "stove", "tent"])]
    >>> columns = example_columns(log)
    >>> columns.items.tolist(), columns.user_events.tolist(), columns.known_to_user.tolist()
    ([0, 1, 0], [0, 1, 2], [False, False, True])
    """
    n = len(examples)
    user_numbers: dict[str, int] = {}
    item_numbers: dict[str, int] = {}
    session_numbers: dict[tuple[int, int], int] = {}
    times, users, sessions, items, user_events = np.zeros((5, n), np.int64)
    known_to_user, repeats_latest = np.zeros(n, np.bool_), np.zeros(n, np.bool_)
    event_counts: list[int] = []
    pairs: set[int] = set()  # user and item as one number
    for at, example in enumerate(examples):
        user = user_numbers.setdefault(example.user, len(user_numbers))
        item = item_numbers.setdefault(example.item, len(item_numbers))
        session = session_numbers.setdefault((user, example.session), len(session_numbers))
        if user == len(event_counts):
            event_counts.append(0)
        times[at], users[at], sessions[at], items[at] = example.time, user, session, item
        user_events[at] = event_counts[user]
        pair = user << 32 | item
        known_to_user[at] = pair in pairs
        repeats_latest[at] = bool(example.history) and example.history[-1] == example.item
        pairs.add(pair)
        event_counts[user] += 1
    return ExampleColumns(times, users, sessions, items, user_events, known_to_user, repeats_latest)


def first_windows(items: Integers, windows: Integers) -> Integers:
    """First window in which each item appears, int64[number of items]; items and windows are int64[n].

    >>> first_windows(np.array([0, 1, 0]), np.array([2, 3, 1])).tolist()
    [1, 3]
    """
    first = np.full(int(items.max()) + 1 if len(items) else 0, np.iinfo(np.int64).max)
    np.minimum.at(first, items, windows)
    return first


def last_in_window(sessions: Integers, windows: Integers) -> Mask:
    """Whether an example is the last of its session in its window, bool[n].

    >>> last_in_window(np.array([0, 0, 1, 0]), np.array([0, 0, 0, 1])).tolist()
    [False, True, True, True]
    """
    last: dict[tuple[int, int], int] = {}
    for at, key in enumerate(zip(sessions.tolist(), windows.tolist(), strict=True)):
        last[key] = at
    mask = np.zeros(len(sessions), np.bool_)
    mask[list(last.values())] = True
    return mask


def later_events(users: Integers) -> Integers:
    """How many of the user's examples come after each example, int64[n].

    >>> later_events(np.array([0, 1, 0, 0])).tolist()
    [2, 0, 1, 0]
    """
    later = np.zeros(len(users), np.int64)
    counts: dict[int, int] = {}
    for at in range(len(users) - 1, -1, -1):
        user = int(users[at])
        later[at] = counts.get(user, 0)
        counts[user] = int(later[at]) + 1
    return later
