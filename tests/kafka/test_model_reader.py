"""Reading the model: whole checkpoints for a replica, a slice at a time for both sides."""

import threading
from uuid import uuid4

import pytest
from confluent_kafka import Producer

from models.checkpoint import CHECKPOINT_KEY, Checkpoint
from models.core import Example
from models.model import Model
from streams.kafka import model_reader
from streams.kafka.model_reader import ModelReader, restore
from streams.settings import Settings

ITEMS = 900


@pytest.fixture
def settings(embedded, tmp_path):
    settings = Settings(
        brokers=embedded.brokers, embedded=True, data_dir=tmp_path, topic_prefix=f"{uuid4().hex}."
    )
    embedded.create(settings.topic("model"))
    return settings


def model() -> Model:
    return Model({"popularity": 1.0}, capacity=ITEMS)


def publish(settings: Settings, rows, *checkpoints: tuple[int, int]) -> None:
    """Rows, with a checkpoint (number, rows it says) after all of them, as in a compacted topic."""
    producer = Producer({"bootstrap.servers": settings.brokers})
    for key, value in rows:
        producer.produce(settings.topic("model"), key=key, value=value, partition=0)
    for number, count in checkpoints:
        value = Checkpoint(number=number, rows=count).encode()
        producer.produce(settings.topic("model"), key=CHECKPOINT_KEY, value=value, partition=0)
    producer.flush()


def learner() -> Model:
    learner = model()
    learner.learn([Example("u", n, n, "view", str(n % ITEMS)) for n in range(3 * ITEMS)])
    return learner


def test_a_restore_holds_a_slice_of_rows_at_most(settings, monkeypatch):
    """A compacted topic is one long checkpoint: it must not be held whole before it is applied."""
    monkeypatch.setattr(model_reader, "HELD_ROWS", 100)
    monkeypatch.setattr(model_reader, "RESTORE_SLICE", 50)
    source, restored = learner(), model()
    rows = source.dump_touched()
    assert len(rows) >= 3 * ITEMS
    publish(settings, rows.items(), (7, len(rows)))
    prepared: list[int] = []
    applied: list[int] = []
    prepare, apply = restored.prepare, restored.apply
    monkeypatch.setattr(restored, "prepare", lambda rows: prepared.append(len(rows)) or prepare(rows))
    monkeypatch.setattr(restored, "apply", lambda rows: applied.append(sum(prepared)) or apply(rows))
    checkpoint, unread = restore(settings, [restored], threading.Event())
    assert checkpoint.number == 7
    assert not unread
    assert max(prepared) <= 50
    assert max(later - earlier for earlier, later in zip([0, *applied], applied, strict=False)) <= 150
    assert restored.items.ids == source.items.ids
    assert (restored.generators["popularity"].events == source.generators["popularity"].events).all()


def test_after_the_start_rows_are_ready_once_their_checkpoint_is_whole(settings, monkeypatch):
    monkeypatch.setattr(model_reader, "HELD_ROWS", 10)
    reader = ModelReader(settings, model().prepare)
    reader.start()
    while not reader.caught_up:
        reader.read(100, 0.1)
    rows = list(learner().dump_touched().items())
    publish(settings, rows[:500])
    parts = read(reader, 500)
    assert all(part.ready is None and part.checkpoint is None for part in parts)
    publish(settings, rows[500:700], (1, 700), (2, 5))
    parts = read(reader, 200, checkpoints=2)
    ready = [(part.checkpoint.number, part.ready is not None) for part in parts if part.checkpoint]
    assert ready == [(1, True), (2, True)]
    assert reader.torn == 1, "the second says five rows and came with none"
    reader.close()


def test_a_stop_ends_a_restore(settings):
    stop = threading.Event()
    stop.set()
    assert restore(settings, [model()], stop).checkpoint == Checkpoint()


def read(reader: ModelReader, rows: int, checkpoints: int = 0) -> list[model_reader.Part]:
    """Parts with this number of rows and checkpoints."""
    parts: list[model_reader.Part] = []
    while (
        sum(len(part.rows) for part in parts) < rows or sum(bool(p.checkpoint) for p in parts) < checkpoints
    ):
        parts += reader.read(200, 0.2)
    return parts
