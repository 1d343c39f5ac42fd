"""The words that every model shares: read this first.

Outside, ids are strings.  Inside, an item is the number of its row, an `int32`; -1 stands for "none".
Time is event time in milliseconds since the epoch (`int64`), made safe by `streams.step.clock`; no model
reads a clock.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int32]
Floats = NDArray[np.float32]

HISTORY = 32
"""Latest items of a user that travel with an example, and that a recommendation looks at."""
SESSION = 8
"""Items of a session that vote for the next one; more changed nothing that we could measure."""


CONTEXTS = 1024
"""Slots that the values of a context are hashed to."""


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
    history: tuple[str, ...] = ()
    """The user's items before this one, oldest first, at most `HISTORY`."""
    session_size: int = 0
    """How many of the newest of them are of the same session."""
    session: int = 0
    """Number of the session among the user's."""
    shown: Shown | None = None
    context: dict[str, str | float] = field(default_factory=dict)


class Query(NamedTuple):
    """A user who is to be shown something."""

    history: tuple[str, ...]
    """The user's items, oldest first, at most `HISTORY`."""
    session_size: int
    """How many of the newest of them are of the current session, or as good as."""
    time: int
    """Event time, made safe, in ms since the epoch."""
    context: Mapping[str, str | float] = MappingProxyType({})


class QueryBatch(NamedTuple):
    """Users who are to be shown something, as arrays: n of them."""

    history: Rows
    """int32[n, HISTORY], newest first, -1 from where there is none; unknown items are left out."""
    sizes: Rows
    """int32[n]: how many of the newest are of the current session."""
    session: Rows
    """int32[n, SESSION]: the newest of the current session, as in `history`."""
    times: NDArray[np.int64]
    """int64[n], ms."""
    contexts: Rows
    """int32[n]: the slot of the context's value, below `CONTEXTS`; -1: the event has none."""

    def take(self, which: NDArray[np.intp] | slice) -> "QueryBatch":
        """Some of them, in this order."""
        return QueryBatch(
            self.history[which],
            self.sizes[which],
            self.session[which],
            self.times[which],
            self.contexts[which],
        )

    def before(self) -> "QueryBatch":
        """As asked before it was known that a new session began: it goes on from the last."""
        lengths = (self.history >= 0).sum(1).astype(np.int32)
        new = self.sizes == 0
        session = np.where(new[:, None], self.history[:, :SESSION], self.session)
        return self._replace(sizes=np.where(new, lengths, self.sizes), session=session)

    @classmethod
    def of(
        cls, history: Rows, sizes: Rows | None = None, times: NDArray[np.int64] | None = None
    ) -> "QueryBatch":
        """From the items alone: int32[n, at most HISTORY], newest first; without `sizes` all one session."""
        n, width = history.shape
        padded = np.full((n, HISTORY), -1, np.int32)
        padded[:, :width] = history
        if sizes is None:
            sizes = (padded >= 0).sum(1).astype(np.int32)
        session = np.where(np.arange(SESSION) < sizes[:, None], padded[:, :SESSION], -1).astype(np.int32)
        times = np.zeros(n, np.int64) if times is None else times
        return cls(padded, sizes, session, times, np.full(n, -1, np.int32))


@dataclass(frozen=True, slots=True)
class Batch:
    """Examples as arrays: n of them, in the order in which they are learnt."""

    items: Rows
    """int32[n]; -1 where the item has no row (yet)."""
    queries: QueryBatch
    """What was known before each; `times` are those of the examples."""
    weights: Floats
    """float32[n]."""
    users: NDArray[np.uint64]
    """uint64[n]: a hash of the user."""
    sessions: NDArray[np.uint64]
    """uint64[n]: a hash of the user and the session's number."""

    def __len__(self) -> int:
        return len(self.items)


@dataclass(frozen=True, slots=True)
class Candidates:
    """What a generator proposes for n queries: k items each, best first."""

    rows: Rows
    """int32[n, k]; -1 from where a generator had no more."""
    scores: Floats
    """float32[n, k]; higher is better, 0 where there is no candidate."""
    sources: NDArray[np.int8]
    """int8[n, k]: the column of `QueryBatch.history` that speaks most for the item; -1: none does."""


class Features(NamedTuple):
    """The candidates of n queries as a ranker sees them."""

    rows: Rows
    """int32[n, m]; -1 from `counts` on."""
    counts: Rows
    """int32[n]."""
    candidates: Floats
    """float32[n, F, m]; undefined from `counts` on.  F is a multiple of 4, the last ones are 0."""
    queries: Floats
    """float32[n, Q]."""
    history: Rows
    """int32[n, HISTORY], newest first, -1 pads."""

    def take(self, which: NDArray[np.intp]) -> "Features":
        """Of some of the queries, in this order."""
        return Features(
            self.rows[which],
            self.counts[which],
            self.candidates[which],
            self.queries[which],
            self.history[which],
        )


class Component(Protocol):
    """A part of the model whose state travels: from the learner's `dump` to a replica's `apply`.

    A replica then answers exactly as the learner would (tests/models/test_promises.py holds all to it).
    State is rows: as a rule row i belongs to item i, but a table may have rows of its own (recent
    sessions); `dtype` says how one travels.  Memory is bounded by `capacity` items, allocated zeroed at
    once: the kernel gives the pages when a row is first touched, so growth is never a copy.
    """

    rows: int
    """Of the table that travels; 0: nothing is kept."""
    dtype: np.dtype[np.void]
    """One field is `row`, int32."""

    def touched(self) -> Rows:
        """The rows changed since the last call, ascending and distinct; calling forgets them."""

    def dump(self, rows: Rows) -> NDArray[np.void]:
        """These rows as they travel, `dtype`[len(rows)]."""

    def apply(self, rows: NDArray[np.void]) -> None:
        """Take over dumped rows; of a row that comes twice the last one counts."""

    def evict(self, rows: Rows) -> None:
        """These items expired: empty their rows, and drop what others say of them."""


class Generator(Component, Protocol):
    """A candidate generator: learns from examples on one side, proposes items on both."""

    def learn(self, batch: Batch) -> None:
        """Learn the examples in order.  Rows of -1 teach nothing."""

    def propose(self, queries: QueryBatch, k: int) -> Candidates:
        """Up to k candidates for each query.  LiveSettings nothing; several threads may ask at once."""


class Ranker(Component, Protocol):
    """Scores the candidates of a query against each other; its rows are its own parameters."""

    def learn(self, seen: Features, targets: Rows, weights: Floats) -> None:
        """Learn that the candidates in columns `targets`, int32[n], came next; -1: none of them did."""

    def score(self, seen: Features) -> Floats:
        """float32[n, m], higher is better; a candidate that scores 0 is none.  LiveSettings nothing;
        several threads may ask at once.
        """


@runtime_checkable
class Decaying(Protocol):
    """A generator in which an event counts half after `half_life_ms`, which may change while it learns."""

    half_life_ms: float


@runtime_checkable
class Embedded(Protocol):
    """A generator that has vectors of items, which a ranker may look at."""

    @property
    def vectors(self) -> Floats:
        """float32[items, dim]; 0 for an item that has none.  To be read only, and anew after each change."""


class Slate(NamedTuple):
    """A list to show to one user, best first."""

    items: tuple[str, ...]
    scores: tuple[float, ...]
    reasons: tuple[str, ...]
    """Why each is shown, in words."""
