"""The item map and event counts by item: computed in a thread once a minute, read by the pages.

The map projects the embeddings of the items with most events on their two principal axes (PCA), with the
orientation of the map before.  Of these items the embeddings of the last hour are kept, to tell how far each
moved; of all items, up to row `MAX_COUNTED`, the events of the last hour and of the last day.
"""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.components import Embedded
from models.core import Floats, Rows
from models.model import Model
from models.units import HOUR_MS, MINUTE_MS
from streams.messages import now_ms
from streams.runtime.background import BackgroundTask

MAX_ITEMS = 2_000
"""Items on the map."""
MAX_COUNTED = 100_000
"""Rows whose events are counted over time."""
REFRESH_S, FIRST_REFRESH_S = 60.0, 5.0
KEPT = 6
"""Earlier embeddings that are kept, of the last hour."""
KEPT_EVERY_MS = HOUR_MS // KEPT
NEGLIGIBLE = 1e-3
"""Movement below this is shown as none: kept embeddings have half precision."""


@dataclass(frozen=True, slots=True)
class Map:
    """Items in two dimensions."""

    time: int
    """When it was computed, ms."""
    items: tuple[str, ...]
    positions: Floats
    """float32[n, 2]"""
    movement: Floats
    """Distance to the earlier embedding, as a share of the mean length of an embedding, float32[n]."""
    movement_s: float
    """Age of the earlier embeddings, about an hour once the worker has run for one."""
    events: NDArray[np.int32]
    """int32[n]"""
    explained: float
    """Share of the variance that the two axes explain."""


class EventCounts:
    """Events by row in each of the last `slots` steps of `step_ms`."""

    def __init__(self, step_ms: int, slots: int) -> None:
        self.step_ms = step_ms
        self._totals: deque[tuple[int, NDArray[np.int32]]] = deque(maxlen=slots + 1)

    def add(self, now: int, totals: NDArray[np.int32]) -> None:
        """Remember the totals by row, if a step has passed since those remembered last."""
        if not self._totals or now - self._totals[-1][0] >= self.step_ms:
            self._totals.append((now, totals.copy()))

    def by_step(self, row: int, total: int) -> list[dict[str, int]]:
        """`since` (ms) and `events` of each step, oldest first; `total` ends the last one, which is open."""
        remembered = tuple(self._totals)  # in one step: the thread that refreshes adds to them
        starts = [(time, int(totals[row]) if row < len(totals) else 0) for time, totals in remembered]
        ends = [*(count for _, count in starts), total][1:]
        return [
            {"since": time, "events": max(end - start, 0)}
            for (time, start), end in zip(starts, ends, strict=True)
        ]


class ItemMap:
    """The map of a model's items; `map` is None before the first refresh, and without embeddings."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self.map: Map | None = None
        self.hour, self.day = EventCounts(MINUTE_MS, 60), EventCounts(HOUR_MS, 24)
        self._axes: Floats | None = None
        self._earlier: deque[tuple[int, dict[str, Floats]]] = deque(maxlen=KEPT + 1)
        """Time and embedding by item, float16."""

    def background_task(self) -> BackgroundTask:
        """Refreshes the map every `REFRESH_S`; sooner after the first one, which has few items."""
        due, interval_s = 0.0, FIRST_REFRESH_S

        async def refresh() -> None:
            nonlocal due, interval_s
            if time.monotonic() < due:
                return
            await asyncio.to_thread(self.refresh, now_ms())
            if self.map is not None:
                due = time.monotonic() + interval_s
                interval_s = min(2 * interval_s, REFRESH_S)

        return BackgroundTask(FIRST_REFRESH_S, refresh)

    def refresh(self, now: int) -> None:
        """Compute the map and remember counts.

        May run beside the loop that serves: it only reads, and a row that changes meanwhile moves its point
        by very little.
        """
        popularity = self._model.popularity
        if popularity is not None:
            events = popularity.events[: min(len(self._model.items.ids), MAX_COUNTED)]
            self.hour.add(now, events)
            self.day.add(now, events)
        embedding = self._model.embedded
        if embedding is not None:
            self._project(embedding, now)

    def _project(self, embedding: Embedded, now: int) -> None:
        ids, events = self._model.items.ids, embedding.events
        rows = busiest_rows(events[: len(ids)])
        rows = np.array([row for row in rows.tolist() if ids[row]], np.int32)
        if len(rows) < 3:
            return
        items, vectors = tuple(ids[row] for row in rows.tolist()), embedding.vectors[rows]
        axes, explained = principal_axes(vectors, self._axes)
        self._axes = axes
        if not self._earlier or now - self._earlier[-1][0] >= KEPT_EVERY_MS:
            self._earlier.append((now, dict(zip(items, vectors.astype(np.float16), strict=True))))
        since, earlier = self._earlier[0]
        positions = ((vectors - vectors.mean(0)) @ axes).astype(np.float32)
        distances = movement(items, vectors, earlier)
        self.map = Map(now, items, positions, distances, (now - since) / 1000, events[rows], explained)


def busiest_rows(events: NDArray[np.int32]) -> Rows:
    """The rows with most events, at most `MAX_ITEMS`, without those that have none; most events first."""
    rows = np.flatnonzero(events)
    if len(rows) > MAX_ITEMS:
        rows = rows[np.argpartition(-events[rows], MAX_ITEMS - 1)[:MAX_ITEMS]]
    return rows[np.argsort(-events[rows], kind="stable")].astype(np.int32)


def principal_axes(vectors: Floats, before: Floats | None = None) -> tuple[Floats, float]:
    """The two principal axes, float32[dim, 2], and the share of the variance that they explain.

    Signs are arbitrary: they follow `before`, so that the map does not flip from one minute to the next.

    >>> vectors = np.array([[2, 0, 0], [-2, 0, 0], [0, 1, 0], [0, -1, 0]], np.float32)
    >>> axes, share = principal_axes(vectors)
    >>> np.abs(axes).round(3).tolist(), round(share, 3)
    ([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]], 1.0)
    """
    centred = vectors - vectors.mean(0)
    values, directions = np.linalg.eigh((centred.T @ centred).astype(np.float64))
    axes = directions[:, [-1, -2]].astype(np.float32)
    reference = np.ones(axes.shape, np.float32) if before is None else before
    signs = np.where((axes * reference).sum(0) < 0, -1, 1)
    total = max(float(values.sum()), 1e-12)
    return axes * signs.astype(np.float32), float(values[-2:].sum()) / total


def movement(items: Sequence[str], vectors: Floats, earlier: dict[str, Floats]) -> Floats:
    """Distance of each item to its earlier vector, as a share of the mean length; 0 for a new item."""
    length = max(float(np.linalg.norm(vectors, axis=1).mean()), 1e-12)
    before = np.array([earlier.get(item, vectors[n]) for n, item in enumerate(items)], np.float32)
    distances = np.linalg.norm(vectors - before, axis=1) / length
    return np.where(distances < NEGLIGIBLE, 0, distances).astype(np.float32)
