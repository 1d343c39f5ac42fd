"""The pages of a learner: which is where, and what each asks for.  Everything reads only."""

import time
from typing import Any

from aiohttp import web

from streams.monitor.prometheus import exposition, learner_metrics
from streams.monitor.sample import LearnerSampler
from streams.runtime.learning import Learning
from streams.settings import Settings
from streams.web import learner_figures as figures
from streams.web.site import REFRESH_S, Handler, Page, attach


def install(app: Any, learning: Learning, readings: LearnerSampler, settings: Settings) -> None:
    """Serve the pages on the app's web server."""
    pages = LearnerPages(learning, readings)
    attach(app.web.web_app, "Freshet learner", settings, pages.routes(), [("/metrics", pages.metrics)])


class LearnerPages:
    """The handlers."""

    def __init__(self, learning: Learning, readings: LearnerSampler) -> None:
        self._learning, self._readings = learning, readings

    def routes(self) -> list[tuple[str, Handler]]:
        """Path and handler of each page."""
        return [
            ("/", self.overview),
            ("/health/live", self.live),
            ("/health/ready", self.ready),
        ]

    async def overview(self, request: web.Request) -> Page:
        """The learner at a glance."""
        data = figures.overview(self._learning, int(time.time() * 1000))
        return Page("learner", data, refresh_s=REFRESH_S)

    async def live(self, request: web.Request) -> Page:
        """That the loop runs: this answer is the proof."""
        return Page("health", {"live": True})

    async def ready(self, request: web.Request) -> Page:
        """Whether it learns, or stands by to take over; 503 until then."""
        health = figures.health(self._learning)
        return Page("health", health, 200 if health["ready"] else 503)

    async def metrics(self, request: web.Request) -> web.Response:
        """For Prometheus."""
        body, content_type = exposition(
            learner_metrics(await self._readings.now()), request.headers.get("Accept", "")
        )
        return web.Response(body=body, headers={"Content-Type": content_type})
