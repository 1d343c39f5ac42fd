"""The item map, `/map`: items by their embeddings."""

from typing import Any

from aiohttp import web

from streams.monitor.item_map import ItemMap, Map
from streams.web.peers import FORWARDED, Peers
from streams.web.single_flight import SingleFlight
from streams.web.site import Page

OWN = "own"
"""Key of this worker's own map, though another worker has run longer."""


class MapPage:
    """Answers with the map of the worker that has run longest."""

    def __init__(self, item_map: ItemMap, peers: Peers) -> None:
        self._item_map, self._peers = item_map, peers
        self._pages = SingleFlight(self._map)

    async def page(self, request: web.Request) -> Page:
        """The map; without items until it was computed for the first time."""
        return await self._pages.get(OWN if FORWARDED in request.headers else "")

    async def _map(self, key: str) -> Page:
        peer = self._peers.longest_running() if key != OWN else None
        if peer and (figures := await self._peers.page(peer, "/map")):
            return Page("map", figures)
        return Page("map", map_figures(self._item_map.map))


def map_figures(item_map: Map | None) -> dict[str, Any]:
    """The map as JSON."""
    if item_map is None:
        return {"time": None, "items": []}
    columns = zip(
        item_map.items,
        item_map.positions.tolist(),
        item_map.movement.tolist(),
        item_map.events.tolist(),
        strict=True,
    )
    return {
        "time": item_map.time,
        "explained": round(item_map.explained, 4),
        "moved_s": round(item_map.movement_s, 1),
        "items": [
            {"item": item, "x": round(x, 4), "y": round(y, 4), "moved": round(moved, 4), "events": events}
            for item, (x, y), moved, events in columns
        ],
    }
