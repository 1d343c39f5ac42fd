"""What the pages of a serving worker say: dicts that become JSON as they are, and HTML.  Times are ms."""

import asyncio
from typing import Any

import numpy as np

from models.core import Asked, Candidates, Generator
from models.model import Model
from models.ranking.shortlist import Scorer
from models.retrieval.popularity import Popularity
from models.rows import HOUR_MS
from streams.serving import Serving
from streams.users import User, asked
from streams.web.readings import waiting_for

NEIGHBOURS = 20
"""Of an item, by each generator."""


def model(serving: Serving, now: int) -> dict[str, Any]:
    """The model that this worker recommends from."""
    current = serving.replica.current
    return {
        "checkpoint": current.number,
        "age_ms": max(now - current.time, 0) if current.number else None,
        "items": len(serving.model.items),
        "torn": serving.replica.torn,
    }


def health(serving: Serving) -> dict[str, Any]:
    """Whether the worker can answer events."""
    return {"worker": serving.settings.name, "ready": serving.ready, "waiting_for": waiting_for(serving)}


def user(serving: Serving, user_id: str, partition: int, record: User, now: int) -> dict[str, Any]:
    """A user of this worker: history, what was sent last, and what would be recommended now, with reasons."""
    (slate,) = serving.recommender.recommend([asked(record, record.last, {})], serving.settings.list_length)
    return {
        "user": user_id,
        "worker": serving.settings.name,
        "partition": partition,
        "offset": record.offset,
        "events": record.events,
        "sessions": record.sessions,
        "last": record.last or None,
        "last_age_ms": max(now - record.last, 0) if record.last else None,
        "session": {
            "id": record.session,
            "start": record.session_start or None,
            "items": list(record.session_items()),
        },
        "history": history(record, serving.policy.users.session_gap_ms),
        "sent": {"recommendation_id": record.slate_id or None, "items": list(record.slate)},
        "now": {
            "model": model(serving, now),
            "items": [
                {
                    "item": item,
                    "score": score,
                    "reason": reason,
                    "sent_position": record.slate.index(item) + 1 if item in record.slate else None,
                }
                for item, score, reason in zip(slate.items, slate.scores, slate.reasons, strict=True)
            ],
        },
    }


def history(record: User, gap_ms: int) -> list[dict[str, Any]]:
    """The history in sessions, newest first, and so the events in each.

    The record knows how many of its events are of the current session.  Where an older one ended it does
    not keep: there, inactivity of `gap_ms` divides.
    """
    sessions: list[dict[str, Any]] = []
    times = record.times
    first = len(times) - record.session_size
    for n, (time, type, item) in enumerate(zip(times, record.types, record.items, strict=True)):
        before = times[n - 1] if n else None
        current = n >= first
        if before is None or (n == first if current else time - before > gap_ms):
            sessions.append({"current": current, "start": time, "end": time, "events": []})
        sessions[-1]["end"] = time
        sessions[-1]["events"].append({"time": time, "type": type, "item": item})
    for session in sessions:
        session["events"].reverse()
    return sessions[::-1]


async def item(serving: Serving, item_id: str, now: int) -> dict[str, Any] | None:
    """What the model knows of an item; None if it has no row."""
    row = serving.model.items.row(item_id)
    if row < 0:
        return None
    found = serving.model.generators.get("popularity")
    popularity = found if isinstance(found, Popularity) else None
    value = popularity.values(np.array([row], np.int32))[0] if popularity else None
    return {
        "item": item_id,
        "worker": serving.settings.name,
        "row": row,
        "events": int(popularity.events[row]) if popularity else None,
        "popularity": None if value is None else round(float(value), 4),
        "last_seen": int(serving.model.items.last_seen[row]) * HOUR_MS or None,
        "model": model(serving, now),
        "neighbours": {
            name: await neighbours(serving.model, generator, item_id)
            for name, generator in serving.model.generators.items()
        },
    }


async def neighbours(model: Model, generator: Generator, item_id: str) -> list[dict[str, Any]]:
    """What the generator proposes after this item alone, best first."""
    query = model.queries([Asked((item_id,), 1, 0)])
    if isinstance(generator, Scorer):  # it looks at every item: off the loop that serves
        found: Candidates = await asyncio.to_thread(generator.propose, query, NEIGHBOURS + 1)
    else:
        found = generator.propose(query, NEIGHBOURS + 1)
    ids, itself = model.items.ids, int(query.history[0, 0])
    named = [
        {"item": ids[row], "score": round(score, 4)}
        for row, score in zip(found.rows[0].tolist(), found.scores[0].tolist(), strict=True)
        if row >= 0 and row != itself and ids[row]
    ]
    return named[:NEIGHBOURS]
