"""Synthetic clicks that a model can learn from: users whose sessions walk a Markov chain over items.

Each item has `SUCCESSORS` of its own kind that follow it, the first most often.  A session begins at an item
drawn by a popularity that falls with a power of the rank, and at times jumps to another such item.  The chain
depends on the seed alone, the walk also on `walk`: a model can be filled by one walk and measured on another.

The constants are such that, over 300,000 clicks, an item gets about as many neighbours as on the log of a
real shop with as many items (diginetica: 22 a row, 56 in the row of a clicked item; here 26 and 51).  Of a
chain that mixes faster, rows grow without end, and a loop that keeps all of them looks slower than it is.
"""

import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from streams.event_messages import Event

ITEMS = 40_000
SUCCESSORS = 8
KIND = 40
"""Number of items of a kind."""
JUMP = 0.1
SESSION_CLICKS = 8
EVENTS_A_USER = 15
"""Number of events of a user in a backlog; a user's record grows with its history."""


class Click(NamedTuple):
    """A user's click on an item, in a session of that user."""

    user: int
    item: int
    session: int


def clicks(n: int, users: int, seed: int, walk: int = 0, items: int = ITEMS) -> Iterator[Click]:
    """Generate n clicks of `users` users, each equally often and in random order.

    >>> list(clicks(3, 2, seed=1)) == list(clicks(3, 2, seed=1))
    True
    """
    chain = np.random.default_rng(seed)
    kind = np.arange(items)[:, None] // KIND * KIND
    successors = ((kind + chain.integers(0, KIND, (items, SUCCESSORS))) % items).tolist()
    popularity = chain.permutation((1.0 + np.arange(items)) ** -0.7)
    popularity /= popularity.sum()
    rng = np.random.default_rng([seed, walk])
    current, session = [-1] * users, [0] * users
    for at in range(0, n, 100_000):
        size = min(100_000, n - at)
        draws = zip(
            rng.integers(0, users, size).tolist(),
            rng.choice(items, size, p=popularity).tolist(),
            (rng.random(size) < JUMP).tolist(),
            (rng.random(size) < 1 / SESSION_CLICKS).tolist(),
            (rng.random(size) ** 2 * SUCCESSORS).astype(int).tolist(),
            strict=True,
        )
        for user, popular, jumps, begins, successor in draws:
            if begins:
                session[user] += 1
            item = current[user]
            current[user] = popular if begins or jumps or item < 0 else successors[item][successor]
            yield Click(user, current[user], session[user])


def event(number: int, click: Click) -> Event:
    """The click as an event that happens now."""
    return Event(
        event_id=f"bench-{number}",
        user=f"u{click.user}",
        type="click",
        item=f"i{click.item}",
        session=f"{click.user}.{click.session}",
        time=int(time.time() * 1000),
    )


def number(event_id: str) -> int:
    """The number of the event with this id; -1 if it is not an id of `event`."""
    return int(event_id[6:]) if event_id.startswith("bench-") else -1
