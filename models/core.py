"""The words that every model shares: read this first.

Outside, ids are strings.  Inside, an item is the number of its row, an `int32`; -1 stands for "none".
Time is event time in milliseconds since the epoch (`int64`), made safe by `streams.clock`; no model
reads a clock.
"""

from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int32]
Floats = NDArray[np.float32]

HISTORY = 8
"""Items of a session that vote for the next one; more changed nothing that we could measure."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What the user had been shown when the event came, if it was the event's item."""

    recommendation_id: str
    position: int
    """0 is the top of the list."""


@dataclass(slots=True)  # frozen would cost a microsecond an event
class Example:
    """One record that teaches; it needs no user state to be learnt from."""

    user: str
    offset: int
    """Of the event in its partition of `events`: the learner takes each offset of a partition once."""
    time: int
    """Event time, made safe, in ms since the epoch."""
    type: str
    item: str
    weight: float = 1.0
    value: float | None = None
    """What the event says of its worth: price × quantity, or the rating."""
    session: tuple[str, ...] = ()
    """The items of the session before this one, oldest first, at most `HISTORY`."""
    shown: Shown | None = None
    context: dict[str, str | float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Batch:
    """Examples as arrays: n of them, in the order in which they are learnt."""

    items: Rows
    """int32[n]; -1 where the item has no row (yet)."""
    sessions: Rows
    """int32[n, HISTORY], newest first, -1 where there is none."""
    weights: Floats
    """float32[n]."""
    times: NDArray[np.int64]
    """int64[n], ms."""

    def __len__(self) -> int:
        return len(self.items)


@dataclass(frozen=True, slots=True)
class Candidates:
    """What a generator proposes for n sessions: k items each, best first."""

    rows: Rows
    """int32[n, k]; -1 from where a generator had no more."""
    scores: Floats
    """float32[n, k]; higher is better, 0 where there is no candidate."""
    sources: NDArray[np.int8]
    """int8[n, k]: the column of `sessions` that speaks most for the item; -1: none does."""


class Generator(Protocol):
    """A candidate generator: learns from examples on one side, proposes items on both.

    The learner calls `learn` and `dump`; a replica calls `apply` with what was dumped, and then
    proposes exactly what the learner would (tests/models/test_promises.py holds every generator to it).
    State is rows: row i belongs to item i, and `dtype` says how it travels.  Memory is bounded by
    `capacity` rows, allocated zeroed at once: the kernel gives the pages when a row is first touched,
    so growth is never a copy.
    """

    dtype: np.dtype[np.void]
    """One field is `row`, int32."""

    def learn(self, batch: Batch) -> None:
        """Learn the examples in order.  Rows of -1 teach nothing."""

    def touched(self) -> Rows:
        """The rows changed since the last call, ascending and distinct; calling forgets them."""

    def dump(self, rows: Rows) -> NDArray[np.void]:
        """These rows as they travel, `dtype`[len(rows)]."""

    def apply(self, rows: NDArray[np.void]) -> None:
        """Take over dumped rows; of a row that comes twice the last one counts."""

    def forget(self, rows: Rows) -> None:
        """The items of these rows expired: empty the rows, and drop what others say of them."""

    def propose(self, sessions: Rows, k: int) -> Candidates:
        """Up to k candidates for each session (int32[n, HISTORY], newest first).  Changes nothing."""


class Slate(NamedTuple):
    """A list to show to one user, best first."""

    items: tuple[str, ...]
    scores: tuple[float, ...]
    reasons: tuple[str, ...]
    """Why each is shown, in words."""
