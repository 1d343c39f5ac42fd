"""The overview of the whole cluster, `/`, and its plots."""

import asyncio

import msgspec
from aiohttp import web

from streams.messages import now_ms
from streams.monitor.block_sums import BlockSums
from streams.monitor.heartbeats import ProcessStatus
from streams.monitor.overview import overview
from streams.monitor.plots import PlotCache
from streams.runtime.serving import Serving
from streams.web.negotiation import requested_span
from streams.web.single_flight import SingleFlight
from streams.web.site import PLOTS_FRESH_S, REFRESH_S, Page
from streams.web.worker_state import health


class OverviewPage:
    """Answers for the whole cluster; the same on every worker but for `answered_by`."""

    def __init__(self, serving: Serving, status: ProcessStatus) -> None:
        self._serving, self._status = serving, status
        self._block_sums, self._plot_cache = BlockSums(), PlotCache()
        self._pages = SingleFlight(self._overview)
        self._plots = SingleFlight(self._draw, PLOTS_FRESH_S)

    async def page(self, request: web.Request) -> Page:
        """The cluster at a glance."""
        return await self._pages.get(requested_span(request))

    async def plots(self, request: web.Request) -> web.Response:
        """The lines of the plots, as JSON."""
        body = await self._plots.get(requested_span(request))
        return web.Response(body=body, content_type="application/json")

    async def _overview(self, span: str) -> Page:
        points = self._block_sums.sums(self._status.points(span), span)
        answered_by = health(self._serving) | {"partitions": self._serving.table.open_partitions()}
        data = overview(self._status.heartbeats(), points, span) | {"answered_by": answered_by}
        return Page("overview", data, refresh_s=REFRESH_S)

    async def _draw(self, span: str) -> bytes:
        def draw() -> bytes:  # takes some milliseconds, in a thread
            return msgspec.json.encode(self._plot_cache.draw(self._status.points(span), span, now_ms()))

        return await asyncio.to_thread(draw)
