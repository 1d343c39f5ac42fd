"""A user, `/users/ID`: history, the latest recommendation, what would be recommended now, and what if.

Times are ms.  Any worker answers for any user: one that does not have the user asks the others.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Any

import msgspec
import numpy as np
from aiohttp import web

from models.core import Floats, Query, Slate
from models.model import Model
from models.ranking.features import feature_names
from streams.event_messages import Event
from streams.messages import MAX_ID_BYTES, now_ms
from streams.runtime.serving import Serving
from streams.step.answers import DEFAULT, requested
from streams.step.policy import ServingPolicy
from streams.step.users import User
from streams.step.whatif import MOST, Counterfactual, changed, effective
from streams.web.negotiation import id_in_path, id_in_query
from streams.web.peers import FORWARDED, Peers, Unreachable
from streams.web.problem import RETRY_SOON, Problem
from streams.web.site import Page
from streams.web.worker_state import served_model

PLACEMENT = "placement"
"""Query parameter: the list that is shown."""
PARAMETERS = ("drop", "as", "add", "add_type", "add_item", "context", PLACEMENT)
"""Query parameters of a what-if: `?drop=2&as=1:purchase&add=click:sku-7&context=device=tv`."""
MAX_TYPE_LENGTH = 64


class UserPage:
    """Answers for the users of this worker, and asks the others for theirs."""

    def __init__(self, serving: Serving, peers: Peers) -> None:
        self._serving, self._peers = serving, peers

    async def by_path(self, request: web.Request) -> Page:
        """The page of the user in the path, `/users/ID`."""
        return await self._page(request, id_in_path(request, "/users/"))

    async def by_query(self, request: web.Request) -> Page:
        """The page of the user in the query, `/users?id=ID`."""
        return await self._page(request, id_in_query(request))

    async def _page(self, request: web.Request, user_id: str) -> Page:
        figures = self._own(request, user_id) if self._serving.restored else None
        if figures is None and FORWARDED not in request.headers:
            figures = await self._ask_peers(request, user_id)
        if figures is not None:
            return Page("user", figures | {"answered_by": self._serving.settings.name})
        if not self._serving.restored:
            raise Problem(503, f"not known yet: {'; '.join(self._serving.waiting_for)}", RETRY_SOON)
        raise Problem(404, f"no event of the user “{user_id}” was seen")

    def _own(self, request: web.Request, user_id: str) -> dict[str, Any] | None:
        try:
            stored = self._serving.user(user_id)
        except msgspec.DecodeError as error:
            raise Problem(
                500,
                f"the stored record of the user “{user_id}” cannot be read ({error}): their events go to the"
                " topic dead-letter; stop this worker and delete its data folder to restore the users",
            ) from None
        if stored is None:
            return None
        default_type = next(iter(self._serving.policy.event_weights), "view")
        changes = counterfactual(request.query.items(), default_type)
        placement = request.query.get(PLACEMENT, DEFAULT)
        if placement not in (DEFAULT, *self._serving.policy.placements):
            known = ", ".join(self._serving.policy.placements) or "none, the setting placements is empty"
            raise Problem(400, f"unknown placement “{placement}”: expected {known}")
        return user_figures(self._serving, user_id, *stored, changes, now_ms(), placement)

    async def _ask_peers(self, request: web.Request, user_id: str) -> dict[str, Any] | None:
        what_if = [(name, value) for name, value in request.query.items() if name in PARAMETERS]
        try:
            return await self._peers.user(user_id, what_if)
        except Unreachable as error:
            timeout_s = self._serving.settings.session_timeout_s
            raise Problem(
                503,
                f"another worker may have this user and cannot be asked: {error}. If it does not come back,"
                f" its users move to the others within {timeout_s:.0f} s.",
                RETRY_SOON,
            ) from None


def user_figures(
    serving: Serving,
    user_id: str,
    partition: int,
    record: User,
    changes: Counterfactual,
    now: int,
    placement: str = DEFAULT,
) -> dict[str, Any]:
    """A user of this worker: history, latest recommendation, what would be recommended now, and what if."""
    policy, changes = serving.policy, effective(changes, record)
    other = changed(record, changes, policy.remembers, policy.sessions)
    queries = [
        placed(user, context, placement, policy) for user, context in ((record, {}), (other, changes.context))
    ]
    slate, other_slate = serving.recommender.recommend(queries, policy.list_length)
    explanations = explain(serving.model, queries, [slate, other_slate])
    items, other_items = listed(slate, explanations[0]), listed(other_slate, explanations[1])
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
        "placement": placement,
        "placements": [DEFAULT, *policy.placements],
        "profile": {
            "profiling": record.profiling,
            "attributes": record.attributes,
            "hidden": [{"item": item} for item in record.hidden],
            "hidden_brands": list(record.hidden_brands),
        },
        "sent": {"recommendation_id": record.slate_id or None, "items": list(record.slate)},
        "now": {
            "model": served_model(serving, now),
            "items": with_position(items, "sent_position", record.slate),
        },
        "what_if": {
            "changes": {
                "drop": sorted(changes.dropped),
                "as": {str(number): type for number, type in changes.retyped.items()},
                "add": [{"type": type, "item": item} for type, item in changes.added],
                "context": dict(changes.context),
            },
            "items": with_position(other_items, "now_position", slate.items),
            "gone": [item for item in slate.items if item not in other_slate.items],
        }
        if any(changes)
        else None,
    }


def placed(user: User, context: Mapping[str, str | float], placement: str, policy: ServingPolicy) -> Query:
    """The query of a request for a placement at the user's latest event."""
    request = Event(event_id="?", user="?", type="request", time=user.last, context=dict(context))
    return requested(user, request, user.last, placement, policy.placements.get(placement))


def listed(slate: Slate, explanations: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The items of a slate with score, reason, and explanation."""
    return [
        {"item": item, "score": score, "reason": reason} | explanation
        for item, score, reason, explanation in zip(*slate[:3], explanations, strict=True)
    ]


def with_position(items: list[dict[str, Any]], field: str, other_list: Sequence[str]) -> list[dict[str, Any]]:
    """The items with a field for the position of each in another list, from 1; None if it is not there."""
    positions = {item: position for position, item in enumerate(other_list, 1)}
    return [entry | {field: positions.get(entry["item"])} for entry in items]


def explain(model: Model, queries: Sequence[Query], slates: Sequence[Slate]) -> list[list[dict[str, Any]]]:
    """The score by each generator, and the features of a learnt ranker, of each item of each slate."""
    batch = model.queries(queries)
    newest = np.array(model.items.rows(q.history[-1] if q.history else "" for q in queries), np.int32)
    longest = max(len(slate.items) for slate in slates)
    pool, features = model.shortlist.featurize(batch, newest[:, None], longest)
    generators = model.shortlist.names
    candidate_features, _ = feature_names(generators)
    explanations = []
    for n, slate in enumerate(slates):
        columns = {row: column for column, row in enumerate(pool.rows[n, : pool.counts[n]].tolist())}
        scores, values = pool.scores[n], features.candidates[n]
        explanations.append(
            [
                _explanation(generators, candidate_features, scores, values, columns.get(row))
                for row in model.items.rows(slate.items)
            ]
        )
    return explanations


def _explanation(
    generators: Sequence[str], features: Sequence[str], scores: Floats, values: Floats, column: int | None
) -> dict[str, Any]:
    """The explanation of one item; empty if it was cut from the pool."""
    if column is None:
        return {"generators": dict.fromkeys(generators), "features": {}}
    by_generator = {
        name: round(float(score), 4) or None
        for name, score in zip(generators, scores[:, column], strict=True)
    }
    # the last rows of `values` are padding
    by_feature = {
        name: round(float(value), 4) for name, value in zip(features, values[:, column], strict=False)
    }
    return {"generators": by_generator, "features": by_feature}


def history(record: User, gap_ms: int) -> list[dict[str, Any]]:
    """The history in sessions, newest first, and so the events in each.

    The record has the size of the current session.  It does not have the ends of older ones: those are
    divided by inactivity of `gap_ms`.
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


def counterfactual(parameters: Iterable[tuple[str, str]], default_type: str) -> Counterfactual:
    """The what-if of a query; `Problem` 400 for an invalid one.

    A form without script sends `add_type` and `add_item` in pairs, and empty fields, which count as absent.

    >>> parameters = [("drop", "2"), ("add", "cart:sku:7"), ("context", "device=tv")]
    >>> counterfactual(parameters, "view")
    Counterfactual(dropped=frozenset({2}), retyped={}, added=(('cart', 'sku:7'),), context={'device': 'tv'})
    """
    values: dict[str, list[str]] = {name: [] for name in PARAMETERS}
    for name, value in parameters:
        if name in values:
            values[name].append(value.strip())
    added = [_typed(text, default_type) for text in values["add"] if text]
    pairs = zip_longest(values["add_type"], values["add_item"], fillvalue="")
    added += [(type or default_type, item) for type, item in pairs if item]
    if len(added) > MOST:
        raise Problem(400, f"{len(added)} added events: expected at most {MOST}")
    for type, item in added:
        if not 0 < len(type) <= MAX_TYPE_LENGTH or not 0 < len(item.encode()) <= MAX_ID_BYTES:
            raise Problem(
                400,
                f"invalid event “{type}:{item}” to add: expected TYPE:ITEM, with a type of 1 to"
                f" {MAX_TYPE_LENGTH} characters and an item of 1 to {MAX_ID_BYTES} bytes",
            )
    retyped = dict(_numbered(text) for text in values["as"] if text.partition(":")[2])
    dropped = frozenset(_number(text) for text in values["drop"] if text)
    return Counterfactual(dropped, retyped, tuple(added), _context(values["context"]))


def _typed(text: str, default_type: str) -> tuple[str, str]:
    type, colon, item = text.partition(":")
    return (type, item) if colon else (default_type, text)


def _numbered(text: str) -> tuple[int, str]:
    number, _, type = text.partition(":")
    return _number(number), type[:MAX_TYPE_LENGTH]


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < len(text) < 5):
        raise Problem(
            400, f"invalid event number “{text}”: expected 1 for the newest event, 2 for the second"
        )
    return int(text)


def _context(texts: Iterable[str]) -> Mapping[str, str | float]:
    context: dict[str, str | float] = {}
    for text in texts:
        for part in text.split(","):
            if not part.strip():
                continue
            name, equals, value = (word.strip() for word in part.partition("="))
            if not equals or not 0 < len(name) <= 64 or len(value) > 256:
                raise Problem(
                    400,
                    f"invalid context “{part}”: expected NAME=VALUE, with a name of 1 to 64 characters and a"
                    " value of at most 256",
                )
            context[name] = value
    return context
