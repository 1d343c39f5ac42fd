"""The model's components as they are published: each under a key, with its layout.

A component that starts over, because its layout changed, gets another key: so what was published before never
mixes with what comes after, however a compacted topic keeps it.  The checkpoint has the keys and the layouts.

A replica follows them.  A component whose published layout it does not understand keeps its last understood
state, without the items that lost their row since; once it is understood again it begins with what is
published then.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from models.components import Component, Decaying
from models.core import Rows
from models.layouts import Layout, Published, make_layout
from models.published import Prepared, Row, encode, prepare
from models.registry import NO_ARGUMENTS
from models.state import Records

ONLY_LEARNING = frozenset(
    {
        "seed", "vectors", "batch", "redraw", "replay", "window", "dropout", "max_norm",
        "learning_rate", "learning_rate_linear", "tower_rate",
    }
)  # fmt: skip
"""Arguments of constructors that only the learner uses: neither what a row means depends on them, nor the
lists of a replica."""


class Part:
    """A component, its key and its layout.

    Parameters
    ----------
    component
        The component, as its constructor left it.
    key
        Its key as long as it never started over.
    first, arguments
        What its constructor was called with.
    others
        Parameters that are not the constructor's.
    meaning
        Names of parameters that change what a row means, though not its fields.
    version
        Version of its rows in the registry.
    """

    def __init__(
        self,
        component: Component,
        key: str,
        first: Any,
        arguments: Mapping[str, Any] = NO_ARGUMENTS,
        others: Mapping[str, Any] = NO_ARGUMENTS,
        meaning: Sequence[str] = (),
        version: int = 1,
    ) -> None:
        self.component, self.first_key, self.key = component, key, key
        constructor: Any = type(component).__init__
        self._construct: Callable[[], None] = partial(constructor, component, first, **arguments)
        accepted = list(inspect.signature(type(component)).parameters.values())[1:]
        parameters = {
            p.name: arguments.get(p.name, p.default) for p in accepted if p.name not in ONLY_LEARNING
        }
        self.layout = make_layout(version, component.state, {**parameters, **others}, meaning)
        self.understood = True
        """Whether the published rows are of this layout."""

    def start_over(self) -> None:
        """Forget all that was learnt, in place: others hold the component."""
        half_life_ms = self.component.half_life_ms if isinstance(self.component, Decaying) else None
        self._construct()
        if half_life_ms is not None and isinstance(self.component, Decaying):
            self.component.half_life_ms = half_life_ms

    def apply(self, records: Records | None) -> None:
        """Store published rows, if they are understood; None: rows of another size."""
        self.understood = self.understood and records is not None
        if self.understood and records is not None:
            self.component.state.apply(records)


class Parts:
    """The parts of a model by the names of their components."""

    def __init__(self, parts: Mapping[str, Part]) -> None:
        self._parts = parts
        self._dtypes = {part.first_key.encode(): part.component.state.dtype for part in parts.values()}

    @property
    def layouts(self) -> dict[str, Layout]:
        """Layouts by component."""
        return {name: part.layout for name, part in self._parts.items()}

    @property
    def not_understood(self) -> list[str]:
        """Components whose published rows are not understood."""
        return [name for name, part in self._parts.items() if not part.understood]

    def published(self) -> dict[str, dict[str, Any]]:
        """Keys and layouts, as the learner's checkpoints have them."""
        return {
            name: {"key": part.key, "layout": part.layout.digest, "parameters": dict(part.layout.parameters)}
            for name, part in self._parts.items()
        }

    def sizes(self) -> dict[bytes, int]:
        """Bytes of a row, by the key of each component whose published rows are understood."""
        parts = [part for part in self._parts.values() if part.understood]
        return {part.key.encode(): part.component.state.dtype.itemsize for part in parts}

    def follow(self, published: Published | None) -> None:
        """Take keys and layouts of a checkpoint: rows that are applied from now on are of these.

        None: the checkpoint has none, because it is from before checkpoints had layouts.
        """
        for name, part in self._parts.items():
            if published is None:
                understood, key = part.layout.version == 1, part.first_key
            else:
                entry = published.get(name, {})
                understood, key = entry.get("layout") == part.layout.digest, entry.get("key", part.key)
            if understood and not (part.understood and part.key == key):
                part.key = key
                part.start_over()
            part.understood = understood

    def take_over(self, number: int) -> list[str]:
        """Start over with the components that are not understood, as the learner; returns their names.

        `number` makes their new keys: that of the next checkpoint.
        """
        names = self.not_understood
        for name in names:
            part = self._parts[name]
            part.key, part.understood = f"{part.first_key}.{number}", True
            part.start_over()
        return names

    def clear(self) -> None:
        """Forget all that was learnt."""
        for part in self._parts.values():
            part.start_over()

    def evict(self, rows: Rows) -> None:
        """Remove these items from all components."""
        for part in self._parts.values():
            part.component.evict(rows)

    def dump_touched(self) -> dict[bytes, bytes | None]:
        """Rows changed since the last call, by key."""
        rows: dict[bytes, bytes | None] = {}
        for part in self._parts.values():
            state = part.component.state
            rows |= encode(part.key, state.touched(), state)
        return rows

    def dump_first(self, count: int) -> dict[bytes, bytes | None]:
        """The first `count` rows of every component, changed or not, by key."""
        rows: dict[bytes, bytes | None] = {}
        for part in self._parts.values():
            state = part.component.state
            rows |= encode(part.key, np.arange(min(count, state.rows), dtype=np.int32), state)
        return rows

    def prepare(self, rows: Iterable[Row]) -> Prepared:
        """Sort published rows; may run in another thread."""
        return prepare(rows, self._dtypes)

    def apply(self, rows: Prepared, lost: Rows) -> None:
        """Store rows under their components' keys; `lost` are rows of items that lost theirs."""
        for part in self._parts.values():
            if part.key in rows.components:
                part.apply(rows.components[part.key])
            if len(lost) and not part.understood:
                part.component.evict(lost)
