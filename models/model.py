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

from models.core import (
    CONTEXTS,
    HISTORY,
    SESSION,
    Batch,
    Component,
    Decaying,
    Embedded,
    Example,
    Generator,
    Query,
    QueryBatch,
    Ranker,
)
from models.kernels.splitmix import GOLDEN, mixed
from models.ranking.coverage import Coverage
from models.ranking.features import names
from models.ranking.shortlist import Shortlist
from models.ranking.statistics import ItemStatistics
from models.registry import GENERATORS, RANKERS
from models.rows import ItemRows

LARGE = 1000
"""Examples of a micro-batch from which on it is large: the learner is behind, or has a log to get through."""
RANKED_AT_ONCE = 64
"""Examples that the rankers learn from at a time: their features stay in the processor's cache."""


class Model:
    """Item rows, generators by name with their weights in the blend, and the rankers that learn.

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
        """`generators`: name ▶ weight; of names alone each weighs 1.

        parameters: generator or ranker ▶ keyword arguments of its constructor, where not the defaults.
        rank_every: of a large micro-batch, rankers learn from one in so many examples, by a hash: to propose
        is most of what learning costs.
        """
        self._context_key, self._rank_every, self._parameters = context_key, rank_every, parameters
        weights = dict(generators) if isinstance(generators, Mapping) else dict.fromkeys(generators, 1.0)
        self.items = ItemRows(capacity, admit_after)
        self.generators: dict[str, Generator] = {
            name: GENERATORS[name](capacity, seed, **parameters.get(name, {})) for name in weights
        }
        self._half_lives_ms = self.half_lives_ms
        """At the start."""
        self.statistics = ItemStatistics(capacity)
        self.shortlist = Shortlist(self.generators, weights, self.statistics, capacity)
        vectors = next((g for g in self.generators.values() if isinstance(g, Embedded)), None)
        self.rankers: dict[str, Ranker] = {
            name: RANKERS[name](self.shortlist.weights, vectors, seed, **parameters.get(name, {}))
            for name in rankers
        }
        self.coverage = Coverage(self.shortlist.names)
        ranking: dict[str, Component] = {"coverage": self.coverage, **self.rankers}
        features = crc32(repr(names(self.shortlist.names)).encode())
        self._components: dict[str, Component] = {
            **self.generators,
            "statistics": self.statistics,
            **{f"{name}-{features:08x}": part for name, part in ranking.items() if part.rows},
        }
        """By what their rows are called.  What a ranker learnt is of no use to one with other features."""

    def learn(self, examples: Sequence[Example]) -> None:
        """Learn the examples, in order: the rankers first, from what the model proposes before it knows them.

        So they train in the condition in which they serve: with counts as old as the micro-batch is long.
        """
        if examples:
            batch = self.batch(examples)
            if any(ranker.rows for ranker in self.rankers.values()):
                self._learn_to_rank(batch)
            for generator in self.generators.values():
                generator.learn(batch)
            self.statistics.learn(batch)

    @property
    def half_lives_ms(self) -> dict[str, float]:
        """Generator ▶ after what time an event counts half, of those that forget by time."""
        parts = self.generators.items()
        return {name: part.half_life_ms for name, part in parts if isinstance(part, Decaying)}

    def set_half_lives(self, half_lives_ms: Mapping[str, float]) -> None:
        """Take other half-lives from now on; a generator that is not named has the one of its start.

        What was counted stays, and fades at the new rate.
        """
        for name, ms in {**self._half_lives_ms, **half_lives_ms}.items():
            part = self.generators.get(name)
            if isinstance(part, Decaying) and part.half_life_ms != ms:
                part.half_life_ms = ms

    def _learn_to_rank(self, batch: Batch) -> None:
        asked, weights = batch.queries.before(), batch.weights
        every = self._rank_every if len(batch) >= LARGE else 1
        chosen = (batch.users + asked.times.astype(np.uint64)) % np.uint64(every) == 0
        useful = np.flatnonzero(chosen & (batch.items >= 0) & (asked.history[:, 0] >= 0) & (weights > 0))
        for start in range(0, len(useful), RANKED_AT_ONCE):
            part = useful[start : start + RANKED_AT_ONCE]
            pool, seen = self.shortlist.featurize(asked.take(part), np.zeros((len(part), 0), np.int32))
            hit = pool.rows == batch.items[part, None]
            targets = np.where(hit.any(1), hit.argmax(1), -1).astype(np.int32)
            for ranker in self.rankers.values():
                ranker.learn(seen, targets, weights[part])
            self.coverage.learn(seen, targets, weights[part])

    def warm_up(self) -> None:
        """Compile the kernels and import what learning needs, on a small model that is thrown away."""
        small = Model(self.shortlist.weights, capacity=100, parameters=self._parameters, rankers=self.rankers)
        for n in range(3):
            small.learn([Example("", n, n, "view", str(n), history=("0", "1"), session_size=2)])

    def batch(self, examples: Sequence[Example]) -> Batch:
        """The examples as arrays; admits their items, and expires idle ones when no row is left."""
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
        gone = set(freed.tolist())
        batch_so_far[:] = [-1 if row in gone else row for row in batch_so_far]

    def queries(self, asked: Sequence[Query | Example]) -> QueryBatch:
        """What is asked, as arrays; unknown items are left out."""
        histories = [one.history[: -HISTORY - 1 : -1] for one in asked]
        found = self.items.rows(chain.from_iterable(histories))
        rows = np.array(found, np.int32)
        lengths = np.array([len(items) for items in histories], np.int32)
        sizes = np.minimum([one.session_size for one in asked], lengths)
        if -1 in found:
            unknown = rows < 0
            of = np.repeat(np.arange(len(asked)), lengths)
            place = np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
            in_session = unknown & (place < sizes[of])
            lengths = lengths - np.bincount(of[unknown], minlength=len(asked))
            sizes = sizes - np.bincount(of[in_session], minlength=len(asked))
            rows = rows[~unknown]
        size_of = sizes.astype(np.int32)
        history = np.full((len(asked), HISTORY), -1, np.int32)
        history[np.arange(HISTORY) < lengths[:, None]] = rows
        return QueryBatch(
            history,
            size_of,
            np.where(np.arange(SESSION) < size_of[:, None], history[:, :SESSION], np.int32(-1)),
            np.array([one.time for one in asked], np.int64),
            np.array([self._context(one.context) if one.context else -1 for one in asked], np.int32),
        )

    def _context(self, context: Mapping[str, str | float]) -> int:
        value = context.get(self._context_key)
        return -1 if value is None else crc32(str(value).encode()) % CONTEXTS

    def dump_touched(self) -> dict[bytes, bytes | None]:
        """Rows changed since the last call: key ▶ value on the model topic; None deletes."""
        rows = self.items.dump_touched()
        for name, part in self._components.items():
            touched = part.touched()
            dumped = part.dump(touched)
            size, data = dumped.dtype.itemsize, dumped.tobytes()
            prefix = name.encode() + b"/%d"
            for n, row in enumerate(touched.tolist()):
                rows[prefix % row] = data[n * size : (n + 1) * size]
        return rows

    def prepare(self, rows: Iterable[tuple[bytes, bytes | None]]) -> "Prepared":
        """Sort published rows, in their order, for `apply`; may run in another thread.

        Rows of a part that is off are ignored.  `ValueError` if a row has another layout than
        this version writes.
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
                name: _unpack(name, part.dtype, [v for _, v in by_part[name.encode()] if v])
                for name, part in self._components.items()
                if name.encode() in by_part
            },
        )

    def apply(self, rows: "Prepared") -> None:
        """Take over published rows."""
        self.items.apply(rows.items)
        self.items.apply_waiting(rows.waiting)
        for name, dumped in rows.components.items():
            self._components[name].apply(dumped)


def _hashes(users: Sequence[str]) -> NDArray[np.uint64]:
    digests = [blake2b(user.encode(), digest_size=8).digest() for user in users]
    return np.frombuffer(b"".join(digests), "<u8").astype(np.uint64)


def _unpack(name: str, dtype: np.dtype[np.void], values: list[bytes]) -> NDArray[np.void]:
    if any(len(value) != dtype.itemsize for value in values):
        raise ValueError(f"rows of {name!r} are not of {dtype.itemsize} bytes: another version wrote them")
    return np.frombuffer(b"".join(values), dtype)


class Prepared(NamedTuple):
    """Published rows, ready to be applied."""

    items: list[tuple[bytes, bytes]]
    waiting: list[tuple[bytes, bytes | None]]
    components: dict[str, NDArray[np.void]]

    @classmethod
    def joined(cls, parts: Sequence["Prepared"]) -> "Prepared":
        """One of several, in their order."""
        dumps: dict[str, list[NDArray[np.void]]] = {}
        for part in parts:
            for name, rows in part.components.items():
                dumps.setdefault(name, []).append(rows)
        return cls(
            [row for part in parts for row in part.items],
            [row for part in parts for row in part.waiting],
            {name: np.concatenate(rows) for name, rows in dumps.items()},
        )
