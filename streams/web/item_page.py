"""An item, `/items/ID`: its figures, what is recommended beside it, its neighbours.  Times are ms."""

import asyncio
from typing import Any

import msgspec
import numpy as np
from aiohttp import web
from msgspec.structs import fields

from models.components import Borrower, Generator, Scorer
from models.core import Candidates, Floats, Query, Rows
from models.model import Model
from streams.catalog_messages import CatalogItem
from streams.messages import now_ms
from streams.monitor.exposure import Lists, exposure, latest_lists
from streams.monitor.item_map import ItemMap
from streams.runtime.catalog import LiveCatalog
from streams.runtime.serving import Serving
from streams.web.negotiation import id_in_path, id_in_query
from streams.web.peers import FORWARDED, Peers
from streams.web.problem import RETRY_SOON, Problem
from streams.web.search_page import search_figures
from streams.web.single_flight import SingleFlight
from streams.web.site import Page
from streams.web.worker_state import served_model

NEIGHBOURS = 20
"""Items listed by each generator, and beside the item."""
LISTS_FRESH_S = 5.0
"""Interval at which the latest lists are read, at most."""


class ItemPage:
    """Answers with the page of the worker that has run longest."""

    def __init__(self, serving: Serving, item_map: ItemMap, peers: Peers) -> None:
        self._serving, self._item_map, self._peers = serving, item_map, peers
        self._lists = SingleFlight(self._latest_lists, LISTS_FRESH_S)

    async def by_path(self, request: web.Request) -> Page:
        """The page of the item in the path, `/items/ID`."""
        return await self._page(request, id_in_path(request, "/items/"))

    async def by_query(self, request: web.Request) -> Page:
        """The page of the item in the query, `/items?id=ID`, or of items by words, `/items?q=WORDS`."""
        if "id" not in request.query:
            return Page("items", await search_figures(self._serving, request.query.get("q", "")))
        return await self._page(request, id_in_query(request))

    async def _page(self, request: web.Request, item_id: str) -> Page:
        peer = self._peers.longest_running() if FORWARDED not in request.headers else None
        if peer and (figures := await self._peers.page(peer, "/items", [("id", item_id)])):
            return Page("item", figures)
        own = await item_figures(self._serving, self._item_map, self._lists, item_id, now_ms())
        if own is not None:
            return Page("item", own)
        if not self._serving.model_loaded:
            raise Problem(503, f"not known yet: {'; '.join(self._serving.waiting_for)}", RETRY_SOON)
        if self._serving.catalog.in_use and "id" in request.query and FORWARDED not in request.headers:
            return Page("items", await search_figures(self._serving, item_id))
        raise Problem(404, f"the model has no item “{item_id}”")

    async def _latest_lists(self, _: str) -> Lists | None:
        return await latest_lists(self._serving.settings)


async def item_figures(
    serving: Serving, item_map: ItemMap, lists: SingleFlight[Lists | None], item_id: str, now: int
) -> dict[str, Any] | None:
    """What model and catalog know of an item; None if it has no row and is not in the catalog."""
    model = serving.model
    row = model.items.row(item_id)
    record = serving.catalog.record(item_id)
    if row < 0:
        return (
            None
            if record is None
            else _without_row(serving, record, now) | {"beside": await beside(lists, item_id)}
        )
    popularity = model.popularity
    value = popularity.values(np.array([row], np.int32))[0] if popularity else None
    return {
        "item": item_id,
        "worker": serving.settings.name,
        "row": row,
        "catalog": catalog_figures(serving.catalog, item_id, record, now),
        "events": int(popularity.events[row]) if popularity else None,
        "popularity": None if value is None else round(float(value), 4),
        "first_seen": int(model.statistics.first[row]) or None,
        "last_seen": int(model.statistics.last[row]) or None,
        "counts": {
            "hour": item_map.hour.by_step(row, int(popularity.events[row])),
            "day": item_map.day.by_step(row, int(popularity.events[row])),
        }
        if popularity
        else {"hour": [], "day": []},
        "model": served_model(serving, now),
        "dropped": serving.recommender.dropped_of(row),
        "described_alike": described_alike(model, row),
        "nearest": await nearest(model, row),
        "beside": await beside(lists, item_id),
        "neighbours": {
            name: await neighbours(model, generator, item_id) for name, generator in model.generators.items()
        },
    }


def catalog_figures(
    catalog: LiveCatalog, item_id: str, record: CatalogItem | None, now: int
) -> dict[str, Any] | None:
    """What the catalog says of an item; None without a catalog."""
    if not catalog.in_use:
        return None
    why_not = catalog.why_not(item_id, now)
    shown = CatalogItem(item=item_id) if record is None else record
    figures = {f.encode_name: msgspec.to_builtins(getattr(shown, f.name)) for f in fields(CatalogItem)}
    figures["vectors"] = {name: len(vector) for name, vector in shown.vectors.items()}
    return figures | {"listed": record is not None, "offered": why_not is None, "why_not": why_not}


def _without_row(serving: Serving, record: CatalogItem, now: int) -> dict[str, Any]:
    """The figures of an item of the catalog that has no row."""
    return {
        "item": record.item,
        "worker": serving.settings.name,
        "row": None,
        "catalog": catalog_figures(serving.catalog, record.item, record, now),
        "events": 0,
        "popularity": 0,
        "first_seen": None,
        "last_seen": None,
        "counts": {"hour": [], "day": []},
        "model": served_model(serving, now),
        "dropped": {},
        "described_alike": [],
        "nearest": None,
        "neighbours": {},
    }


async def beside(lists: SingleFlight[Lists | None], item_id: str) -> dict[str, Any] | None:
    """What is recommended beside the item; None if Kafka does not answer."""
    latest = await lists.get()
    return None if latest is None else exposure(latest, item_id, NEIGHBOURS)


async def neighbours(model: Model, generator: Generator, item_id: str) -> list[dict[str, Any]]:
    """What the generator proposes after this item alone, best first."""
    query = model.queries([Query((item_id,), 1, 0)])
    if isinstance(generator, Scorer):  # scores every item: in a thread
        candidates: Candidates = await asyncio.to_thread(generator.propose, query, NEIGHBOURS + 1)
    else:
        candidates = generator.propose(query, NEIGHBOURS + 1)
    ids, own_row = model.items.ids, int(query.history[0, 0])
    named = [
        {"item": ids[row], "score": round(score, 4)}
        for row, score in zip(candidates.rows[0].tolist(), candidates.scores[0].tolist(), strict=True)
        if row >= 0 and row != own_row and ids[row]
    ]
    return named[:NEIGHBOURS]


def described_alike(model: Model, row: int) -> list[dict[str, Any]]:
    """The items from which one without much evidence of its own borrows its neighbours."""
    borrowers = [g for g in model.generators.values() if isinstance(g, Borrower)]
    ids = model.items.ids
    return [
        {"item": ids[lender], "score": round(cosine, 4)}
        for borrower in borrowers
        for lender, cosine in borrower.lenders_of(row)
        if ids[lender]
    ]


async def nearest(model: Model, row: int) -> list[dict[str, Any]] | None:
    """Items with the nearest embeddings by cosine, best first; None if the model has no embeddings."""
    embedding = model.embedded
    if embedding is None:
        return None
    ids = model.items.ids

    def compare() -> list[dict[str, Any]]:
        best, cosine = most_similar(embedding.vectors[: len(ids)], row, NEIGHBOURS)
        ranked = zip(best.tolist(), cosine.tolist(), strict=True)
        return [{"item": ids[b], "score": round(score, 4)} for b, score in ranked if ids[b] and score > 0]

    return await asyncio.to_thread(compare)


def most_similar(vectors: Floats, row: int, k: int) -> tuple[Rows, Floats]:
    """The k other rows whose vectors have the highest cosine with the row's, and the cosines, best first.

    Cost: O(rows), and k are sorted.

    >>> most_similar(np.array([[1, 0], [2, 0], [0, 1], [1, 1]], np.float32), 0, 2)[0].tolist()
    [1, 3]
    """
    lengths = np.maximum(np.linalg.norm(vectors, axis=1), 1e-12)
    cosine = vectors @ vectors[row] / (lengths * lengths[row])
    cosine[row] = -np.inf
    k = min(k, len(cosine) - 1)
    best = np.argpartition(-cosine, k)[:k].astype(np.int32)
    best = best[np.lexsort((best, -cosine[best]))]
    return best, cosine[best].astype(np.float32)
