"""Name ▶ constructor of every candidate generator and ranker.  A new one is a file and a line here.

A generator's constructor takes capacity, seed, a ranker's the generators by name with their weights in the
blend, one of them that has vectors (or None), and seed; both take hyper-parameters by name
(`Model(parameters=...)`).

The imports are late because the names are needed where the models are not (settings, --help).
"""

from collections.abc import Callable, Mapping
from typing import Any

from models.core import Embedded, Generator, Ranker

TRENDING_HALF_LIFE_MS = 2 * 3_600_000.0
"""A float, as all half-lives are by default: kernels are compiled once for each type."""


def _next(capacity: int, seed: int, **more: Any) -> Generator:
    from models.retrieval.covisitation import CoVisitation

    return CoVisitation(capacity, direction="next", **more)


def _previous(capacity: int, seed: int, **more: Any) -> Generator:
    from models.retrieval.covisitation import CoVisitation

    return CoVisitation(capacity, direction="previous", **more)


def _session_knn(capacity: int, seed: int, **more: Any) -> Generator:
    from models.retrieval.session_knn import SessionKnn

    return SessionKnn(capacity, **more)


def _user_knn(capacity: int, seed: int, **more: Any) -> Generator:
    from models.retrieval.session_knn import SessionKnn

    return SessionKnn(capacity, by="user", **more)


def _embedding(capacity: int, seed: int, **more: Any) -> Generator:
    from models.retrieval.two_tower import TwoTower

    return TwoTower(capacity, tower="mean", seed=seed, **more)


def _matrix_factorisation(capacity: int, seed: int, **more: Any) -> Generator:
    from models.retrieval.matrix_factorisation import MatrixFactorisation

    return MatrixFactorisation(capacity, seed=seed, **more)


def _gru(capacity: int, seed: int, **more: Any) -> Generator:
    from models.retrieval.two_tower import TwoTower

    return TwoTower(capacity, tower="gru", seed=seed, **more)


def _transformer(capacity: int, seed: int, **more: Any) -> Generator:
    from models.retrieval.two_tower import TwoTower

    return TwoTower(capacity, tower="transformer", seed=seed, **more)


def _popularity(capacity: int, seed: int, **more: Any) -> Generator:
    from models.retrieval.popularity import Popularity

    return Popularity(capacity, **more)


def _trending(capacity: int, seed: int, **more: Any) -> Generator:
    from models.retrieval.popularity import Popularity

    return Popularity(capacity, **{"half_life_ms": TRENDING_HALF_LIFE_MS, **more})


def _context_popularity(capacity: int, seed: int, **more: Any) -> Generator:
    from models.retrieval.context import ContextPopularity

    return ContextPopularity(capacity, **more)


def _context_trending(capacity: int, seed: int, **more: Any) -> Generator:
    from models.retrieval.context import ContextPopularity

    return ContextPopularity(capacity, **{"half_life_ms": TRENDING_HALF_LIFE_MS, **more})


def _graph(capacity: int, seed: int, **more: Any) -> Generator:
    from models.retrieval.graph import Walks

    return Walks(capacity, **more)


def _history(capacity: int, seed: int, **more: Any) -> Generator:
    from models.retrieval.history import History

    return History(capacity, **more)


GENERATORS: dict[str, Callable[..., Generator]] = {
    "next": _next,
    "previous": _previous,
    "session-knn": _session_knn,
    "user-knn": _user_knn,
    "embedding": _embedding,
    "matrix-factorisation": _matrix_factorisation,
    "gru": _gru,
    "transformer": _transformer,
    "popularity": _popularity,
    "trending": _trending,
    "context-popularity": _context_popularity,
    "context-trending": _context_trending,
    "history": _history,
    "graph": _graph,
}


FORGETTING = ("next", "previous", "popularity", "trending", "context-popularity", "context-trending")
"""Generators that have a half-life."""


def _blend(weights: Mapping[str, float], vectors: Embedded | None, seed: int) -> Ranker:
    from models.ranking.blend import Blend

    return Blend(weights)


def _linear(weights: Mapping[str, float], vectors: Embedded | None, seed: int, **more: Any) -> Ranker:
    from models.ranking.mlp import Mlp

    return Mlp(weights, hidden=0, seed=seed, **more)


def _mlp(weights: Mapping[str, float], vectors: Embedded | None, seed: int, **more: Any) -> Ranker:
    from models.ranking.mlp import Mlp

    return Mlp(weights, seed=seed, **more)


def _neumf(weights: Mapping[str, float], vectors: Embedded | None, seed: int, **more: Any) -> Ranker:
    from models.ranking.deep import Deep

    return Deep("neumf", weights, vectors, seed=seed, **more)


def _din(weights: Mapping[str, float], vectors: Embedded | None, seed: int, **more: Any) -> Ranker:
    from models.ranking.deep import Deep

    return Deep("din", weights, vectors, seed=seed, **more)


RANKERS: dict[str, Callable[..., Ranker]] = {
    "blend": _blend,
    "linear": _linear,
    "mlp": _mlp,
    "neumf": _neumf,
    "din": _din,
}
