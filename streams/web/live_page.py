"""The tail of what is served: events and the recommendations that they caused, as they come.

A tap sits on a worker's serving step and takes what its viewer may see, at most `RATE` a second; nothing is
looked at when nobody does.  The worker that is asked taps itself and asks all others for theirs.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
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
from streams.web.peers import FORWARDED
from streams.web.problem import Problem
from streams.web.site import Page

RATE = 10.0
"""Events a second that a viewer gets."""
BURST = 20
VIEWERS = 30
WAITING = 100
"""Lines that wait for a slow browser; what comes after is skipped."""
PING_S = 10.0
AGAIN_S = 3.0
GLANCE_S = 1.0
"""How long `/live.json` looks."""


class Subscription:
    """What one viewer gets."""

    def __init__(self, worker: str, user: str | None, item: str | None) -> None:
        self.lines: asyncio.Queue[bytes | None] = asyncio.Queue(WAITING)
        """JSON objects; None: the end."""
        self._worker, self._item = worker, item
        self._key = None if user is None else user.encode()
        self._hint = item.encode() if item and item.isascii() and item.isalnum() else b""
        self._budget, self._filled = float(BURST), time.monotonic()

    def receive(self, records: Sequence[Record], writes: Writes) -> None:
        """Take from a micro-batch what the viewer may see."""
        now = time.monotonic()
        self._budget = min(self._budget + RATE * (now - self._filled), BURST)
        self._filled = now
        for record in records:
            if self._budget < 1:
                return
            if self._key is not None and record.key != self._key:
                continue
            if self._hint not in (record.value or b""):
                continue
            if (line := self._line(record, writes)) is not None:
                self._budget -= 1
                self.put(line)

    def put(self, line: bytes | None) -> None:
        """Hand a line over; a browser that is too slow misses it."""
        with suppress(asyncio.QueueFull):
            self.lines.put_nowait(line)

    def _line(self, record: Record, writes: Writes) -> bytes | None:
        try:
            event = decode_event(record.value, len(record.value or b""))
        except Malformed:
            return None
        if self._item is not None and event.item != self._item:
            return None
        caused, name = None, f"{record.partition}-{record.offset}"
        for key, value, _ in writes.outputs.get("recommendations", {}).get(record.partition, ()):
            if key == record.key and value is not None:
                recommendation = decode_recommendation(value)
                if recommendation.recommendation_id == name:
                    caused = recommendation
                    break
        return msgspec.json.encode(
            {
                "worker": self._worker,
                "partition": record.partition,
                "offset": record.offset,
                "event": event,
                "recommendation": caused,
            }
        )


class Live:
    """`/live`, its stream, and the taps that are open."""

    def __init__(self, serving: Serving, others: Callable[[], list[str]]) -> None:
        self._serving, self._others = serving, others
        self._taps: set[Subscription] = set()
        self._session: aiohttp.ClientSession | None = None

    async def page(self, request: web.Request) -> Page:
        """The frame for people, which script fills; for programs what comes within a second."""
        user, item = _wanted(request)
        found = []
        if not html_wanted(request):
            with suppress(TimeoutError):
                async with asyncio.timeout(GLANCE_S), aclosing(self._tail(request, user, item)) as tail:
                    async for line in tail:
                        found.append(msgspec.json.decode(line))
        return Page("live", {"user": user, "item": item, "rate_per_s": RATE, "events": found})

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events, until the browser goes or the worker stops."""
        user, item = _wanted(request)
        if len(self._taps) >= VIEWERS:
            raise Problem(503, "Too many look", f"At most {VIEWERS} at once.", {"Retry-After": "30"})
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b": here\n\n")
        with suppress(ConnectionError):
            async with aclosing(self._tail(request, user, item, PING_S)) as tail:
                async for line in tail:
                    await response.write(b"data: " + line + b"\n\n" if line else b": still here\n\n")
        return response

    async def close(self, _: Any = None) -> None:
        """End all streams: a worker that stops would wait for them."""
        for tap in self._taps:
            while not tap.lines.empty():
                tap.lines.get_nowait()
            tap.put(None)
        if self._session is not None:
            await self._session.close()

    async def _tail(
        self, request: web.Request, user: str | None, item: str | None, ping_s: float | None = None
    ) -> AsyncIterator[bytes]:
        """Lines of all workers; an empty one where nothing came for `ping_s`."""
        tap = Subscription(self._serving.settings.name, user, item)
        self._taps.add(tap)
        self._serving.subscribers.append(tap.receive)
        asking: dict[str, asyncio.Task[None]] = {}
        forwarded = FORWARDED in request.headers
        keeping = None if forwarded else asyncio.create_task(self._ask_all(tap, request.query_string, asking))
        try:
            while True:
                try:
                    line = await asyncio.wait_for(tap.lines.get(), ping_s)
                except TimeoutError:
                    line = b""
                if line is None:
                    return
                yield line
        finally:
            self._taps.discard(tap)
            self._serving.subscribers.remove(tap.receive)
            for task in (*asking.values(), *([keeping] if keeping else [])):
                task.cancel()

    async def _ask_all(self, tap: Subscription, query: str, asking: dict[str, asyncio.Task[None]]) -> None:
        """Keep a stream from every other worker, also from those that come later."""
        while True:
            for url in self._others():
                if url not in asking or asking[url].done():
                    asking[url] = asyncio.create_task(self._ask(tap, url, query))
            await asyncio.sleep(AGAIN_S)

    async def _ask(self, tap: Subscription, url: str, query: str) -> None:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None, connect=1.0))
        with suppress(OSError, aiohttp.ClientError, TimeoutError):
            address = f"{url.rstrip('/')}/live/stream?{query}"
            async with self._session.get(address, headers={FORWARDED: "1"}) as answer:
                async for line in answer.content:
                    if line.startswith(b"data: "):
                        tap.put(line[6:].strip())


def _wanted(request: web.Request) -> tuple[str | None, str | None]:
    return request.query.get("user") or None, request.query.get("item") or None
