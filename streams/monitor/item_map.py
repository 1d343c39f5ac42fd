"""The map of the items, and how each was seen lately: made in a thread once a minute, read by the pages.

The map is the two widest directions of the embeddings of the items with most events (PCA), kept facing the
way that they faced before.  Of these items the embeddings of the last hour are remembered, to tell how far
each moved; of all items, up to `MOST_COUNTED` rows, the events of the last hour and of the last day.
"""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.components import Embedded
from models.core import Floats, Rows
from models.model import Model
from streams.runtime.background import BackgroundTask

SHOWN = 2_000
"""Items on the map."""
MOST_COUNTED = 100_000
MINUTE_MS, HOUR_MS = 60_000, 3_600_000
REFRESH_S = 60.0
KEPT = 6
"""Embeddings remembered of the last hour."""
KEPT_EVERY_MS = HOUR_MS // KEPT


@dataclass(frozen=True, slots=True)
class Map:
    """Items in two dimensions."""

    time: int
    items: tuple[str, ...]
    at: Floats
    """float32[n, 2]"""
    moved: Floats
    """float32[n]: since about an hour ago, as a share of the mean length of an embedding."""
    moved_s: float
    """Since when that is, seconds before `time`."""
    events: NDArray[np.int32]
    """int32[n]"""
    explained: float
    """Share of the variance that the two directions have."""


class Counted:
    """Events by row at the last `slots` steps: what was added in each."""

    def __init__(self, step_ms: int, slots: int) -> None:
        self.step_ms = step_ms
        self._taken: deque[tuple[int, NDArray[np.int32]]] = deque(maxlen=slots + 1)

    def take(self, now: int, events: NDArray[np.int32]) -> None:
        """Remember the totals, if it is time."""
        if not self._taken or now - self._taken[-1][0] >= self.step_ms:
            self._taken.append((now, events.copy()))

    def of(self, row: int, now: int, events: int) -> list[dict[str, int]]:
        """`since` (ms) and events from then to the next, oldest first; the last is until `now`."""
        known = [(time, int(taken[row]) if row < len(taken) else 0) for time, taken in self._taken]
        ends = [*(count for _, count in known), events][1:]
        return [
            {"since": time, "events": max(end - begin, 0)}
            for (time, begin), end in zip(known, ends, strict=True)
        ]


class ItemMap:
    """What `refresh` made of a model; `map` is None before it did, or where there are no embeddings."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self.map: Map | None = None
        self.hour, self.day = Counted(MINUTE_MS, 60), Counted(HOUR_MS, 24)
        self._axes: Floats | None = None
        self._before: deque[tuple[int, dict[str, Floats]]] = deque(maxlen=KEPT + 1)

    def chore(self) -> BackgroundTask:
        """To refresh it once a minute."""

        async def refresh() -> None:
            await asyncio.to_thread(self.refresh, int(time.time() * 1000))

        return BackgroundTask(REFRESH_S, refresh, lambda: None, lambda: None)

    def refresh(self, now: int) -> None:
        """Make all of it anew.  May run beside the loop that serves: it only reads, and a row that changes
        meanwhile is a point that is a hair off.
        """
        popularity = self._model.popularity
        if popularity is not None:
            events = popularity.events[: min(len(self._model.items.ids), MOST_COUNTED)]
            self.hour.take(now, events)
            self.day.take(now, events)
        embedding = self._model.embedded
        if embedding is not None:
            self._draw(embedding, now)

    def _draw(self, embedding: Embedded, now: int) -> None:
        ids, events = self._model.items.ids, embedding.events
        rows = busiest(events[: len(ids)])
        rows = np.array([row for row in rows.tolist() if ids[row]], np.int32)
        if len(rows) < 3:
            return
        items, vectors = tuple(ids[row] for row in rows.tolist()), embedding.vectors[rows]
        axes, explained = principal(vectors, self._axes)
        self._axes = axes
        if not self._before or now - self._before[-1][0] >= KEPT_EVERY_MS:
            self._before.append((now, dict(zip(items, vectors.astype(np.float16), strict=True))))
        since, before = self._before[0]
        at = ((vectors - vectors.mean(0)) @ axes).astype(np.float32)
        far = moved(items, vectors, before)
        self.map = Map(now, items, at, far, (now - since) / 1000, events[rows], explained)


def busiest(events: NDArray[np.int32]) -> Rows:
    """The rows with most events, at most `SHOWN`, that have any."""
    rows = np.flatnonzero(events)
    if len(rows) > SHOWN:
        rows = rows[np.argpartition(-events[rows], SHOWN - 1)[:SHOWN]]
    return rows[np.argsort(-events[rows], kind="stable")].astype(np.int32)


def principal(vectors: Floats, before: Floats | None = None) -> tuple[Floats, float]:
    """The two widest directions, float32[dim, 2], and their share of the variance.

    Signs are free: they follow `before`, so that a map does not flip from one minute to the next.

    >>> axes, share = principal(np.array([[2, 0, 0], [-2, 0, 0], [0, 1, 0], [0, -1, 0]], np.float32))
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


def moved(items: Sequence[str], vectors: Floats, before: dict[str, Floats]) -> Floats:
    """How far each is from where it was, as a share of the mean length; 0 for one that was not there."""
    length = max(float(np.linalg.norm(vectors, axis=1).mean()), 1e-12)
    was = np.array([before.get(item, vectors[n]) for n, item in enumerate(items)], np.float32)
    # what is kept has half the digits: less than that is no movement
    far = np.linalg.norm(vectors - was, axis=1) / length
    return np.where(far < 1e-3, 0, far).astype(np.float32)


def figures(made: Map) -> dict[str, Any]:
    """The map as JSON."""
    columns = zip(made.items, made.at.tolist(), made.moved.tolist(), made.events.tolist(), strict=True)
    return {
        "time": made.time,
        "explained": round(made.explained, 4),
        "moved_s": round(made.moved_s, 1),
        "items": [
            {"item": item, "x": round(x, 4), "y": round(y, 4), "moved": round(far, 4), "events": count}
            for item, (x, y), far, count in columns
        ],
    }
