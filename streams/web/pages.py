"""The pages of a serving worker: which is where, and what each asks for.

Everything reads only.  Any worker answers for any user: one that does not have the user asks the others.
"""

import time
from typing import Any

from aiohttp import web

from streams.serving import Serving
from streams.web import figures
from streams.web.census import Census
from streams.web.exposition import exposition, serving_metrics
from streams.web.lag import Lag
from streams.web.negotiation import id_in_path, id_in_query
from streams.web.peers import FORWARDED, Peers, Unreachable, workers
from streams.web.problem import Problem
from streams.web.site import REFRESH_S, Handler, Page, attach


def install(app: Any, serving: Serving) -> None:
    """Serve the pages on the app's web server."""
    pages = Pages(app, serving)
    attach(app.web.web_app, "Freshet", pages.routes(), [("/metrics", pages.metrics)])
    app.web.web_app.on_cleanup.append(pages.peers.close)


class Pages:
    """The handlers."""

    def __init__(self, app: Any, serving: Serving) -> None:
        self._app, self._serving = app, serving
        self._lag, self._census = Lag(serving), Census(serving)
        self.peers = Peers(self._others)

    def routes(self) -> list[tuple[str, Handler]]:
        """Path and handler of each page."""
        return [
            ("/", self.overview),
            ("/users", self.user_asked_for),
            ("/users/{id:(?s:.*)}", self.user),
            ("/items", self.item_asked_for),
            ("/items/{id:(?s:.*)}", self.item),
            ("/health/live", self.live),
            ("/health/ready", self.ready),
        ]

    async def overview(self, request: web.Request) -> Page:
        """The worker at a glance."""
        return Page("overview", await self._overview(), refresh_s=REFRESH_S)

    async def metrics(self, request: web.Request) -> web.Response:
        """For Prometheus."""
        body, content_type = exposition(
            serving_metrics(await self._overview(), self._serving.metrics.ages),
            request.headers.get("Accept", ""),
        )
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def live(self, request: web.Request) -> Page:
        """That the loop runs: this answer is the proof."""
        return Page("health", {"worker": figures.worker_id(self._serving), "live": True})

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
        return await self._item(id_in_path(request, "/items/"))

    async def item_asked_for(self, request: web.Request) -> Page:
        """`/items?id=ID`"""
        return await self._item(id_in_query(request))

    async def _overview(self) -> dict[str, Any]:
        return figures.overview(
            self._serving, await self._lag.now(), self._census.users(), self._workers(), _now()
        )

    async def _user(self, request: web.Request, user_id: str) -> Page:
        restored = self._serving.restored
        found = self._serving.user(user_id) if restored else None
        if found is not None:
            data = figures.user(self._serving, user_id, *found, _now())
            return Page("user", data | {"answered_by": data["worker"]})
        if FORWARDED not in request.headers:
            try:
                theirs = await self.peers.user(user_id)
            except Unreachable as error:
                raise _unavailable(
                    "Another worker may have this user, and cannot be asked",
                    f"{error}. When it stays away, its users move to the others within"
                    f" {self._serving.settings.session_timeout_s:.0f} s.",
                ) from None
            if theirs is not None:
                return Page("user", theirs | {"answered_by": figures.worker_id(self._serving)})
        if not restored:
            raise _unavailable("Not known yet", "; ".join(figures.waiting_for(self._serving)))
        raise Problem(404, "No such user", f"No event of the user “{user_id}” was seen.")

    async def _item(self, item_id: str) -> Page:
        data = await figures.item(self._serving, item_id, _now())
        if data is not None:
            return Page("item", data)
        if not self._serving.model_loaded:
            raise _unavailable("Not known yet", "; ".join(figures.waiting_for(self._serving)))
        raise Problem(404, "No such item", f"The model has no item “{item_id}”.")

    def _workers(self) -> dict[str, list[int]]:
        return workers(self._app, self._serving.table.changelog_topic_name)

    def _others(self) -> list[str]:
        own = str(self._app.conf.canonical_url)
        return [url for url in self._workers() if url != own]


def _unavailable(error: str, detail: str) -> Problem:
    return Problem(503, error, detail, {"Retry-After": "2"})


def _now() -> int:
    return int(time.time() * 1000)
