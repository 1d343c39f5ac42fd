"""Ranks that are computed together are those of each recommender by itself."""

import numpy as np
import pytest

from models.core import Example, Query
from models.evaluation.comparison import Comparison
from models.evaluation.metrics import ranks
from models.model import Model
from models.recommender import Recommender
from models.registry import GENERATORS, default_weights

K = 5


def learnt(generators, items: int, seed: int) -> tuple[Model, list[Query], list[str]]:
    """A model, queries, and the items that came next: some unknown, some the latest, many alike."""
    rng, model, recent = np.random.default_rng(seed), Model(generators, 200, rankers=["mlp"]), {}
    examples = []
    for n in range(400):
        user, item = f"u{rng.integers(12)}", f"i{int(items * rng.random() ** 2)}"
        history = recent.get(user, ())
        examples.append(
            Example(
                user, n, 1000 * n, "view", item, history=history[-9:], session_size=min(n % 5, len(history))
            )
        )
        recent[user] = (*history, item)
    for at in range(0, 300, 20):
        model.learn(examples[at : at + 20])
    asked = [e for e in examples[300:] if e.history]
    queries = [Query(e.history, e.session_size or 32, e.time) for e in asked]
    return model, queries, [f"i{items + 9}" if n % 11 == 0 else e.item for n, e in enumerate(asked)]


def ranks_alone(recommender: Recommender, model: Model, queries, items) -> list[int]:
    latest = np.array(model.items.rows(query.history[-1] for query in queries), np.int32)
    best = recommender.rank(model.queries(queries), latest[:, None], K + 1)
    return ranks(best.rows, best.scores, np.array(model.items.rows(items), np.int32), K).tolist()


@pytest.mark.parametrize("items", [4, 30, 150])
@pytest.mark.parametrize(
    "generators", [default_weights(), dict.fromkeys(GENERATORS, 1.0)], ids=["default", "all"]
)
def test_ranks_are_those_of_each_recommender_by_itself(generators, items):
    model, queries, targets = learnt(generators, items, seed=items)
    comparison = Comparison(model, queries, targets, K)
    some_rank = 0
    for recommender in (Recommender(model, generators, "mlp"), Recommender(model, generators)):
        expected = ranks_alone(recommender, model, queries, targets)
        assert comparison.rank(recommender)[1].tolist() == expected
        some_rank += sum(expected)
    for name in generators:
        expected = ranks_alone(Recommender(model, {name: 1.0}), model, queries, targets)
        assert comparison.alone(name).tolist() == expected, name
        some_rank += sum(expected)
    assert some_rank > 0
