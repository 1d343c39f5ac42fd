"""Events and the recommendations that they caused, as they are served: `/live` and its event stream.

The worker of the request takes them from its own step (`streams.web.viewers`) and from the streams of all
other workers.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager, suppress
from typing import Any

import aiohttp
import msgspec
from aiohttp import web

from streams.runtime.serving import Serving
from streams.web.negotiation import html_wanted
from streams.web.peers import FORWARDED, Peers
from streams.web.problem import Problem
from streams.web.site import Page
from streams.web.viewers import MAX_VIEWERS, RATE, Full, Viewer, Viewers

PING_S = 10.0
"""Silence after which a stream sends a comment, so that proxies keep it open."""
RECONNECT_S = 3.0
"""Interval at which the other workers are looked up and connected."""
COLLECT_S = 1.0
"""Time for which `/live.json` collects events."""


class LivePage:
    """`/live`, its event stream, and the viewers of both."""

    def __init__(self, serving: Serving, peers: Peers) -> None:
        self._peers, self._viewers = peers, Viewers(serving)
        self._session: aiohttp.ClientSession | None = None

    async def page(self, request: web.Request) -> Page:
        """For people the frame, which a script fills; for programs the events of `COLLECT_S`."""
        user, item = _filters(request)
        events = []
        if not html_wanted(request):
            with self._viewer(request) as viewer, suppress(TimeoutError):
                async with asyncio.timeout(COLLECT_S), aclosing(self._tail(request, viewer)) as tail:
                    async for line in tail:
                        events.append(msgspec.json.decode(line))
        return Page("live", {"user": user, "item": item, "rate_per_s": RATE, "events": events})

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events, until the browser closes the connection or the worker stops."""
        with self._viewer(request) as viewer, suppress(ConnectionError):
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await response.prepare(request)
            await response.write(b": connected\n\n")
            async with aclosing(self._tail(request, viewer, PING_S)) as tail:
                async for line in tail:
                    await response.write(b"data: " + line + b"\n\n" if line else b": ping\n\n")
        return response

    async def close(self, _: Any = None) -> None:
        """End all streams: a worker that stops would wait for them."""
        self._viewers.close()
        if self._session is not None:
            await self._session.close()

    @contextmanager
    def _viewer(self, request: web.Request) -> Iterator[Viewer]:
        """The viewer of a request, as long as it is answered; `Problem` 503 if there are too many."""
        try:
            viewer = self._viewers.add(*_filters(request))
        except Full:
            raise Problem(
                503,
                f"{MAX_VIEWERS} viewers watch live, the most that a worker serves",
                {"Retry-After": "30"},
            ) from None
        try:
            yield viewer
        finally:
            self._viewers.remove(viewer)

    async def _tail(
        self, request: web.Request, viewer: Viewer, ping_s: float | None = None
    ) -> AsyncGenerator[bytes, None]:
        """Lines of all workers; an empty one where nothing came for `ping_s`."""
        following = None
        if FORWARDED not in request.headers:
            following = asyncio.create_task(self._follow_peers(viewer, request.query_string))
        try:
            while True:
                try:
                    line = await asyncio.wait_for(viewer.lines.get(), ping_s)
                except TimeoutError:
                    line = b""
                if line is None:
                    return
                yield line
        finally:
            if following is not None:
                following.cancel()

    async def _follow_peers(self, viewer: Viewer, query: str) -> None:
        """Keep a stream from every other worker, also from those that start later."""
        streams: dict[str, asyncio.Task[None]] = {}
        try:
            while True:
                streams = {url: stream for url, stream in streams.items() if not stream.done()}
                for url in self._peers.urls():
                    if url not in streams:
                        streams[url] = asyncio.create_task(self._follow(viewer, url, query))
                await asyncio.sleep(RECONNECT_S)
        finally:
            for stream in streams.values():
                stream.cancel()

    async def _follow(self, viewer: Viewer, url: str, query: str) -> None:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None, connect=1.0))
        with suppress(OSError, aiohttp.ClientError, TimeoutError):
            address = f"{url.rstrip('/')}/live/stream?{query}"
            async with self._session.get(
                address, headers={FORWARDED: "1"}, allow_redirects=False
            ) as response:
                async for line in response.content:
                    if line.startswith(b"data: "):
                        viewer.put(line[6:].strip())


def _filters(request: web.Request) -> tuple[str | None, str | None]:
    """The user and the item that the viewer requested."""
    return request.query.get("user") or None, request.query.get("item") or None
