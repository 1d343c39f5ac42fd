"""Name ▶ constructor of every candidate generator.  A new one is a file and a line here.

The imports are late because the names are needed where the models are not (settings, --help).
"""

from collections.abc import Callable

from models.core import Generator


def _next(capacity: int, seed: int) -> Generator:
    from models.retrieval.covisitation import CoVisitation

    return CoVisitation(capacity, direction="next")


def _previous(capacity: int, seed: int) -> Generator:
    from models.retrieval.covisitation import CoVisitation

    return CoVisitation(capacity, direction="previous")


def _embedding(capacity: int, seed: int) -> Generator:
    from models.retrieval.embedding import Embedding

    return Embedding(capacity, seed=seed)


def _popularity(capacity: int, seed: int) -> Generator:
    from models.retrieval.popularity import Popularity

    return Popularity(capacity)


GENERATORS: dict[str, Callable[[int, int], Generator]] = {
    "next": _next,
    "previous": _previous,
    "embedding": _embedding,
    "popularity": _popularity,
}
