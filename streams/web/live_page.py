"""Events and the recommendations that they caused, as they are served: `/live` and its event stream.

A subscription to a worker's serving step takes what its viewer requested, at most `RATE` events a second;
without viewers nothing is inspected.  The worker of the request subscribes to its own step and to the streams
of all other workers.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from typing import Any

import aiohttp
import msgspec
from aiohttp import web

from streams.messages import Malformed, decode_event, decode_recommendation
from streams.runtime.serving import Serving
from streams.step.serve import Record
from streams.step.writes import Writes
from streams.web.negotiation import html_wanted
from streams.web.peers import FORWARDED, Peers
from streams.web.problem import Problem
from streams.web.site import Page

RATE = 10.0
"""Events a second that a viewer gets."""
BURST = 20
"""Events that a viewer gets at once."""
MAX_VIEWERS = 30
MAX_LINES = 100
"""Lines that wait for a slow browser; later ones are skipped."""
PING_S = 10.0
"""Silence after which a stream sends a comment, so that proxies keep it open."""
RECONNECT_S = 3.0
"""Interval at which the other workers are looked up and connected."""
COLLECT_S = 1.0
"""Time for which `/live.json` collects events."""


class Subscription:
    """What one viewer gets: events of a user or of an item, or all."""

    def __init__(self, worker: str, user: str | None, item: str | None) -> None:
        self.lines: asyncio.Queue[bytes | None] = asyncio.Queue(MAX_LINES)
        """JSON objects; None: the end."""
        self._worker, self._item = worker, item
        self._key = None if user is None else user.encode()
        # a cheap test before an event is decoded; other characters may be escaped in JSON
        self._substring = item.encode() if item and item.isascii() and item.isalnum() else b""
        self._budget, self._filled = float(BURST), time.monotonic()

    def receive(self, records: Sequence[Record], writes: Writes) -> None:
        """Take from a micro-batch what the viewer requested."""
        now = time.monotonic()
        self._budget = min(self._budget + RATE * (now - self._filled), BURST)
        self._filled = now
        for record in records:
            if self._budget < 1:
                return
            if self._key is not None and record.key != self._key:
                continue
            if self._substring not in (record.value or b""):
                continue
            if (line := self._line(record, writes)) is not None:
                self._budget -= 1
                self.put(line)

    def put(self, line: bytes | None) -> None:
        """Queue a line; a browser that is too slow misses it."""
        with suppress(asyncio.QueueFull):
            self.lines.put_nowait(line)

    def close(self) -> None:
        """End the stream, without the lines that wait."""
        while not self.lines.empty():
            self.lines.get_nowait()
        self.put(None)

    def _line(self, record: Record, writes: Writes) -> bytes | None:
        try:
            event = decode_event(record.value, len(record.value or b""))
        except Malformed:
            return None
        if self._item is not None and event.item != self._item:
            return None
        recommendation, expected_id = None, f"{record.partition}-{record.offset}"
        for key, value, _ in writes.outputs.get("recommendations", {}).get(record.partition, ()):
            if key == record.key and value is not None:
                candidate = decode_recommendation(value)
                if candidate.recommendation_id == expected_id:
                    recommendation = candidate
                    break
        return msgspec.json.encode(
            {
                "worker": self._worker,
                "partition": record.partition,
                "offset": record.offset,
                "event": event,
                "recommendation": recommendation,
            }
        )


class LivePage:
    """`/live`, its event stream, and the open subscriptions."""

    def __init__(self, serving: Serving, peers: Peers) -> None:
        self._serving, self._peers = serving, peers
        self._subscriptions: set[Subscription] = set()
        self._session: aiohttp.ClientSession | None = None

    async def page(self, request: web.Request) -> Page:
        """For people the frame, which a script fills; for programs the events of `COLLECT_S`."""
        user, item = _filters(request)
        events = []
        if not html_wanted(request):
            with suppress(TimeoutError):
                async with asyncio.timeout(COLLECT_S), aclosing(self._tail(request)) as tail:
                    async for line in tail:
                        events.append(msgspec.json.decode(line))
        return Page("live", {"user": user, "item": item, "rate_per_s": RATE, "events": events})

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events, until the browser closes the connection or the worker stops."""
        if len(self._subscriptions) >= MAX_VIEWERS:
            raise Problem(
                503,
                f"{MAX_VIEWERS} live streams are open, the most that a worker serves",
                {"Retry-After": "30"},
            )
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b": connected\n\n")
        with suppress(ConnectionError):
            async with aclosing(self._tail(request, PING_S)) as tail:
                async for line in tail:
                    await response.write(b"data: " + line + b"\n\n" if line else b": ping\n\n")
        return response

    async def close(self, _: Any = None) -> None:
        """End all streams: a worker that stops would wait for them."""
        for subscription in self._subscriptions:
            subscription.close()
        if self._session is not None:
            await self._session.close()

    async def _tail(self, request: web.Request, ping_s: float | None = None) -> AsyncGenerator[bytes, None]:
        """Lines of all workers; an empty one where nothing came for `ping_s`."""
        subscription = Subscription(self._serving.settings.name, *_filters(request))
        self._subscriptions.add(subscription)
        self._serving.subscribe(subscription.receive)
        following = None
        if FORWARDED not in request.headers:
            following = asyncio.create_task(self._follow_peers(subscription, request.query_string))
        try:
            while True:
                try:
                    line = await asyncio.wait_for(subscription.lines.get(), ping_s)
                except TimeoutError:
                    line = b""
                if line is None:
                    return
                yield line
        finally:
            self._subscriptions.discard(subscription)
            self._serving.unsubscribe(subscription.receive)
            if following is not None:
                following.cancel()

    async def _follow_peers(self, subscription: Subscription, query: str) -> None:
        """Keep a stream from every other worker, also from those that start later."""
        streams: dict[str, asyncio.Task[None]] = {}
        try:
            while True:
                for url in self._peers.urls():
                    if url not in streams or streams[url].done():
                        streams[url] = asyncio.create_task(self._follow(subscription, url, query))
                await asyncio.sleep(RECONNECT_S)
        finally:
            for stream in streams.values():
                stream.cancel()

    async def _follow(self, subscription: Subscription, url: str, query: str) -> None:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None, connect=1.0))
        with suppress(OSError, aiohttp.ClientError, TimeoutError):
            address = f"{url.rstrip('/')}/live/stream?{query}"
            async with self._session.get(address, headers={FORWARDED: "1"}) as response:
                async for line in response.content:
                    if line.startswith(b"data: "):
                        subscription.put(line[6:].strip())


def _filters(request: web.Request) -> tuple[str | None, str | None]:
    """The user and the item that the viewer requested."""
    return request.query.get("user") or None, request.query.get("item") or None
