"""The metrics of one process for Prometheus, `/metrics`."""

from collections.abc import Awaitable, Callable, Iterable

from aiohttp import web
from prometheus_client.metrics_core import Metric

from streams.monitor.prometheus import exposition
from streams.monitor.sample import Sample


class MetricsPage:
    """Answers with the metrics of a sample that is taken for each request."""

    def __init__(
        self, take_sample: Callable[[], Awaitable[Sample]], metrics: Callable[[Sample], Iterable[Metric]]
    ) -> None:
        self._take_sample, self._metrics = take_sample, metrics

    async def page(self, request: web.Request) -> web.Response:
        """The exposition in the format that the scraper accepts."""
        metrics = self._metrics(await self._take_sample())
        body, content_type = exposition(metrics, request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})
