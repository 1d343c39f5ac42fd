"""The data types that all models share: read this first.

Outside the models, ids are strings.  Inside, an item is the number of its row, an `int32`; -1 stands for
"none".  Times are event times in milliseconds since the epoch (`int64`), bounded by `streams.step.clock`; no
model reads a clock.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int32]
Floats = NDArray[np.float32]
Kinds = NDArray[np.int8]
Codes = NDArray[np.uint32]

HISTORY = 32
"""Latest items of a user that travel with an example, and that a recommendation is made from."""
SESSION = 8
"""Latest items of a session that vote for the next one; more changed nothing that we could measure."""
CONTEXTS = 1024
"""Slots that the values of a context are hashed to."""

KINDS = {
    "click": 1, "view": 1, "long_view": 2, "like": 2, "rating": 2, "favorite": 2, "wishlist": 2,
    "cart": 3, "add_to_cart": 3, "purchase": 4, "return": 5, "refund": 5,
}  # fmt: skip
"""Kind of an event by its type, which is what models tell apart: looked at, liked, put in the cart, bought,
sent back; 0: any other type."""
LIKED, CARTED, BOUGHT, RETURNED = 2, 3, 4, 5


def code(name: str) -> int:
    """The code of a name, from 1 to 2³² - 1; 0 is the code of the empty name.

    Two of 160 candidates' groups have the same code once in 340,000 lists.

    >>> code("Outdoor/Tents") == code("Outdoor/Tents"), code("")
    (True, 0)
    """
    return crc32(name.encode()) or 1 if name else 0


def attribute_code(name: str, value: str | float) -> int:
    """The code of an attribute's value: 3 and 3.0 are one, "3" is another."""
    return code(f"{name}={float(value)}" if isinstance(value, int | float) else f"{name}:{value}")


@dataclass(frozen=True, slots=True)
class Shown:
    """The recommendation that the user had before the event, if the event's item was in it."""

    recommendation_id: str
    position: int
    """Position of the item in the list; 0 is the top."""


@dataclass(slots=True)  # frozen would cost a microsecond an event
class Example:
    """A record that teaches; no user state is needed to learn from it."""

    user: str
    offset: int
    """Offset of the event in its partition of `events`: the learner takes each offset of a partition once."""
    time: int
    """Event time, ms since the epoch."""
    type: str
    item: str
    weight: float = 1.0
    value: float | None = None
    """Value of the event: price × quantity, or the rating."""
    history: tuple[str, ...] = ()
    """The user's items before this one, oldest first, at most `HISTORY`."""
    session_size: int = 0
    """Number of the newest of them that belong to the same session."""
    session: int = 0
    """Number of the session among the user's."""
    shown: Shown | None = None
    context: dict[str, str | float] = field(default_factory=dict)
    types: tuple[str, ...] = ()
    """Event types of the history, item by item; empty if they are not known."""
    times: tuple[int, ...] = ()
    """Event times of the history, item by item, ms since the epoch; empty if they are not known."""
    asked: int | None = None
    """Event time at which the user's latest list before the event was asked for, ms; None: there was none."""


class Profile(NamedTuple):
    """What users said of themselves, and what they do not want to see."""

    attributes: Mapping[str, str | float] = MappingProxyType({})
    """Country, language, age band ...: value by name."""
    hidden: tuple[str, ...] = ()
    """Items that the user hid."""
    hidden_brands: tuple[str, ...] = ()
    """Brands that the user hid."""


NO_PROFILE = Profile()


class Query(NamedTuple):
    """A user who needs a recommendation."""

    history: tuple[str, ...]
    """The user's items, oldest first, at most `HISTORY`."""
    session_size: int
    """Number of the newest of them that belong to the current session."""
    time: int
    """Event time, ms since the epoch."""
    context: Mapping[str, str | float] = MappingProxyType({})
    types: tuple[str, ...] = ()
    """Event types of the history, item by item; empty if they are not known."""
    times: tuple[int, ...] = ()
    """Event times of the history, item by item, ms since the epoch; empty if they are not known."""
    asked: int | None = None
    """Event time at which the list is asked for, ms; None: `time`."""
    profile: Profile = NO_PROFILE
    placement: str = ""
    """The list that is asked for; empty: the default one."""
    k: int | None = None
    """Items that are asked for; None: as many as the placement has."""
    excluded: tuple[str, ...] = ()
    """Items that may not be listed."""
    where: str = ""
    """What the catalog must say of the items, a condition of `models.catalog_filter` as JSON; empty: any."""


class QueryBatch(NamedTuple):
    """n queries as arrays."""

    history: Rows
    """int32[n, HISTORY], newest first, padded with -1; unknown items are left out."""
    sizes: Rows
    """int32[n]: number of the newest items that belong to the current session."""
    session: Rows
    """int32[n, SESSION]: the newest items of the current session, as in `history`."""
    times: NDArray[np.int64]
    """int64[n], ms."""
    contexts: Rows
    """int32[n]: slot of the context's value, below `CONTEXTS`; -1: the query has none."""
    kinds: Kinds
    """int8[n, HISTORY]: kind (`KINDS`) of the events of `history`; 0 also where it is not known."""
    ages: Floats
    """float32[n, HISTORY]: age of the events of `history` when the list is asked for, s; 0 also where it is
    not known."""
    hidden: Rows
    """int32[n, any]: items that the user hid, padded with -1."""
    hidden_brands: Codes
    """uint32[n, any]: codes of the brands that the user hid, padded with 0."""
    attributes: Codes
    """uint32[n, any]: codes of the user's attributes (`attribute_code`), padded with 0."""

    def take(self, which: NDArray[np.intp] | slice) -> "QueryBatch":
        """The queries at these positions, in this order."""
        return QueryBatch(
            self.history[which],
            self.sizes[which],
            self.session[which],
            self.times[which],
            self.contexts[which],
            self.kinds[which],
            self.ages[which],
            self.hidden[which],
            self.hidden_brands[which],
            self.attributes[which],
        )

    def with_session_continued(self) -> "QueryBatch":
        """The same queries, except that a new session, of no item yet, continues the user's last one.

        So the queries of examples become those that were served before the event started a new session.
        """
        lengths = (self.history >= 0).sum(1).astype(np.int32)
        new = self.sizes == 0
        session = np.where(new[:, None], self.history[:, :SESSION], self.session)
        return self._replace(sizes=np.where(new, lengths, self.sizes), session=session)


@dataclass(frozen=True, slots=True)
class Batch:
    """n examples as arrays, in the order in which they are learnt."""

    items: Rows
    """int32[n]; -1 where the item has no row (yet)."""
    queries: QueryBatch
    """The users' state before each example; `times` are those of the examples."""
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
    """int32[n, k], padded with -1 where a generator has fewer candidates."""
    scores: Floats
    """float32[n, k]; higher is better, 0 where there is no candidate."""
    sources: NDArray[np.int8]
    """int8[n, k]: the column of `QueryBatch.history` that contributes most to the score; -1: none does."""

    @classmethod
    def empty(cls, n: int, k: int) -> "Candidates":
        """Arrays without a candidate, of k columns for each of n queries, for a kernel to fill."""
        rows, sources = np.empty((n, k), np.int32), np.empty((n, k), np.int8)
        rows.fill(-1)  # for one query `np.full` takes several times as long
        sources.fill(-1)
        return cls(rows, np.zeros((n, k), np.float32), sources)


class Features(NamedTuple):
    """The candidates of n queries as a ranker sees them."""

    rows: Rows
    """int32[n, m]; -1 from `counts` on."""
    counts: Rows
    """int32[n]: number of candidates."""
    candidates: Floats
    """float32[n, F, m]; undefined from `counts` on.  F is a multiple of 4, the last features are 0."""
    queries: Floats
    """float32[n, Q]."""
    history: Rows
    """int32[n, HISTORY], newest first, padded with -1."""

    def take(self, which: NDArray[np.intp]) -> "Features":
        """The features of the queries at these positions, in this order."""
        return Features(
            self.rows[which],
            self.counts[which],
            self.candidates[which],
            self.queries[which],
            self.history[which],
        )


class Slate(NamedTuple):
    """A list to show to one user, best first."""

    items: tuple[str, ...]
    scores: tuple[float, ...]
    reasons: tuple[str, ...]
    """Why each item is listed, in words."""
    short: bool = False
    """Whether it has fewer items than were asked for."""
