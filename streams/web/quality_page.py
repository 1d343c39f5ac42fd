"""The quality of the recommendation lists, `/quality`, and its plots."""

import asyncio

import msgspec
from aiohttp import web

from streams.messages import now_ms
from streams.monitor.block_sums import BlockSums
from streams.monitor.heartbeats import ProcessStatus
from streams.monitor.quality import plots, quality
from streams.web.negotiation import requested_span
from streams.web.single_flight import SingleFlight
from streams.web.site import PLOTS_FRESH_S, REFRESH_S, Page


class QualityPage:
    """Answers from what the learner measured; the same on every worker."""

    def __init__(self, status: ProcessStatus) -> None:
        self._status, self._block_sums = status, BlockSums()
        self._pages = SingleFlight(self._quality)
        self._plots = SingleFlight(self._draw, PLOTS_FRESH_S)

    async def page(self, request: web.Request) -> Page:
        """Each part of the model, the frozen twin and popularity side by side."""
        return await self._pages.get(requested_span(request))

    async def plots(self, request: web.Request) -> web.Response:
        """The lines of the plots, as JSON."""
        body = await self._plots.get(requested_span(request))
        return web.Response(body=body, content_type="application/json")

    async def _quality(self, span: str) -> Page:
        points = self._block_sums.sums(self._status.points(span), span)
        return Page("quality", quality(self._status.heartbeats(), points, span), refresh_s=REFRESH_S)

    async def _draw(self, span: str) -> bytes:
        def draw() -> bytes:  # takes some milliseconds, in a thread
            return msgspec.json.encode(plots(self._status.points(span), span, now_ms()))

        return await asyncio.to_thread(draw)
