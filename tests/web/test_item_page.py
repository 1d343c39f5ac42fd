"""The page of an item: neighbours, what is recommended beside it, what the model does not know."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from confluent_kafka import KafkaError, KafkaException

from models.model import Model
from streams.catalog_messages import CatalogItem
from streams.messages import MAX_TIME_MS, Recommendation, Recommended, encode
from streams.monitor import exposure
from streams.web.item_page import most_similar
from tests.models.arrays import example
from tests.web.worker import BROWSER, NOW, Page, Worker, get, get_json, strict


def test_an_items_page_has_its_neighbours_by_each_generator(worker: Worker):
    figures = get_json(worker, "/items/c")
    assert (figures["item"], figures["events"]) == ("c", 10)
    assert figures["row"] == worker.serving.model.items.row("c")
    assert figures["popularity"] == pytest.approx(10, abs=0.01)
    assert NOW <= figures["first_seen"] < figures["last_seen"] < NOW + 120, "numbers of the examples"
    assert figures["beside"] == {"lists": 0, "with_it": 0, "items": []}
    assert list(figures["neighbours"]) == list(worker.settings.generators)
    assert figures["neighbours"].pop("history") == [], "an item alone has no other in its history"
    assert figures["neighbours"].pop("content") == [], "there is no catalog"
    for items in figures["neighbours"].values():
        named = [entry["item"] for entry in items]
        assert named
        assert "c" not in named
        assert len(set(named)) == len(named)
        scores = [entry["score"] for entry in items]
        assert scores == sorted(scores, reverse=True)
    assert figures["neighbours"]["next"][0]["item"] == "d"
    assert figures["neighbours"]["previous"][0]["item"] == "b"
    text = Page(get(worker, "/items/c", BROWSER)[1]).text
    assert all(name in text for name in figures["neighbours"])


def test_an_items_page_has_what_it_is_recommended_beside(tmp_path, recommendations: list[Any], monkeypatch):
    worker = Worker(tmp_path / "data")
    worker.learn()
    for items in ("cab", "cb", "ab"):
        listed = [Recommended(item=item, score=1.0, reason="") for item in items]
        recommendation = Recommendation(
            recommendation_id="r", user="u", time=0, event_id="e", event_type="view", items=listed,
            checkpoint=1, age_ms=1, model_age_ms=None,
        )  # fmt: skip
        recommendations.append(
            SimpleNamespace(value=lambda recommendation=recommendation: encode(recommendation))
        )
    recommendations.append(SimpleNamespace(value=lambda: None))
    beside = get_json(worker, "/items/c")["beside"]
    assert beside == {
        "lists": 3, "with_it": 2, "items": [{"item": "b", "lists": 2}, {"item": "a", "lists": 1}]
    }  # fmt: skip
    assert "2 of the latest 3 lists" in get(worker, "/items/c", BROWSER)[1]

    def fail(*args: Any) -> None:
        raise KafkaException(KafkaError(KafkaError._TRANSPORT))

    monkeypatch.setattr(exposure, "latest", fail)
    worker = Worker(tmp_path / "other")
    worker.learn()
    assert get_json(worker, "/items/c")["beside"] is None
    assert "Recommended beside" not in get(worker, "/items/c", BROWSER)[1]


def test_a_model_without_popularity_says_nothing_of_it(tmp_path):
    worker = Worker(tmp_path / "data")
    worker.serving.model = model = Model(["next"], 10)
    model.learn([example(item, "a", offset=n, time=NOW) for n, item in enumerate("ab")])
    figures = get_json(worker, "/items/a")
    assert figures["events"] is None
    assert figures["popularity"] is None
    assert [entry["item"] for entry in figures["neighbours"]["next"]] == ["b"]
    assert get(worker, "/items/a", BROWSER)[0] == 200


def test_an_item_is_unknown_only_once_the_model_is_there(tmp_path):
    worker = Worker(tmp_path / "data")
    worker.serving.replica._caught_up.clear()
    assert strict(get(worker, "/health/ready")[1])["waiting_for"] == ["the model is being read"]
    assert get(worker, "/items/a")[0] == 503
    worker.serving.replica._caught_up.set()
    assert get(worker, "/items/a")[0] == 404


def test_the_nearest_are_selected_and_only_they_are_sorted(monkeypatch):
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(5_000, 8)).astype(np.float32)
    unit = vectors / np.linalg.norm(vectors, axis=1)[:, None]
    cosine = unit @ unit[7]
    expected = [row for row in np.argsort(-cosine).tolist() if row != 7][:20]
    sorted_sizes = []
    for name in ("argsort", "sort", "lexsort"):
        sort = getattr(np, name)
        monkeypatch.setattr(
            np, name, lambda a, *more, sort=sort: sorted_sizes.append(np.shape(a)[-1]) or sort(a, *more)
        )
    rows, scores = most_similar(vectors, 7, 20)
    assert rows.tolist() == expected
    assert scores == pytest.approx(cosine[expected], abs=1e-5)
    assert max(sorted_sizes) <= 20


def test_the_nearest_of_a_few_are_all_others():
    vectors = np.eye(3, dtype=np.float32) + 1
    assert most_similar(vectors, 1, 20)[0].tolist() == [0, 2]
    assert most_similar(vectors[:1], 0, 20)[0].tolist() == []


def test_an_items_page_has_what_the_catalog_says_and_why_it_is_not_recommended(tmp_path):
    worker = Worker(tmp_path / "data")
    worker.learn()
    assert get_json(worker, "/items/c")["catalog"] is None
    title = "<script>alert(1)</script> \u202egnp.exe 😀"
    items = [
        CatalogItem(item="a", title=title, brand="Fjell", tags=["x", "y"], attributes={"<b>": 2}),
        CatalogItem(item="b", available=False, vectors={"image": [0.5, 1]}),
        CatalogItem(item="c", since=MAX_TIME_MS),
        CatalogItem(item="d", until=5),
        CatalogItem(item="no row"),
    ]
    store = worker.list_items(*items)
    reasons = {"a": None, "b": "it is sold out", "c": "its time has not come", "d": "its time is over"}
    reasons |= {"e": "it is not in the catalog", "no row": "it has no row in the model"}
    for item, reason in reasons.items():
        figures = get_json(worker, f"/items/{item.replace(' ', '%20')}")["catalog"]
        assert (figures["offered"], figures["why_not"]) == (reason is None, reason)
        page = get(worker, f"/items/{item.replace(' ', '%20')}", BROWSER)[1]
        assert (f"Not recommended: {reason}." in page) == (reason is not None)
        assert "<script>alert" not in page
    assert get_json(worker, "/items/a")["catalog"]["title"] == title
    assert get_json(worker, "/items/b")["catalog"]["vectors"] == {"image": 2}, "their lengths"
    assert "Fjell" in get(worker, "/items/a", BROWSER)[1]
    assert get(worker, "/items/nothing")[0] == 404
    store.close()
