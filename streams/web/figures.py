"""What the pages of a serving worker say: dicts that become JSON as they are, and HTML.  Times are ms."""

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np

from models.components import Generator, Scorer
from models.core import Candidates, Floats, Query, Slate
from models.model import Model
from models.ranking.features import feature_names
from streams.monitor.exposure import Exposure
from streams.monitor.item_map import ItemMap
from streams.monitor.sample import waiting_for
from streams.runtime.serving import Serving
from streams.step.users import User, asked
from streams.step.whatif import Counterfactual, changed, effective

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


def user(
    serving: Serving, user_id: str, partition: int, record: User, changes: Counterfactual, now: int
) -> dict[str, Any]:
    """A user of this worker: history, what was sent last, what would be recommended now, and what if."""
    policy, changes = serving.policy, effective(changes, record)
    other = changed(record, changes, lambda type: policy.weight(type) > 0, policy.sessions)
    asking = [asked(record, record.last, {}), asked(other, other.last, changes.context)]
    slate, what_if = serving.recommender.recommend(asking, policy.list_length)
    looks = looked_at(serving.model, asking, [slate, what_if])
    current, different = listed(slate, looks[0]), listed(what_if, looks[1])
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
        "history": history(record, policy.sessions.session_gap_ms),
        "event_types": list(policy.event_weights),
        "sent": {"recommendation_id": record.slate_id or None, "items": list(record.slate)},
        "now": {"model": model(serving, now), "items": placed(current, record.slate, "sent_position")},
        "what_if": {
            "changes": {
                "drop": sorted(changes.dropped),
                "as": {str(number): type for number, type in changes.retyped.items()},
                "add": [{"type": type, "item": item} for type, item in changes.added],
                "context": dict(changes.context),
            },
            "items": placed(different, slate.items, "now_position"),
            "gone": [item for item in slate.items if item not in what_if.items],
        }
        if any(changes)
        else None,
    }


def listed(slate: Slate, looks: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """A slate's items with score, reason, and what was looked at."""
    return [
        {"item": item, "score": score, "reason": reason} | look
        for item, score, reason, look in zip(*slate, looks, strict=True)
    ]


def placed(items: list[dict[str, Any]], among: Sequence[str], name: str) -> list[dict[str, Any]]:
    """With the position of each in another list, from 1; None: it is not there."""
    at = {item: n for n, item in enumerate(among, 1)}
    return [one | {name: at.get(one["item"])} for one in items]


def looked_at(model: Model, asking: Sequence[Query], slates: Sequence[Slate]) -> list[list[dict[str, Any]]]:
    """For each item of each slate: each generator's score of it, and what a learnt ranker sees of it."""
    queries = model.queries(asking)
    newest = np.array(model.items.rows(a.history[-1] if a.history else "" for a in asking), np.int32)
    longest = max(len(slate.items) for slate in slates)
    pool, seen = model.shortlist.featurize(queries, newest[:, None], longest)
    generators = model.shortlist.names
    features, _ = feature_names(generators)
    found = []
    for n, slate in enumerate(slates):
        columns = {row: column for column, row in enumerate(pool.rows[n, : pool.counts[n]].tolist())}
        at = [columns.get(row) for row in model.items.rows(slate.items)]
        found.append([_look(generators, features, pool.scores[n], seen.candidates[n], c) for c in at])
    return found


def _look(
    generators: Sequence[str], features: Sequence[str], scores: Floats, seen: Floats, column: int | None
) -> dict[str, Any]:
    """Of one item; nothing where it is not in the pool, because it was cut from it."""
    if column is None:
        return {"generators": dict.fromkeys(generators), "features": {}}
    said = {
        name: round(float(score), 4) or None
        for name, score in zip(generators, scores[:, column], strict=True)
    }
    values = {name: round(float(value), 4) for name, value in zip(features, seen[:, column], strict=False)}
    return {"generators": said, "features": values}  # of `seen` the last rows are padding


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
        event = {"number": len(times) - n, "time": time, "type": type, "item": item}
        sessions[-1]["events"].append(event)
    for session in sessions:
        session["events"].reverse()
    return sessions[::-1]


async def item(
    serving: Serving, atlas: ItemMap, exposure: Exposure, item_id: str, now: int
) -> dict[str, Any] | None:
    """What the model knows of an item; None if it has no row."""
    row = serving.model.items.row(item_id)
    if row < 0:
        return None
    popularity = serving.model.popularity
    value = popularity.values(np.array([row], np.int32))[0] if popularity else None
    return {
        "item": item_id,
        "worker": serving.settings.name,
        "row": row,
        "events": int(popularity.events[row]) if popularity else None,
        "popularity": None if value is None else round(float(value), 4),
        "first_seen": int(serving.model.statistics.first[row]) or None,
        "last_seen": int(serving.model.statistics.last[row]) or None,
        "counts": {
            "hour": atlas.hour.of(row, now, int(popularity.events[row])),
            "day": atlas.day.of(row, now, int(popularity.events[row])),
        }
        if popularity
        else {"hour": [], "day": []},
        "model": model(serving, now),
        "nearest": await nearest(serving.model, row),
        "beside": await exposure.of(item_id, NEIGHBOURS),
        "neighbours": {
            name: await neighbours(serving.model, generator, item_id)
            for name, generator in serving.model.generators.items()
        },
    }


async def neighbours(model: Model, generator: Generator, item_id: str) -> list[dict[str, Any]]:
    """What the generator proposes after this item alone, best first."""
    query = model.queries([Query((item_id,), 1, 0)])
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


async def nearest(model: Model, row: int) -> list[dict[str, Any]] | None:
    """Whose embeddings point the same way: cosine, best first; None where the model has no embeddings."""
    embedding = model.embedded
    if embedding is None:
        return None
    ids = model.items.ids

    def look() -> list[dict[str, Any]]:
        vectors = embedding.vectors[: len(ids)]
        lengths = np.maximum(np.linalg.norm(vectors, axis=1), 1e-12)
        cosine = vectors @ vectors[row] / (lengths * lengths[row])
        cosine[row] = -np.inf
        best = np.argsort(-cosine)[:NEIGHBOURS]
        return [
            {"item": ids[b], "score": round(float(cosine[b]), 4)} for b in best if ids[b] and cosine[b] > 0
        ]

    return await asyncio.to_thread(look)
