"""The learner on the embedded broker: it restores, learns each example once, publishes, and stops."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer

from models.checkpoint import Checkpoint
from models.core import Example, Query
from models.model import Model
from models.units import HOUR_MS
from streams.kafka.model_reader import restore
from streams.kafka.model_writer import Fenced, ModelWriter
from streams.messages import encode
from streams.runtime import learning as module
from streams.runtime.factory import make_model, make_recommender
from streams.runtime.learning import Learning, learn_while_leading
from streams.settings import Settings
from tests.waiting import PATIENCE_S, until

N = 60
QUERIES = [Query((f"item-{n}",), 1, 0) for n in range(9)]


@pytest.fixture
def settings(embedded, tmp_path) -> Settings:
    """Settings of topics of their own, and of a model that compiles quickly."""
    settings = Settings(
        brokers=embedded.brokers, embedded=True, topic_prefix=f"{uuid4().hex}.", data_dir=tmp_path,
        generators={"next": 1.0, "popularity": 0.1}, ranker="blend", max_items=100, frozen_twin_h=0,
        measure_every=1, publish_interval_s=0.01,
    )  # fmt: skip
    embedded.create(*map(settings.topic, ("examples", "model", "catalog")))
    return settings


def examples(start: int = 0, end: int = N) -> list[Example]:
    """Examples of one partition of events, in the order of their offsets."""
    return [
        Example("u", n, n, "view", f"item-{n * n % 9}", history=(f"item-{(n - 1) ** 2 % 9}",), session_size=1)
        for n in range(start, end)
    ]


def publish(settings: Settings, values: list[bytes]) -> None:
    producer = Producer({"bootstrap.servers": settings.brokers})
    for value in values:
        producer.produce(settings.topic("examples"), value, partition=0)
    producer.flush()


def learner(settings: Settings, current: Callable[[], Settings] | None = None) -> Learning:
    return Learning(settings, current or (lambda: settings))


@contextmanager
def running(learning: Learning) -> Iterator[Future[None]]:
    """Runs until the end of the block; raises what `run` raised."""
    stop = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        work = pool.submit(learning.run, stop)
        try:
            yield work
        finally:
            stop.set()
    work.result()


def wait_for(condition: Callable[[], bool]) -> None:
    asyncio.run(until(condition))


def published(settings: Settings) -> tuple[Model, Checkpoint]:
    """The model and the checkpoint on the topic."""
    model = make_model(settings)
    return model, restore(settings, [model], threading.Event()).checkpoint


def slates(settings: Settings, model: Model) -> list[Any]:
    return make_recommender(settings, model).recommend(QUERIES, 5)


def test_it_learns_each_example_once_and_publishes_the_model(settings: Settings):
    values = [encode(example) for example in examples()]
    publish(settings, [*values, values[7], b"{"])
    learning = learner(settings)
    with running(learning):
        wait_for(lambda: learning.checkpoint.read == N + 2)
        wait_for(lambda: learning.lag == 0)
        assert learning.active
        assert learning.items == 4, "squares have four residues of 9"
    assert not learning.active
    assert learning.began == Checkpoint(), "there was no model to take over"
    model, checkpoint = published(settings)
    assert checkpoint == learning.checkpoint
    assert (checkpoint.examples, checkpoint.repeated, checkpoint.unusable) == (N, 1, 1)
    assert (checkpoint.positions[0], checkpoint.learnt_to[0]) == (N + 2, N - 1)
    uninterrupted = make_model(settings)
    uninterrupted.learn(examples())
    assert slates(settings, model) == slates(settings, uninterrupted)
    assert learning.quality is not None
    assert learning.quality.totals["quality:now|all|predictions"] == N


def test_a_successor_continues_where_the_published_model_ends(settings: Settings):
    values = [encode(example) for example in examples(end=2 * N)]
    first, second = learner(settings), learner(settings)
    publish(settings, values[:N])
    with running(first):
        wait_for(lambda: first.checkpoint.examples == N)
    publish(settings, values[N:])
    with running(second):
        wait_for(lambda: second.checkpoint.examples == 2 * N)
    assert second.began == first.checkpoint
    assert second.checkpoint.number > first.checkpoint.number
    uninterrupted = make_model(settings)
    uninterrupted.learn(examples(end=2 * N))
    assert slates(settings, published(settings)[0]) == slates(settings, uninterrupted)


def test_the_lag_is_what_is_not_learnt_yet(settings: Settings):
    publish(settings, [encode(example) for example in examples()])
    settings = settings.model_copy(update={"learn_batch": 1})
    lags: list[int] = []

    def current() -> Settings:
        lags.append(learning.lag)
        return settings

    learning = learner(settings, current)
    with running(learning):
        wait_for(lambda: learning.checkpoint.examples == N)
        wait_for(lambda: learning.lag == 0)
    assert N - 1 <= max(lags) <= N, "before or after the first example"
    falling = lags[lags.index(max(lags)) :]
    assert falling == sorted(falling, reverse=True)


def test_half_lives_follow_the_changed_settings(settings: Settings):
    current = settings
    learning = learner(settings, lambda: current)
    with running(learning):
        wait_for(lambda: bool(learning.half_lives_ms))
        configured = learning.half_lives_ms
        current = settings.model_copy(update={"half_lives_h": {"popularity": 6}})
        wait_for(lambda: learning.half_lives_ms == configured | {"popularity": 6 * HOUR_MS})
        current = settings
        wait_for(lambda: learning.half_lives_ms == configured)


def test_stopped_before_the_start_it_publishes_nothing(settings: Settings):
    publish(settings, [encode(example) for example in examples()])
    learning, stop = learner(settings), threading.Event()
    stop.set()
    learning.run(stop)
    assert not learning.active
    assert published(settings)[1] == Checkpoint()


def test_a_learner_of_other_parameters_starts_over_with_what_changed_and_deletes_its_rows(
    settings: Settings, monkeypatch
):
    """The deletions need no example to come with, and are a few at a time."""
    monkeypatch.setattr(module, "DELETED_AT_ONCE", 3)
    publish(settings, [encode(example) for example in examples()])
    first = learner(settings)
    with running(first):
        wait_for(lambda: first.checkpoint.examples == N)
    assert (first.differences, first.unread, first.deleted) == ([], {}, 0)
    settings = settings.model_copy(update={"model_parameters": {"next": {"neighbours": 8}}})
    second = learner(settings)
    with running(second):
        wait_for(lambda: second.deleted == 4)
        assert second.differences == [
            "next starts over: model_parameters.next.neighbours: this learner has 8, the published model 48"
        ]
        assert second.unread == {}
        assert second.checkpoint.number == first.checkpoint.number + 2
        publish(settings, [encode(example) for example in examples(N, 2 * N)])
        wait_for(lambda: second.checkpoint.examples == 2 * N)
    model, checkpoint = published(settings)
    assert checkpoint.layouts["next"]["key"] == f"next.{first.checkpoint.number + 1}"
    assert model.popularity.events.sum() == 2 * N
    after = make_model(settings)
    after.learn(examples(N, 2 * N))
    assert model.generators["next"].state["weights"].sum() == after.generators["next"].state["weights"].sum()
    third = learner(settings)
    with running(third):
        wait_for(lambda: third.active)
        assert (third.differences, third.unread) == ([], {})


def test_a_learner_has_room_for_the_published_model(settings: Settings):
    publish(settings, [encode(example) for example in examples()])
    first = learner(settings)
    with running(first):
        wait_for(lambda: first.checkpoint.examples == N)
    assert (first.checkpoint.max_items, first.checkpoint.item_rows) == (100, 4)
    for max_items, used in ((3, 100), (4, 4)):
        smaller = learner(settings.model_copy(update={"max_items": max_items}))
        publish(settings, [encode(example) for example in examples(N, N + max_items)])
        with running(smaller):
            wait_for(lambda n=max_items, each=smaller: each.checkpoint.examples >= N + n)
        assert smaller.checkpoint.max_items == used
        assert smaller.items == 4


class FailingWriter(ModelWriter):
    """Raises `errors` one after another instead of publishing, and then publishes."""

    errors: list[Exception]

    def publish(self, rows: Mapping[bytes, bytes | None], checkpoint: Checkpoint) -> None:
        if self.errors:
            raise self.errors.pop(0)
        super().publish(rows, checkpoint)


@pytest.fixture
def failing(monkeypatch) -> type[FailingWriter]:
    monkeypatch.setattr(module, "ModelWriter", FailingWriter)
    return FailingWriter


def test_a_fenced_learner_ends_and_its_checkpoint_does_not_count(settings: Settings, failing):
    failing.errors = [Fenced("another learner took over")]
    publish(settings, [encode(example) for example in examples()])
    learning = learner(settings)
    with pytest.raises(Fenced), running(learning) as work:
        wait_for(work.done)
    assert not learning.active
    assert learning.checkpoint == published(settings)[1] == Checkpoint()


def test_what_was_not_published_is_learnt_again(settings: Settings, failing):
    failing.errors = [KafkaException(KafkaError(KafkaError._TIMED_OUT))]
    publish(settings, [encode(example) for example in examples()])
    learning = learner(settings)
    with pytest.raises(KafkaException), running(learning) as work:
        wait_for(work.done)
    with running(learning):
        wait_for(lambda: learning.checkpoint.examples == N)
    assert learning.checkpoint.repeated == 0
    uninterrupted = make_model(settings)
    uninterrupted.learn(examples())
    assert slates(settings, published(settings)[0]) == slates(settings, uninterrupted)


def leadership(learning: Learning, loaded: asyncio.Event | None = None) -> Any:
    """The service that runs the learner of an app; changes of settings are loaded when `loaded` is set."""
    services: list[type] = []

    async def wait() -> None:
        if loaded is not None:
            await loaded.wait()

    learn_while_leading(SimpleNamespace(service=services.append), learning, wait)
    (service,) = services
    return service()


def test_while_it_leads_it_learns_and_at_the_end_publishes(settings: Settings):
    settings = settings.model_copy(update={"publish_interval_s": PATIENCE_S})
    publish(settings, [encode(example) for example in examples()])

    async def run() -> None:
        learning = learner(settings)
        assert learning.waiting_for == ["the learners are electing a leader"]
        service = leadership(learning)
        await service.start()
        await until(lambda: learning.active and learning.items > 0 and learning.lag == 0)
        assert learning.leads
        assert learning.waiting_for == []
        await service.stop()
        assert not learning.active
        assert published(settings)[1].examples == learning.checkpoint.examples == N

    asyncio.run(run())


def test_nothing_is_learnt_before_the_changed_settings_are_loaded(settings: Settings):
    publish(settings, [encode(example) for example in examples()])

    async def run() -> None:
        learning, loaded = learner(settings), asyncio.Event()
        service = leadership(learning, loaded)
        await service.start()
        await asyncio.sleep(0)
        assert learning.leads is None
        loaded.set()
        await until(lambda: learning.active and learning.items > 0)
        await service.stop()

    asyncio.run(run())


def test_a_process_whose_learner_was_fenced_crashes(settings: Settings, failing):
    failing.errors = [Fenced("another learner took over")]
    publish(settings, [encode(example) for example in examples()])

    async def run() -> None:
        service = leadership(learner(settings))
        await service.start()
        await until(lambda: service.crashed)
        assert isinstance(service.crash_reason, Fenced)
        await service.stop()

    asyncio.run(run())
