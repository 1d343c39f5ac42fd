"""Protocols of the model's parts: generators, rankers, and the capabilities that some of them have."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from models.core import Batch, Candidates, Features, Floats, QueryBatch, Rows
from models.state import Table


class Component(Protocol):
    """A part of the model whose state travels from the learner to its replicas.

    A replica then answers exactly as the learner would (tests/models/test_promises.py holds all to it).
    Memory is bounded by the `capacity` that the constructor takes, the largest number of items.
    """

    @property
    def state(self) -> Table:
        """What travels; `models.state.NOTHING` if nothing is kept."""

    def evict(self, rows: Rows) -> None:
        """Remove these items, which expired: their rows, and what other rows say of them."""


class Generator(Component, Protocol):
    """A candidate generator: the learner calls `learn`, learner and replicas call `propose`."""

    def learn(self, batch: Batch) -> None:
        """Learn the examples in order.  Items without a row (-1) teach nothing."""

    def propose(self, queries: QueryBatch, k: int) -> Candidates:
        """Up to k candidates for each query.  Changes no state; several threads may call it at once."""


class Ranker(Component, Protocol):
    """Scores the candidates of a query against each other."""

    def learn(self, features: Features, targets: Rows, weights: Floats) -> None:
        """Learn which candidate came next.

        `targets`, int32[n], are columns of the candidates, -1 where none of them came next; `weights` are
        float32[n].
        """

    def score(self, features: Features) -> Floats:
        """float32[n, m], higher is better; a candidate that scores 0 is left out of the list.

        Changes no state; several threads may call it at once.
        """


@runtime_checkable
class Decaying(Protocol):
    """A generator in which an event counts half after `half_life_ms`, which may change while it learns."""

    half_life_ms: float


@runtime_checkable
class Counting(Protocol):
    """A generator that counts the events of each item, and so knows what is popular."""

    @property
    def events(self) -> NDArray[np.int32]:
        """Events learnt of each item, int32[capacity]; read-only."""

    def values(self, rows: Rows) -> NDArray[np.float64]:
        """The decayed counts of these rows, float64[n]."""

    def top(self, k: int) -> tuple[Rows, Floats]:
        """The k most popular rows and their decayed counts, best first."""


@runtime_checkable
class Popular(Counting, Generator, Protocol):
    """The generator `popularity`."""


class Contextual(Generator, Protocol):
    """A generator that proposes what is popular in the context of each query."""

    def freshness(self, queries: QueryBatch) -> Floats:
        """The factor by which the counts of each query's context have decayed until now, float32[n]."""


@runtime_checkable
class Embedded(Protocol):
    """A generator that has a vector for each item, which rankers and the item map read."""

    @property
    def vectors(self) -> Floats:
        """float32[capacity, dim], read-only; 0 for an item that has none."""

    @property
    def events(self) -> NDArray[np.int32]:
        """Examples learnt of each item, int32[capacity]; read-only."""


@runtime_checkable
class Beginning(Protocol):
    """A generator with item vectors that can begin with those of other items."""

    def begin_like(self, rows: Rows, near: Rows, parts: Floats) -> None:
        """Give items without examples, of these rows int32[n], the sum of their `near`, int32[n, m] padded
        with -1, each times its part, float32[n, m].
        """


@runtime_checkable
class Lender(Protocol):
    """A generator that counts the neighbours of each item, which others may borrow."""

    @property
    def neighbour_counts(self) -> tuple[Rows, Floats, Rows, Floats]:
        """Neighbours and their weights by row, [capacity, any], how many they are and the sum of all weights,
        [capacity]; read-only.
        """


@runtime_checkable
class Borrower(Protocol):
    """A generator that derives what it proposes from the catalog and from the neighbours of others."""

    def borrow_from(self, lenders: Sequence[Lender], beginning: Sequence[Beginning] = ()) -> None:
        """Read these from now on, up to two, whose arrays stay where they are, and tell `beginning` of it."""

    def lenders_of(self, row: int) -> list[tuple[int, float]]:
        """Rows of the items that an item borrows from and how much they are alike, best first."""

    def refresh(self, until: float = np.inf) -> None:
        """Bring up to date what is derived from the catalog, until `time.perf_counter` is `until`, s.

        The rest is done by later calls.
        """


@runtime_checkable
class Scorer(Protocol):
    """A generator that scores any item, and so scores the candidates of others instead of proposing its own.

    Exact retrieval over 40,000 items costs 100 µs a query, scoring 150 candidates 3 µs.
    """

    def score(self, queries: QueryBatch, rows: Rows) -> Floats:
        """float32[n, m], 0 to 1, for rows int32[n, m]."""
