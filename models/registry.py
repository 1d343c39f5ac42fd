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

    def build(self, capacity: int, seed: int, **parameters: Any) -> Any:
        """A generator that has learnt nothing; `parameters` are keyword arguments of its constructor."""
        return _build(self.path, self.fixed, {"seed": seed}, capacity, **{**self.defaults, **parameters})


class RankerRow(NamedTuple):
    """A ranker by its class."""

    path: str
    """Its class, as `module.Class` in `models`.  The constructor takes the weights of the blend by generator,
    and `vectors` (a generator with item vectors, or None) and `seed` if it wants them."""
    fixed: Mapping[str, Any] = NO_ARGUMENTS
    """Keyword arguments of the constructor that make it this ranker."""
    learns: bool = True
    """Whether it learns what comes next; its scores are then probabilities."""

    def build(self, weights: Mapping[str, float], vectors: Any, seed: int, **parameters: Any) -> Any:
        """A ranker that has learnt nothing; `parameters` are keyword arguments of its constructor."""
        return _build(self.path, self.fixed, {"vectors": vectors, "seed": seed}, weights, **parameters)


def load(path: str) -> Any:
    """Import the class of a row."""
    module, _, name = path.rpartition(".")
    return getattr(import_module(f"models.{module}"), name)


def _build(
    path: str, fixed: Mapping[str, Any], offered: Mapping[str, Any], first: Any, **parameters: Any
) -> Any:
    """Call the constructor with what it accepts of `offered`.

    Raises `TypeError` on a parameter that it does not have, or that the row fixes.
    """
    constructor = load(path)
    accepted = inspect.signature(constructor).parameters
    wanted = {name: value for name, value in offered.items() if name in accepted}
    return constructor(first, **wanted, **fixed, **parameters)


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
    "session-knn": GeneratorRow("retrieval.session_knn.SessionKnn", reason="in sessions with ", weight=0.5),
    "user-knn": GeneratorRow("retrieval.session_knn.SessionKnn", {"by": "user"}, "by users with "),
    "embedding": GeneratorRow("retrieval.two_tower.TwoTower", {"tower": "mean"}, "similar to ", weight=0.1),
    "matrix-factorisation": GeneratorRow(
        "retrieval.matrix_factorisation.MatrixFactorisation", reason="similar to "
    ),
    "gru": GeneratorRow("retrieval.two_tower.TwoTower", {"tower": "gru"}, "similar to "),
    "transformer": GeneratorRow("retrieval.two_tower.TwoTower", {"tower": "transformer"}, "similar to "),
    "popularity": GeneratorRow("retrieval.popularity.Popularity", decays=True, weight=0.05),
    "trending": GeneratorRow("retrieval.popularity.Popularity", defaults=_TRENDING, decays=True, weight=0.05),
    "context-popularity": GeneratorRow("retrieval.context.ContextPopularity", decays=True),
    "context-trending": GeneratorRow("retrieval.context.ContextPopularity", defaults=_TRENDING, decays=True),
    "history": GeneratorRow("retrieval.history.History", reason="seen before: ", weight=0.2),
    "graph": GeneratorRow("retrieval.graph.Walks", reason="a few steps from "),
}

RANKERS: dict[str, RankerRow] = {
    "blend": RankerRow("ranking.blend.Blend", learns=False),
    "linear": RankerRow("ranking.mlp.Mlp", {"hidden": 0}),
    "mlp": RankerRow("ranking.mlp.Mlp"),
    "neumf": RankerRow("ranking.deep.Deep", {"interaction": "neumf"}),
    "din": RankerRow("ranking.deep.Deep", {"interaction": "din"}),
}


def default_weights() -> dict[str, float]:
    """The generators that are on by default and their weights in the blend, heaviest first.

    >>> list(default_weights().items())[:2]
    [('next', 1.0), ('previous', 0.6)]
    """
    weights = {name: row.weight for name, row in GENERATORS.items() if row.weight}
    return dict(sorted(weights.items(), key=lambda item: -item[1]))
