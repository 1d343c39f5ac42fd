"""The recommender of a worker: each placement with its own generators, rules and length."""

from types import SimpleNamespace

import numpy as np

from models.catalog import Entry, columns
from models.core import Query
from streams.runtime.recommenders import ModelRecommender
from streams.settings import Settings
from tests.models.test_catalog import learnt

PLACEMENTS = {
    "next": {"generators": {"next": 1.0}},
    "popular": {"generators": {"popularity": 1.0}, "rules": [{"rule": "not-recent", "last": 5}]},
    "same": {},
}
SETTINGS = Settings(
    generators={"next": 1.0, "popularity": 0.1},
    ranker="blend",
    max_items=200,
    rules=[{"rule": "at-most", "of": "brand", "n": 1}],
    placements=PLACEMENTS,
    ranking_threads=1,
)


def test_each_query_is_answered_by_its_placement():
    model = learnt()
    model.catalog.begin()
    rows = np.array(model.items.rows(f"i{n}" for n in range(60)), np.int32)
    model.catalog.put(rows, columns(Entry(brand=f"b{n // 3}") for n in range(60)))
    current = SimpleNamespace(number=3, time=5)
    recommender = ModelRecommender(SimpleNamespace(model=model, current=current), SETTINGS)
    plain = Query(("i4", "i5"), 2, 9000)
    queries = [plain._replace(placement=name) for name in ("same", "", "next", "popular", "next")]
    same, default, after, popular, again = recommender.recommend(queries, 5)
    assert same == default
    assert after == again
    assert "i6" in after.items[:2]
    assert set(after.reasons) <= {"often after i5", "often after i4", "popular now"}
    assert not {"i4", "i5"} & set(popular.items)
    assert len({int(item[1:]) // 3 for item in default.items}) == 5, "one of each brand"
    assert len({int(item[1:]) // 3 for item in after.items}) == 5, (
        "the rules of the settings, without its own"
    )
    assert recommender.dropped["at-most"] > 0
    assert recommender.dropped["not-recent"] > 0
    (unknown,) = recommender.recommend([plain._replace(placement="gone")], 5)
    assert unknown == default, "a placement that was taken away meanwhile"
