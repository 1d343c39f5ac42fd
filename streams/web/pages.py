"""The pages of a serving worker: which is where, and what each asks for.

What is here reads only.  Any worker answers for any user: one that does not have the user asks the others.
"""

import asyncio
import time
from typing import Any

import msgspec
from aiohttp import web

from streams.monitor.block_sums import BlockSums
from streams.monitor.exposure import Exposure
from streams.monitor.heartbeats import ProcessStatus
from streams.monitor.history import SPANS, Point
from streams.monitor.item_map import ItemMap
from streams.monitor.item_map import figures as map_figures
from streams.monitor.overview import overview
from streams.monitor.plots import PlotCache
from streams.monitor.prometheus import exposition, serving_metrics
from streams.monitor.quality import plots as quality_plots
from streams.monitor.quality import quality
from streams.monitor.sample import ServingSampler
from streams.runtime.live_settings import LiveSettings
from streams.runtime.serving import Serving
from streams.web import figures, whatif_query
from streams.web.dead_letters_page import DeadLetterPages
from streams.web.live_page import Live
from streams.web.negotiation import id_in_path, id_in_query
from streams.web.peers import FORWARDED, Peers, Unreachable, workers
from streams.web.problem import Problem
from streams.web.settings_page import SettingsPages
from streams.web.single_flight import SingleFlight
from streams.web.site import REFRESH_S, Handler, Page, attach

MENU = {
    "/": "Overview",
    "/quality": "Quality",
    "/live": "Live",
    "/map": "Map",
    "/dead-letters": "Dead letters",
    "/settings": "Settings",
}
PLOTS_FRESH_S = 5.0
OWN = "own"
"""What this worker knows by itself, though another has run longer."""


def install(
    app: Any,
    serving: Serving,
    board: ProcessStatus,
    readings: ServingSampler,
    changes: LiveSettings,
    atlas: ItemMap,
) -> None:
    """Serve the pages on the app's web server."""
    pages = Pages(app, serving, board, readings, atlas)
    live = Live(serving, pages.others)
    letters, settings = DeadLetterPages(serving), SettingsPages(changes, board, serving.model)
    site = app.web.web_app
    attach(
        site,
        "Freshet",
        serving.settings,
        pages=[
            *pages.routes(),
            ("/live", live.page),
            ("/dead-letters", letters.page),
            ("/settings", settings.page),
        ],
        plain=[
            ("/metrics", pages.metrics),
            ("/plots.json", pages.plots),
            ("/quality/plots.json", pages.quality_plots),
            ("/live/stream", live.stream),
        ],
        posts=[("/dead-letters", letters.replay), ("/settings", settings.change)],
        menu=MENU,
    )
    site.on_shutdown.append(live.close)
    site.on_cleanup.append(pages.peers.close)


class Pages:
    """The handlers."""

    def __init__(
        self, app: Any, serving: Serving, board: ProcessStatus, readings: ServingSampler, atlas: ItemMap
    ) -> None:
        self._app, self._serving, self._board, self._readings = app, serving, board, readings
        self._atlas, self._exposure = atlas, Exposure(serving.settings)
        self._overviews, self._drawing, self._blocks = SingleFlight(self._overview), PlotCache(), BlockSums()
        self._plots = SingleFlight(self._drawn, PLOTS_FRESH_S)
        self._qualities, self._maps = SingleFlight(self._quality), SingleFlight(self._map)
        self._quality_plots = SingleFlight(self._quality_drawn, PLOTS_FRESH_S)
        self.peers = Peers(self.others)

    def routes(self) -> list[tuple[str, Handler]]:
        """Path and handler of each page."""
        return [
            ("/", self.overview),
            ("/quality", self.quality),
            ("/users", self.user_asked_for),
            ("/users/{id:(?s:.*)}", self.user),
            ("/items", self.item_asked_for),
            ("/items/{id:(?s:.*)}", self.item),
            ("/map", self.map),
            ("/health/live", self.live),
            ("/health/ready", self.ready),
        ]

    async def overview(self, request: web.Request) -> Page:
        """The cluster at a glance."""
        return await self._overviews.get(_span(request))

    async def plots(self, request: web.Request) -> web.Response:
        """The lines of the overview's plots, as JSON."""
        return web.Response(body=await self._plots.get(_span(request)), content_type="application/json")

    async def quality(self, request: web.Request) -> Page:
        """How good the lists are."""
        return await self._qualities.get(_span(request))

    async def quality_plots(self, request: web.Request) -> web.Response:
        """The lines of its plots, as JSON."""
        body = await self._quality_plots.get(_span(request))
        return web.Response(body=body, content_type="application/json")

    async def metrics(self, request: web.Request) -> web.Response:
        """For Prometheus: this worker's alone."""
        body, content_type = exposition(
            serving_metrics(await self._readings.now()), request.headers.get("Accept", "")
        )
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def live(self, request: web.Request) -> Page:
        """That the loop runs: this answer is the proof."""
        return Page("health", {"worker": self._serving.settings.name, "live": True})

    async def ready(self, request: web.Request) -> Page:
        """Whether events are answered; 503 until then."""
        health = figures.health(self._serving)
        return Page("health", health, 200 if health["ready"] else 503)

    async def user(self, request: web.Request) -> Page:
        """`/users/ID`"""
        return await self._user(request, id_in_path(request, "/users/"))

    async def user_asked_for(self, request: web.Request) -> Page:
        """`/users?id=ID`"""
        return await self._user(request, id_in_query(request))

    async def item(self, request: web.Request) -> Page:
        """`/items/ID`"""
        return await self._item(request, id_in_path(request, "/items/"))

    async def item_asked_for(self, request: web.Request) -> Page:
        """`/items?id=ID`"""
        return await self._item(request, id_in_query(request))

    async def map(self, request: web.Request) -> Page:
        """Items by their embeddings; nothing until it was made for the first time."""
        return await self._maps.get(OWN if FORWARDED in request.headers else "")

    async def _overview(self, span: str) -> Page:
        data = overview(self._board.heartbeats(), self._added(span), span)
        mine = figures.health(self._serving) | {"partitions": self._serving.table.open_partitions()}
        return Page("overview", data | {"answered_by": mine}, refresh_s=REFRESH_S)

    def _added(self, span: str) -> list[Point]:
        return self._blocks.of(self._board.points(span), span)

    async def _drawn(self, span: str) -> bytes:
        """Made off the loop that serves: it takes some milliseconds."""

        def draw() -> bytes:
            return msgspec.json.encode(self._drawing.draw(self._board.points(span), span, _now()))

        return await asyncio.to_thread(draw)

    async def _quality(self, span: str) -> Page:
        return Page(
            "quality", quality(self._board.heartbeats(), self._added(span), span), refresh_s=REFRESH_S
        )

    async def _quality_drawn(self, span: str) -> bytes:
        def draw() -> bytes:
            return msgspec.json.encode(quality_plots(self._board.points(span), span, _now()))

        return await asyncio.to_thread(draw)

    async def _map(self, whose: str) -> Page:
        elder = self._elder() if whose != OWN else None
        if elder and (theirs := await self.peers.page(elder, "/map")):
            return Page("map", theirs)
        made = self._atlas.map
        return Page("map", map_figures(made) if made else {"time": None, "items": []})

    async def _user(self, request: web.Request, user_id: str) -> Page:
        restored = self._serving.restored
        found = self._serving.user(user_id) if restored else None
        if found is not None:
            default = next(iter(self._serving.policy.event_weights), "view")
            wanted = whatif_query.changes(request.query.items(), default)
            data = figures.user(self._serving, user_id, *found, wanted, _now())
            return Page("user", data | {"answered_by": data["worker"]})
        if FORWARDED not in request.headers:
            try:
                theirs = await self.peers.user(user_id, _what_if(request))
            except Unreachable as error:
                raise _unavailable(
                    "Another worker may have this user, and cannot be asked",
                    f"{error}. When it stays away, its users move to the others within"
                    f" {self._serving.settings.session_timeout_s:.0f} s.",
                ) from None
            if theirs is not None:
                return Page("user", theirs | {"answered_by": self._serving.settings.name})
        if not restored:
            raise _unavailable("Not known yet", "; ".join(self._serving.waiting_for))
        raise Problem(404, "No such user", f"No event of the user “{user_id}” was seen.")

    async def _item(self, request: web.Request, item_id: str) -> Page:
        elder = self._elder() if FORWARDED not in request.headers else None
        if elder and (theirs := await self.peers.page(elder, "/items", ("id", item_id))):
            return Page("item", theirs)
        data = await figures.item(self._serving, self._atlas, self._exposure, item_id, _now())
        if data is not None:
            return Page("item", data)
        if not self._serving.model_loaded:
            raise _unavailable("Not known yet", "; ".join(self._serving.waiting_for))
        raise Problem(404, "No such item", f"The model has no item “{item_id}”.")

    def _elder(self) -> str | None:
        """Where the worker is that has run longest: it remembers most of the items, and whoever is asked
        shows what it says.  None: this one is it, or nobody knows.
        """
        about = [one.row.process for one in self._board.heartbeats() if one.alive]
        serving = [(one.started, one.url) for one in about if one and one.kind == "serving" and one.ready]
        _, url = min(serving, default=(0, None))
        return None if url == str(self._app.conf.canonical_url) else url

    def _workers(self) -> dict[str, list[int]]:
        return workers(self._app, self._serving.table.changelog_topic_name)

    def others(self) -> list[str]:
        """Where the other workers' pages are."""
        own = str(self._app.conf.canonical_url)
        return [url for url in self._workers() if url != own]


def _what_if(request: web.Request) -> list[tuple[str, str]]:
    """The part of the query that asks what if."""
    return [(name, value) for name, value in request.query.items() if name in whatif_query.NAMES]


def _span(request: web.Request) -> str:
    """`?range=`, the shortest without."""
    span = request.query.get("range", next(iter(SPANS)))
    if span not in SPANS:
        raise Problem(400, "No such range", f"There are {', '.join(SPANS)}.")
    return span


def _unavailable(error: str, detail: str) -> Problem:
    return Problem(503, error, detail, {"Retry-After": "2"})


def _now() -> int:
    return int(time.time() * 1000)
