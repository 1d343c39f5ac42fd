"""The model: item rows, the generators over them and the rankers over those; the same class on both sides.

The learner calls `learn` and publishes `dump_touched`; a replica calls `apply` with just that.
"""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from itertools import chain
from types import MappingProxyType
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from models.components import Component, Counting, Decaying, Embedded, Generator, Ranker
from models.core import CONTEXTS, HISTORY, SESSION, Batch, Example, Query, QueryBatch, Rows
from models.kernels.splitmix import GOLDEN, mixed
from models.ranking.coverage import Coverage
from models.ranking.features import feature_names
from models.ranking.shortlist import Shortlist
from models.ranking.statistics import ItemStatistics
from models.registry import GENERATORS, RANKERS
from models.rows import ItemRows
from models.state import Records, Table

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
        Key of the events' context whose value `context-popularity` and `context-trending` count by.
    parameters
        Keyword arguments of the constructors that differ from their defaults, by generator or ranker.
    rankers
        Names of the rankers that learn.
    rank_every
        Of a large micro-batch, the rankers learn from one example in `rank_every`, chosen by a hash:
        proposing candidates is most of what learning costs.

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
    ) -> None:
        self.context_key, self._rank_every = context_key, rank_every
        weights = dict(generators) if isinstance(generators, Mapping) else dict.fromkeys(generators, 1.0)
        self.weights = weights
        """Weight in the blend by generator."""
        self.items = ItemRows(capacity, admit_after)
        self.generators: dict[str, Generator] = {
            name: GENERATORS[name].build(capacity, seed, **parameters.get(name, {})) for name in weights
        }
        self.embedded = next((g for g in self.generators.values() if isinstance(g, Embedded)), None)
        """The first generator that has item vectors; None if there is none."""
        popularity = self.generators.get("popularity")
        self.popularity = popularity if isinstance(popularity, Counting) else None
        """The generator `popularity`; None if it is off."""
        self._initial_half_lives_ms = self.half_lives_ms
        self.statistics = ItemStatistics(capacity)
        self.shortlist = Shortlist(self.generators, weights, self.statistics, capacity)
        self.rankers: dict[str, Ranker] = {
            name: RANKERS[name].build(self.shortlist.weights, self.embedded, seed, **parameters.get(name, {}))
            for name in rankers
        }
        self.coverage = Coverage(self.shortlist.names)
        ranking: dict[str, Component] = {"coverage": self.coverage, **self.rankers}
        features = crc32(repr(feature_names(self.shortlist.names)).encode())
        self._components: dict[str, Component] = {
            **self.generators,
            "statistics": self.statistics,
            **{f"{name}-{features:08x}": part for name, part in ranking.items() if part.state.rows},
        }
        """All parts by the name in their rows' keys.  A ranker's has a hash of its features' names: what it
        has learnt is of no use with other features."""

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
        for part in self._components.values():
            part.evict(freed)
        evicted = set(freed.tolist())
        batch_so_far[:] = [-1 if row in evicted else row for row in batch_so_far]

    def queries(self, queries: Sequence[Query | Example]) -> QueryBatch:
        """The queries as arrays; unknown items are left out."""
        histories = [query.history[: -HISTORY - 1 : -1] for query in queries]
        numbers = self.items.rows(chain.from_iterable(histories))
        rows = np.array(numbers, np.int32)
        lengths = np.array([len(items) for items in histories], np.int32)
        sizes = np.minimum([query.session_size for query in queries], lengths)
        if -1 in numbers:
            unknown = rows < 0
            query_of = np.repeat(np.arange(len(queries)), lengths)
            position = np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
            in_session = unknown & (position < sizes[query_of])
            lengths = lengths - np.bincount(query_of[unknown], minlength=len(queries))
            sizes = sizes - np.bincount(query_of[in_session], minlength=len(queries))
            rows = rows[~unknown]
        sizes = sizes.astype(np.int32)
        history = np.empty((len(queries), HISTORY), np.int32)
        history.fill(-1)
        history[np.arange(HISTORY) < lengths[:, None]] = rows
        return QueryBatch(
            history,
            sizes,
            np.where(np.arange(SESSION) < sizes[:, None], history[:, :SESSION], np.int32(-1)),
            np.array([query.time for query in queries], np.int64),
            np.array([self._slot(query.context) if query.context else -1 for query in queries], np.int32),
        )

    def _slot(self, context: Mapping[str, str | float]) -> int:
        """Slot of the context's value, below `CONTEXTS`; -1 if it has none."""
        value = context.get(self.context_key)
        return -1 if value is None else crc32(str(value).encode()) % CONTEXTS

    def dump_touched(self) -> dict[bytes, bytes | None]:
        """Rows changed since the last call, value by key as on the model topic; None deletes."""
        rows = self.items.dump_touched()
        for name, part in self._components.items():
            rows |= _encode(name, part.state.touched(), part.state)
        return rows

    def dump_first(self, count: int) -> dict[bytes, bytes | None]:
        """The first `count` rows of every part, changed or not, as `dump_touched` gives them."""
        rows: dict[bytes, bytes | None] = {}
        for name, part in self._components.items():
            rows |= _encode(name, np.arange(min(count, part.state.rows), dtype=np.int32), part.state)
        return rows

    def prepare(self, rows: Iterable[tuple[bytes, bytes | None]]) -> "Prepared":
        """Sort published rows, in their order, for `apply`; may run in another thread.

        Rows of a part that is off are ignored.  Raises `ValueError` if a row has another layout than this
        version writes.
        """
        by_part: dict[bytes, list[tuple[bytes, bytes | None]]] = {}
        for key, value in rows:
            part, _, rest = key.partition(b"/")
            by_part.setdefault(part, []).append((rest, value))
        items = self.items.capacity
        for key, _ in by_part.get(b"items", ()):
            if int(key) >= items:
                raise ValueError(f"the model has more than max_items={items} rows: raise max_items here")
        return Prepared(
            [(key, value) for key, value in by_part.get(b"items", ()) if value is not None],
            by_part.get(b"waiting", []),
            {
                name: _decode(name, part.state.dtype, [v for _, v in by_part[name.encode()] if v])
                for name, part in self._components.items()
                if name.encode() in by_part
            },
        )

    def apply(self, rows: "Prepared") -> None:
        """Store published rows."""
        self.items.apply(rows.items)
        self.items.apply_waiting(rows.waiting)
        for name, records in rows.components.items():
            self._components[name].state.apply(records)


def _hashes(users: Sequence[str]) -> NDArray[np.uint64]:
    digests = [blake2b(user.encode(), digest_size=8).digest() for user in users]
    return np.frombuffer(b"".join(digests), "<u8").astype(np.uint64)


def _encode(name: str, rows: Rows, state: Table) -> dict[bytes, bytes | None]:
    records = state.dump(rows)
    size, data = records.dtype.itemsize, records.tobytes()
    prefix = name.encode() + b"/%d"
    return {prefix % row: data[n * size : (n + 1) * size] for n, row in enumerate(rows.tolist())}


def _decode(name: str, dtype: np.dtype[np.void], values: list[bytes]) -> Records:
    if any(len(value) != dtype.itemsize for value in values):
        raise ValueError(f"rows of {name!r} are not of {dtype.itemsize} bytes: another version wrote them")
    return np.frombuffer(b"".join(values), dtype)


class Prepared(NamedTuple):
    """Published rows, ready to be applied."""

    items: list[tuple[bytes, bytes]]
    waiting: list[tuple[bytes, bytes | None]]
    components: dict[str, Records]

    @classmethod
    def joined(cls, parts: Sequence["Prepared"]) -> "Prepared":
        """The rows of all parts, in their order."""
        records: dict[str, list[Records]] = {}
        for part in parts:
            for name, rows in part.components.items():
                records.setdefault(name, []).append(rows)
        return cls(
            [row for part in parts for row in part.items],
            [row for part in parts for row in part.waiting],
            {name: np.concatenate(rows) for name, rows in records.items()},
        )
