"""The catalog of a process, on the embedded broker."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from uuid import uuid4

import numpy as np
import pytest
from confluent_kafka import Producer

from models.core import Example, Query
from models.model import Model
from models.recommender import Recommender
from streams.catalog_messages import CatalogItem, encode_item
from streams.kafka.catalog_store import CatalogStore
from streams.kafka.damage import StoreFailed
from streams.runtime.catalog import LiveCatalog
from streams.runtime.recommenders import PART, OfferedRecommender
from streams.settings import Settings
from tests.broker.cluster import wait_for


@pytest.fixture
def settings(embedded, tmp_path) -> Settings:
    settings = Settings(
        brokers=embedded.brokers, embedded=True, topic_prefix=f"{uuid4().hex}.", data_dir=tmp_path
    )
    embedded.create(settings.topic("catalog"))
    return settings


def publish(settings: Settings, *items: CatalogItem, **raw: bytes | None) -> None:
    producer = Producer({"bootstrap.servers": settings.brokers})
    for item in items:
        producer.produce(settings.topic("catalog"), encode_item(item), item.item, 0)
    for key, value in raw.items():
        producer.produce(settings.topic("catalog"), value, key, 0)
    producer.flush()


def clicked(*items: str) -> Model:
    model = Model(["popularity"], capacity=100)
    model.learn([Example("u", n, n, "view", item) for n, item in enumerate(items)])
    return model


@contextmanager
def following(settings: Settings, *models: Model, **options) -> Iterator[LiveCatalog]:
    """A catalog that has read everything."""
    catalog = LiveCatalog(settings, models, **options)
    catalog.start()
    try:
        wait_for(lambda: catalog.advance(1) or catalog.ready, "the catalog is read")
        yield catalog
    finally:
        catalog.stop()


def offered(model: Model) -> list[str]:
    return [item for row, item in enumerate(model.items.ids) if item and model.catalog.offered[row]]


def test_without_a_record_everything_is_offered(settings):
    model = clicked("a", "b")
    with following(settings, model):
        assert offered(model) == ["a", "b"]


def test_a_change_is_applied_and_a_restart_reads_the_rest(settings):
    model = clicked("a", "b", "c")
    publish(settings, CatalogItem(item="a"), CatalogItem(item="b", available=False), CatalogItem(item="new"))
    with following(settings, model) as catalog:
        assert (offered(model), catalog.size, catalog.without_row) == (["a"], 3, 1)
        publish(settings, CatalogItem(item="b"), a=None)
        wait_for(lambda: catalog.advance(1) or offered(model) == ["b"], "the change")
        model.learn([Example("u", 9, 9, "view", "new")])
        wait_for(lambda: catalog.advance(1) or offered(model) == ["b", "new"], "its first row")
    publish(settings, CatalogItem(item="c"), b=None)
    model = clicked("a", "b", "c", "new")
    with following(settings, model) as catalog:
        assert (offered(model), catalog.size) == (["c", "new"], 2)


def test_a_record_that_cannot_be_used_withdraws_and_is_passed_on(settings):
    model, rejected = clicked("a", "b"), []
    publish(settings, CatalogItem(item="a"), CatalogItem(item="b"))
    publish(settings, a=b'{"item":"b"}')
    with following(settings, model, reject=lambda *args: rejected.append(args)) as catalog:
        assert (offered(model), catalog.rejected) == (["b"], 1)
    ((record, error),) = rejected
    assert (record.key, record.offset, error.reason) == (b"a", 2, "wrong-key")


def test_a_vector_of_another_length_is_left_out_and_the_item_is_used(settings):
    settings = settings.model_copy(update={"catalog_vectors": {"image": 2}})
    model, rejected = Model(["popularity"], 100, kept=settings.kept), []
    model.learn([Example("u", n, n, "view", item) for n, item in enumerate("abc")])
    publish(settings, CatalogItem(item="a", vectors={"image": [3.0, 4.0], "sound": [1.0]}))
    publish(settings, CatalogItem(item="b", vectors={"image": [3.0, 4.0, 5.0]}), CatalogItem(item="c"))
    with following(settings, model, reject=lambda *args: rejected.append(args)):
        assert offered(model) == ["a", "b", "c"]
        expected = [[0.6, 0.8], [0, 0], [0, 0]]
        assert np.allclose(model.catalog.vectors["image"][model.items.rows("abc")], expected, atol=1e-3)
    ((record, error),) = rejected
    assert (record.key, error.reason) == (b"b", "wrong-length")


def test_a_learner_reserves_rows_and_passes_all_to_its_copies(settings):
    model, copy = clicked("a"), clicked("new")
    publish(settings, CatalogItem(item="new"), CatalogItem(item="old"), CatalogItem(item="gone"), gone=None)
    for _ in range(2):  # the second one from its disk
        with following(settings, model, copy, reserve=True):
            assert (offered(model), offered(copy)) == (["new", "old"], ["new"])
        model = clicked("a")


def test_a_disk_that_fails_is_raised(settings, tmp_path, monkeypatch):
    def fail(*args):
        raise StoreFailed("data_dir: no space")

    monkeypatch.setattr(CatalogStore, "write", fail)
    publish(settings, CatalogItem(item="a"))
    catalog = LiveCatalog(settings, [clicked("a")])
    catalog.start(Path(tmp_path))
    with pytest.raises(StoreFailed, match="no space"):
        wait_for(lambda: catalog.advance(1), "an error")
    catalog.stop()


def test_lists_of_a_micro_batch_that_have_become_wrong_are_made_again(settings):
    model = clicked(*(f"i{n}" for n in range(30)))
    publish(settings, *(CatalogItem(item=f"i{n}") for n in range(30)))
    with following(settings, model) as catalog:
        inner = Recommender(model, {"popularity": 1.0})
        made = []

        def recommend(queries, k):
            made.append(len(queries))
            if len(made) == 1:
                publish(settings, i0=None)
                wait_for(lambda: catalog._entries, "the withdrawal is read")
            return inner.recommend(queries, k)

        stub = SimpleNamespace(recommend=recommend, popular=inner.popular)
        slates = OfferedRecommender(stub, catalog).recommend([Query((), 0, 9)] * (2 * PART), 30)
        assert made == [PART, PART, PART], "those of the first part are made again"
        assert {len(slate.items) for slate in slates} == {29}
        assert not any("i0" in slate.items for slate in slates)
        made.append(0)
        OfferedRecommender(stub, catalog).recommend([Query((), 0, 9)] * 3, 30)
        assert made[-1] == 3, "nothing is made again where nothing changed"
