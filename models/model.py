"""The model: item rows, the generators over them and the rankers over those; the same class on both sides.

The learner calls `learn` and publishes `dump_touched`; a replica calls `apply` with just that.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from hashlib import blake2b
from types import MappingProxyType
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from models.catalog import RECORD_ALONE, Catalog, Kept
from models.components import Beginning, Borrower, Decaying, Embedded, Generator, Lender, Popular, Ranker
from models.core import Batch, Example, Query, QueryBatch
from models.kernels.splitmix import GOLDEN, mixed
from models.parts import Part, Parts
from models.published import Prepared, Row
from models.queries import as_arrays
from models.ranking.coverage import Coverage
from models.ranking.features import feature_names
from models.ranking.shortlist import Shortlist
from models.registry import GENERATORS, RANKERS
from models.retrieval.context import ContextPopularity
from models.rows import ItemRows
from models.statistics import ItemStatistics

IN_CONTEXT = "context-popularity"
LARGE = 1000
"""Examples from which on a micro-batch is large: the learner lags, or reads a log from its beginning."""
RANKED_AT_ONCE = 64
"""Examples that the rankers learn from at a time, so that their features stay in the processor's cache."""


class Model:
    """Item rows, generators by name with their weights in the blend, and the rankers that learn.

    Parameters
    ----------
    generators
        Weight in the blend by generator; of names alone each weighs 1.
    capacity
        Largest number of items.
    admit_after
        Events after which an item gets a row.
    seed
        Seed of everything that is drawn at random.
    context_key
        Key of the events' context, or several joined by "+", in whose values strangers get best sellers, and
        `context-popularity` and `context-trending` count; `hour` is the hour of the day.
    parameters
        Keyword arguments of the constructors that differ from their defaults, by generator or ranker.
    rankers
        Names of the rankers that learn.
    rank_every
        Of a large micro-batch, the rankers learn from one example in `rank_every`, chosen by a hash:
        proposing candidates is most of what learning costs.
    show_unlisted
        Whether items that are not in the catalog are offered, when there is one.
    kept
        What is kept of the catalog beside what rules read.

    Examples
    --------
    >>> model = Model({"popularity": 1.0}, capacity=100)
    >>> model.learn([Example("u", 0, 5, "click", "a")])
    >>> replica = Model({"popularity": 1.0}, capacity=100)
    >>> replica.apply(replica.prepare(model.dump_touched().items()))
    >>> replica.items.row("a")
    0
    """

    def __init__(
        self,
        generators: Mapping[str, float] | Iterable[str],
        capacity: int,
        admit_after: int = 1,
        seed: int = 0,
        context_key: str = "device",
        parameters: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
        rankers: Iterable[str] = (),
        rank_every: int = 2,
        show_unlisted: bool = False,
        kept: Kept = RECORD_ALONE,
    ) -> None:
        rankers = tuple(rankers)
        self._construct = partial(
            Model.__init__, self, generators, admit_after=admit_after, seed=seed, context_key=context_key,
            parameters=parameters, rankers=rankers, rank_every=rank_every, show_unlisted=show_unlisted,
            kept=kept,
        )  # fmt: skip
        self.context_key, self._rank_every = context_key, rank_every
        weights = dict(generators) if isinstance(generators, Mapping) else dict.fromkeys(generators, 1.0)
        self.weights = weights
        """Weight in the blend by generator."""
        self.items = ItemRows(capacity, admit_after)
        self.catalog = Catalog(capacity, show_unlisted, kept)
        """What the shop says of the items; it does not travel, each process reads it."""
        self.statistics = ItemStatistics(capacity)
        others = {"catalog": self.catalog, "statistics": self.statistics}
        self.generators: dict[str, Generator] = {
            name: GENERATORS[name].build(capacity, seed, others, **parameters.get(name, {}))
            for name in weights
        }
        self._borrowers = [g for g in self.generators.values() if isinstance(g, Borrower)]
        for borrower in self._borrowers:
            lenders = [g for g in self.generators.values() if isinstance(g, Lender)][:2]
            borrower.borrow_from(lenders, [g for g in self.generators.values() if isinstance(g, Beginning)])
        self.embedded = next((g for g in self.generators.values() if isinstance(g, Embedded)), None)
        """The first generator that has item vectors; None if there is none."""
        popularity = self.generators.get("popularity")
        self.popularity = popularity if isinstance(popularity, Popular) else None
        """The generator `popularity`; None if it is off."""
        in_context: Any = self.generators.get(IN_CONTEXT)
        self._counts_contexts = in_context is None
        self.in_context = (
            in_context if isinstance(in_context, ContextPopularity) else ContextPopularity(capacity)
        )
        """What is popular in each context; the generator `context-popularity` if it is on."""
        self._initial_half_lives_ms = self.half_lives_ms
        self.shortlist = Shortlist(self.generators, weights, self.statistics, self.catalog)
        self.rankers: dict[str, Ranker] = {
            name: RANKERS[name].build(self.shortlist.weights, self.embedded, seed, **parameters.get(name, {}))
            for name in rankers
        }
        self.coverage = Coverage(self.shortlist.names)
        parts = self._generator_parts(parameters, seed)
        self.parts = Parts(parts | self._ranking_parts(parts, parameters, seed))
        """All components that have rows, as they are published."""

    def _generator_parts(self, parameters: Mapping[str, Mapping[str, Any]], seed: int) -> dict[str, Part]:
        capacity = self.items.capacity
        parts = {"statistics": Part(self.statistics, "statistics", capacity)}
        if self._counts_contexts:
            key = {"context_key": self.context_key}
            parts["in-context"] = Part(self.in_context, "in-context", capacity, {}, key, tuple(key))
        for name, generator in self.generators.items():
            if generator.state.rows:
                row = GENERATORS[name]
                others = {"context_key": self.context_key} if "context_key" in row.meaning else {}
                arguments = row.arguments(seed, **parameters.get(name, {}))
                parts[name] = Part(generator, name, capacity, arguments, others, row.meaning, row.version)
        return parts

    def _ranking_parts(
        self, parts: Mapping[str, Part], parameters: Mapping[str, Mapping[str, Any]], seed: int
    ) -> dict[str, Part]:
        """Coverage and rankers: what they learnt is of no use with other features, or other vectors."""
        names = self.shortlist.names
        features = f"{crc32(repr(feature_names(names)).encode()):08x}"
        others: dict[str, Any] = {"generators": names}
        ranking = {"coverage": Part(self.coverage, f"coverage-{features}", names, {}, others, tuple(others))}
        vectors = [f"{n} {parts[n].layout.digest}" for n, g in self.generators.items() if g is self.embedded]
        for name, ranker in self.rankers.items():
            if ranker.state.rows:
                row = RANKERS[name]
                arguments = row.arguments(self.embedded, seed, **parameters.get(name, {}))
                read = others | ({"vectors": vectors} if "vectors" in arguments else {})
                ranking[name] = Part(
                    ranker, f"{name}-{features}", self.shortlist.weights, arguments, read, tuple(read),
                    row.version,
                )  # fmt: skip
        return ranking

    @property
    def half_lives_ms(self) -> dict[str, float]:
        """Time after which an event counts half, by generator, of those that decay."""
        return {name: g.half_life_ms for name, g in self.generators.items() if isinstance(g, Decaying)}

    def set_half_lives(self, half_lives_ms: Mapping[str, float]) -> None:
        """Use other half-lives from now on; a generator that is not named gets its initial one.

        What was counted stays, and decays at the new rate.
        """
        for name, ms in {**self._initial_half_lives_ms, **half_lives_ms}.items():
            generator = self.generators.get(name)
            if isinstance(generator, Decaying) and generator.half_life_ms != ms:
                generator.half_life_ms = ms

    def learn(self, examples: Sequence[Example]) -> None:
        """Learn the examples in order: first the rankers, from what the model proposes before it knows them.

        So rankers train in the condition in which they serve: with counts as old as the micro-batch is long.
        """
        if examples:
            batch = self.batch(examples)
            if any(ranker.state.rows for ranker in self.rankers.values()):
                self._learn_to_rank(batch)
            for generator in self.generators.values():
                generator.learn(batch)
            self.statistics.learn(batch)
            if self._counts_contexts and (batch.queries.contexts >= 0).any():
                self.in_context.learn(batch)

    def refresh(self, until: float = np.inf) -> None:
        """Bring up to date what generators derive from the catalog, until `time.perf_counter` is `until`."""
        for borrower in self._borrowers:
            borrower.refresh(until)

    def _learn_to_rank(self, batch: Batch) -> None:
        queries, weights = batch.queries.with_session_continued(), batch.weights
        every = self._rank_every if len(batch) >= LARGE else 1
        chosen = (batch.users + queries.times.astype(np.uint64)) % np.uint64(every) == 0
        useful = np.flatnonzero(chosen & (batch.items >= 0) & (queries.history[:, 0] >= 0) & (weights > 0))
        for start in range(0, len(useful), RANKED_AT_ONCE):
            part = useful[start : start + RANKED_AT_ONCE]
            pool, features = self.shortlist.featurize(queries.take(part), np.zeros((len(part), 0), np.int32))
            hit = pool.rows == batch.items[part, None]
            targets = np.where(hit.any(1), hit.argmax(1), -1).astype(np.int32)
            for ranker in self.rankers.values():
                ranker.learn(features, targets, weights[part])
            self.coverage.learn(features, targets, weights[part])

    def batch(self, examples: Sequence[Example]) -> Batch:
        """The examples as arrays; admits their items, and expires idle items when no row is left."""
        rows: list[int] = []
        for example in examples:
            if self.items.row(example.item) < 0 and self.items.full:
                self._make_room(rows)
            rows.append(self.items.admit(example.item, example.time))
        users = _hashes([example.user for example in examples])
        sessions = np.array([example.session for example in examples], np.int64).astype(np.uint64)
        return Batch(
            np.array(rows, np.int32),
            self.queries(examples),
            np.array([example.weight for example in examples], np.float32),
            users,
            mixed(users + sessions * GOLDEN),
        )

    def _make_room(self, batch_so_far: list[int]) -> None:
        freed = self.items.expire()
        self.parts.evict(freed)
        self.catalog.withdraw(freed)
        evicted = set(freed.tolist())
        batch_so_far[:] = [-1 if row in evicted else row for row in batch_so_far]

    def queries(self, queries: Sequence[Query | Example]) -> QueryBatch:
        """The queries as arrays; unknown items are left out."""
        return as_arrays(queries, self.items, self.context_key)

    def dump_touched(self) -> dict[bytes, bytes | None]:
        """Rows changed since the last call, value by key as on the model topic; None deletes."""
        return self.items.dump_touched() | self.parts.dump_touched()

    def prepare(self, rows: Iterable[Row]) -> Prepared:
        """Sort published rows, in their order, for `apply`; may run in another thread.

        Rows of a component that is off are left out.
        """
        return self.parts.prepare(rows)

    def apply(self, rows: Prepared) -> None:
        """Store published rows."""
        lost = self.items.apply(rows.items)
        if len(lost):
            self.catalog.withdraw(lost)
        self.items.apply_waiting(rows.waiting)
        self.parts.apply(rows, lost)

    def resize(self, capacity: int) -> None:
        """Become a model of this capacity that has learnt nothing: all components are new ones."""
        self._construct(capacity=capacity)

    def clear(self) -> None:
        """Forget all items, and all that was learnt of them."""
        self.catalog.withdraw(np.arange(len(self.items.ids), dtype=np.int32))
        ItemRows.__init__(self.items, self.items.capacity, self.items.admit_after)
        self.parts.clear()


def _hashes(users: Sequence[str]) -> NDArray[np.uint64]:
    digests = [blake2b(user.encode(), digest_size=8).digest() for user in users]
    return np.frombuffer(b"".join(digests), "<u8").astype(np.uint64)
