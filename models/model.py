"""The model: item rows and the generators over them, the same class in the learner and in a replica.

The learner calls `learn` and publishes `dump_touched`; a replica calls `apply` with just that.
"""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from types import MappingProxyType
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from models.core import CONTEXTS, HISTORY, SESSION, Asked, Batch, Example, Generator, Queries, Rows
from models.registry import GENERATORS
from models.rows import ItemRows


class Model:
    """Item rows and generators by name, in the order of `names`.

    >>> model = Model(["popularity"], capacity=100)
    >>> model.learn([Example("u", 0, 5, "click", "a")])
    >>> replica = Model(["popularity"], capacity=100)
    >>> replica.apply(replica.prepare(model.dump_touched().items()))
    >>> replica.items.row("a")
    0
    """

    def __init__(
        self,
        names: Iterable[str],
        capacity: int,
        admit_after: int = 1,
        seed: int = 0,
        context_key: str = "device",
        parameters: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    ) -> None:
        """`parameters`: generator ▶ keyword arguments of its constructor, where not the defaults."""
        self._context_key = context_key
        self.items = ItemRows(capacity, admit_after)
        self.generators: dict[str, Generator] = {
            name: GENERATORS[name](capacity, seed, **parameters.get(name, {})) for name in names
        }

    def learn(self, examples: Sequence[Example]) -> None:
        """Learn the examples, in order."""
        if examples:
            batch = self.batch(examples)
            for generator in self.generators.values():
                generator.learn(batch)

    def warm_up(self) -> None:
        """Compile the kernels and import what learning needs, on a small model that is thrown away."""
        small = Model(self.generators, capacity=100)
        small.learn([Example("", n, n, "view", str(n), history=("0", "1"), session_size=2) for n in range(3)])

    def batch(self, examples: Sequence[Example]) -> Batch:
        """The examples as arrays; admits their items, and expires idle ones when no row is left."""
        items = np.empty(len(examples), np.int32)
        for n, example in enumerate(examples):
            items[n] = self._admit(example, items[:n])
        return Batch(
            items,
            self.queries([Asked(e.history, e.session_size, e.time, e.context) for e in examples]),
            np.array([example.weight for example in examples], np.float32),
            np.array([_hash(e.user.encode()) for e in examples], np.uint64),
            np.array([_hash(b"%s/%d" % (e.user.encode(), e.session)) for e in examples], np.uint64),
        )

    def _admit(self, example: Example, batch_so_far: Rows) -> int:
        if self.items.full and self.items.row(example.item) < 0:
            freed = self.items.expire()
            for generator in self.generators.values():
                generator.forget(freed)
            batch_so_far[np.isin(batch_so_far, freed)] = -1
        return self.items.admit(example.item, example.time)

    def queries(self, asked: Sequence[Asked]) -> Queries:
        """What is asked, as arrays; unknown items are left out."""
        row, none = self.items.row, [-1] * HISTORY
        flat: list[int] = []
        newest: list[int] = []
        sizes: list[int] = []
        for one in asked:
            rows = [row(item) for item in reversed(one.history[-HISTORY:])]
            size = min(one.session_size, len(rows))
            if -1 in rows:
                size -= rows[:size].count(-1)
                rows = [r for r in rows if r >= 0]
            sizes.append(size)
            flat += rows
            flat += none[len(rows) :]
            newest += rows[: min(size, SESSION)]
            newest += none[: max(SESSION - size, 0)]
        return Queries(
            np.array(flat, np.int32).reshape(-1, HISTORY),
            np.array(sizes, np.int32),
            np.array(newest, np.int32).reshape(-1, SESSION),
            np.array([one.time for one in asked], np.int64),
            np.array([self._context(one.context) for one in asked], np.int32),
        )

    def _context(self, context: Mapping[str, str | float]) -> int:
        value = context.get(self._context_key) if context else None
        return -1 if value is None else crc32(str(value).encode()) % CONTEXTS

    def dump_touched(self) -> dict[bytes, bytes | None]:
        """Rows changed since the last call: key ▶ value on the model topic; None deletes."""
        rows = self.items.dump_touched()
        for name, generator in self.generators.items():
            touched = generator.touched()
            dumped = generator.dump(touched)
            size, data = dumped.dtype.itemsize, dumped.tobytes()
            prefix = name.encode() + b"/%d"
            for n, row in enumerate(touched.tolist()):
                rows[prefix % row] = data[n * size : (n + 1) * size]
        return rows

    def prepare(self, rows: Iterable[tuple[bytes, bytes | None]]) -> "Prepared":
        """Sort published rows, in their order, for `apply`; may run in another thread.

        Rows of a generator that is off are ignored.  `ValueError` if a row has another layout than
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
                name: _unpack(name, generator.dtype, [v for _, v in by_part[name.encode()] if v])
                for name, generator in self.generators.items()
                if name.encode() in by_part
            },
        )

    def apply(self, rows: "Prepared") -> None:
        """Take over published rows."""
        self.items.apply(rows.items)
        self.items.apply_waiting(rows.waiting)
        for name, dumped in rows.generators.items():
            self.generators[name].apply(dumped)


def _hash(text: bytes) -> int:
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "little")


def _unpack(name: str, dtype: np.dtype[np.void], values: list[bytes]) -> NDArray[np.void]:
    if any(len(value) != dtype.itemsize for value in values):
        raise ValueError(f"rows of {name!r} are not of {dtype.itemsize} bytes: another version wrote them")
    return np.frombuffer(b"".join(values), dtype)


class Prepared(NamedTuple):
    """Published rows, ready to be applied."""

    items: list[tuple[bytes, bytes]]
    waiting: list[tuple[bytes, bytes | None]]
    generators: dict[str, NDArray[np.void]]
