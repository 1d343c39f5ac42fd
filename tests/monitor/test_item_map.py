"""The item map: planted axes are found, signs stay, movement and counts are exact."""

import asyncio
from types import SimpleNamespace

import numpy as np
import pytest

from models.core import Example
from models.model import Model
from models.units import HOUR_MS, MINUTE_MS
from streams.monitor import item_map as module
from streams.monitor.item_map import (
    EventCounts,
    ItemMap,
    busiest_rows,
    movement,
    principal_axes,
)


def planted(seed: int = 0) -> np.ndarray:
    """500 points that lie along two directions of 16, with a little noise."""
    rng = np.random.default_rng(seed)
    directions = np.linalg.qr(rng.normal(size=(16, 2)))[0]
    plane = rng.normal(size=(500, 2)) * [5, 2]
    return (plane @ directions.T + rng.normal(size=(500, 16)) * 0.05).astype(np.float32)


def test_planted_directions_are_found():
    vectors = planted()
    axes, share = principal_axes(vectors)
    assert share > 0.99
    assert np.allclose(axes.T @ axes, np.eye(2), atol=1e-5)
    spread = ((vectors - vectors.mean(0)) @ axes).std(0)
    assert spread == pytest.approx([5, 2], rel=0.1)


def test_a_map_does_not_flip_from_one_minute_to_the_next():
    vectors = planted()
    axes, _ = principal_axes(vectors)
    rng = np.random.default_rng(1)
    for _ in range(5):
        again, _ = principal_axes(vectors + rng.normal(size=vectors.shape).astype(np.float32) * 0.01, axes)
        assert ((again * axes).sum(0) > 0.9).all()
    mirrored, _ = principal_axes(vectors, -axes)
    assert ((mirrored * axes).sum(0) < -0.9).all()


def test_movement_is_a_share_of_the_mean_length_and_new_items_did_not_move():
    vectors = np.array([[3, 4], [0, 5], [5, 0]], np.float32)
    before = {"a": np.array([3, 4], np.float16), "b": np.array([0, 2.5], np.float16)}
    assert movement(["a", "b", "c"], vectors, before).tolist() == [0, 0.5, 0]


def test_the_busiest_items_are_shown(monkeypatch):
    monkeypatch.setattr("streams.monitor.item_map.MAX_ITEMS", 3)
    assert busiest_rows(np.array([0, 7, 1, 9, 0, 3], np.int32)).tolist() == [3, 1, 5]


def test_counts_are_what_came_in_each_step():
    counted = EventCounts(MINUTE_MS, 3)
    for minute, total in enumerate([5, 8, 8, 20, 21]):
        counted.add(minute * MINUTE_MS, np.array([total], np.int32))
        counted.add(minute * MINUTE_MS + 500, np.array([99], np.int32))
    assert [step["events"] for step in counted.by_step(0, 24)] == [0, 12, 1, 3]
    assert [step["events"] for step in counted.by_step(7, 4)] == [0, 0, 0, 4], "a row that is new"
    assert EventCounts(MINUTE_MS, 3).by_step(0, 5) == []


def test_the_map_is_computed_from_a_model_and_follows_it():
    model = Model(["embedding", "popularity"], 100)
    seen = [f"i{n % 12}" for n in range(300)]

    def learn(start: int) -> None:
        model.learn(
            [
                Example("u", start + n, n, "click", seen[n + 1], history=(seen[n],), session_size=1)
                for n in range(200)
            ]
        )

    item_map = ItemMap(model)
    item_map.refresh(0)
    assert item_map.map is None, "nothing is known yet"
    learn(0)
    item_map.refresh(MINUTE_MS)
    assert set(item_map.map.items) == {f"i{n}" for n in range(12)}
    assert item_map.map.movement.max() == 0
    learn(1000)
    item_map.refresh(HOUR_MS)
    assert item_map.map.movement.min() > 0
    assert item_map.map.movement_s == (HOUR_MS - MINUTE_MS) / 1000
    row = model.items.row("i1")
    events = int(model.generators["popularity"].events[row])
    assert sum(step["events"] for step in item_map.day.by_step(row, events)) == events


def test_counts_are_read_while_the_thread_that_refreshes_adds_to_them():
    class Totals:
        """Totals at whose reading the other thread comes in between."""

        def copy(self):
            return self

        def __len__(self):
            counts.add(20 * MINUTE_MS, np.ones(1, np.int32))
            return 1

        def __getitem__(self, row):
            return 3

    counts = EventCounts(MINUTE_MS, slots=60)
    counts.add(MINUTE_MS, Totals())
    assert counts.by_step(0, 5) == [{"since": MINUTE_MS, "events": 2}]


def test_the_first_maps_are_refreshed_sooner_than_later_ones(monkeypatch):
    now, refreshed = [100.0], []
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    item_map = ItemMap(Model(["popularity"], capacity=10))

    def refresh(at: int) -> None:
        refreshed.append(now[0] - 100)
        item_map.map = object() if now[0] >= 110 else None

    monkeypatch.setattr(item_map, "refresh", refresh)
    task = item_map.background_task()
    for _ in range(60):
        asyncio.run(task.run())
        now[0] += task.every_s
    assert refreshed == [0, 5, 10, 15, 25, 45, 85, 145, 205, 265]
