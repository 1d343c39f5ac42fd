"""The table of all candidate generators and rankers.  A new one is a file and a row here.

The classes are imported when a model is built: settings and `--help` read the names, and should not have to
import numba and torch for it.
"""

import inspect
from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any, NamedTuple

from models.units import HOUR_MS

NO_ARGUMENTS: Mapping[str, Any] = MappingProxyType({})


class GeneratorRow(NamedTuple):
    """A candidate generator by its class, and what users and settings read of it."""

    path: str
    """Its class, as `module.Class` in `models`.  The constructor takes the capacity, and may take `seed`."""
    fixed: Mapping[str, Any] = NO_ARGUMENTS
    """Keyword arguments of the constructor that make it this generator."""
    reason: str = "because of "
    """Why a candidate is listed, in words that the item of the user's history follows."""
    decays: bool = False
    """Whether it has a half-life (`models.components.Decaying`)."""
    weight: float = 0.0
    """Default weight in the blend; 0: off by default."""
    defaults: Mapping[str, Any] = NO_ARGUMENTS
    """Keyword arguments whose defaults differ from those of the class."""
    version: int = 1
    """Version of the rows, raised when rows of the same fields mean something else (`models.layouts`); those
    from before checkpoints had layouts are of version 1."""
    meaning: tuple[str, ...] = ()
    """Parameters that change what a row means, though not its fields."""

    def arguments(
        self, seed: int, offered: Mapping[str, Any] = NO_ARGUMENTS, **parameters: Any
    ) -> dict[str, Any]:
        """The keyword arguments of the constructor, of `offered` (parts of the model) those that it wants."""
        return _arguments(self.path, self.fixed, {"seed": seed, **offered}, {**self.defaults, **parameters})

    def build(
        self, capacity: int, seed: int, offered: Mapping[str, Any] = NO_ARGUMENTS, **parameters: Any
    ) -> Any:
        """A generator that has learnt nothing; `parameters` are keyword arguments of its constructor."""
        return load(self.path)(capacity, **self.arguments(seed, offered, **parameters))


class RankerRow(NamedTuple):
    """A ranker by its class."""

    path: str
    """Its class, as `module.Class` in `models`.  The constructor takes the weights of the blend by generator,
    and `vectors` (a generator with item vectors, or None) and `seed` if it wants them."""
    fixed: Mapping[str, Any] = NO_ARGUMENTS
    """Keyword arguments of the constructor that make it this ranker."""
    learns: bool = True
    """Whether it learns what comes next; its scores are then probabilities."""
    version: int = 1
    """Version of the rows, raised when rows of the same fields mean something else (`models.layouts`); those
    from before checkpoints had layouts are of version 1."""

    def arguments(self, vectors: Any, seed: int, **parameters: Any) -> dict[str, Any]:
        """The keyword arguments of the constructor."""
        return _arguments(self.path, self.fixed, {"vectors": vectors, "seed": seed}, parameters)

    def build(self, weights: Mapping[str, float], vectors: Any, seed: int, **parameters: Any) -> Any:
        """A ranker that has learnt nothing; `parameters` are keyword arguments of its constructor."""
        return load(self.path)(weights, **self.arguments(vectors, seed, **parameters))


def load(path: str) -> Any:
    """Import the class of a row."""
    module, _, name = path.rpartition(".")
    return getattr(import_module(f"models.{module}"), name)


def _arguments(
    path: str, fixed: Mapping[str, Any], offered: Mapping[str, Any], parameters: Mapping[str, Any]
) -> dict[str, Any]:
    """The constructor's keyword arguments: `parameters`, and what it accepts of `offered`.

    Raises `TypeError` on a parameter that it does not have, or that the row fixes.
    """
    accepted = inspect.signature(load(path)).parameters
    wanted = {name: value for name, value in offered.items() if name in accepted}
    for name in parameters:
        if name not in accepted or name in wanted or name in fixed:
            raise TypeError(f"{path.rpartition('.')[2]} takes no parameter {name!r}")
    return {**wanted, **fixed, **parameters}


_TRENDING = {"half_life_ms": 2 * HOUR_MS}

GENERATORS: dict[str, GeneratorRow] = {
    "next": GeneratorRow(
        "retrieval.covisitation.CoVisitation", {"direction": "next"}, "often after ", decays=True, weight=1.0
    ),
    "previous": GeneratorRow(
        "retrieval.covisitation.CoVisitation",
        {"direction": "previous"},
        "often before ",
        decays=True,
        weight=0.6,
    ),
    "session-knn": GeneratorRow(
        "retrieval.session_knn.SessionKnn", reason="in sessions with ", weight=0.5, meaning=("by",)
    ),
    "user-knn": GeneratorRow("retrieval.session_knn.SessionKnn", {"by": "user"}, "by users with "),
    "embedding": GeneratorRow(
        "retrieval.two_tower.TwoTower",
        {"tower": "mean"},
        "similar to ",
        weight=0.1,
        version=2,
        meaning=("by",),
    ),
    "matrix-factorisation": GeneratorRow(
        "retrieval.matrix_factorisation.MatrixFactorisation", reason="similar to ", version=2
    ),
    "gru": GeneratorRow(
        "retrieval.two_tower.TwoTower", {"tower": "gru"}, "similar to ", version=2, meaning=("by",)
    ),
    "transformer": GeneratorRow(
        "retrieval.two_tower.TwoTower", {"tower": "transformer"}, "similar to ", version=2, meaning=("by",)
    ),
    "popularity": GeneratorRow("retrieval.popularity.Popularity", decays=True, weight=0.05),
    "trending": GeneratorRow("retrieval.popularity.Popularity", defaults=_TRENDING, decays=True, weight=0.05),
    "context-popularity": GeneratorRow(
        "retrieval.context.ContextPopularity", decays=True, meaning=("context_key",)
    ),
    "context-trending": GeneratorRow(
        "retrieval.context.ContextPopularity", defaults=_TRENDING, decays=True, meaning=("context_key",)
    ),
    "content": GeneratorRow("retrieval.content.Content", reason="by its description, goes with ", weight=0.1),
    "history": GeneratorRow("retrieval.history.History", reason="seen before: ", weight=0.2),
    "graph": GeneratorRow("retrieval.graph.Walks", reason="a few steps from ", meaning=("by",)),
}

RANKERS: dict[str, RankerRow] = {
    "blend": RankerRow("ranking.blend.Blend", learns=False),
    "linear": RankerRow("ranking.mlp.Mlp", {"hidden": 0}),
    "mlp": RankerRow("ranking.mlp.Mlp"),
    "neumf": RankerRow("ranking.deep.Deep", {"interaction": "neumf"}, version=2),
    "din": RankerRow("ranking.deep.Deep", {"interaction": "din"}, version=2),
}


def default_weights() -> dict[str, float]:
    """The generators that are on by default and their weights in the blend, heaviest first.

    >>> list(default_weights().items())[:2]
    [('next', 1.0), ('previous', 0.6)]
    """
    weights = {name: row.weight for name, row in GENERATORS.items() if row.weight}
    return dict(sorted(weights.items(), key=lambda item: -item[1]))
