"""The viewers of a worker's step: which events each of them gets, at most `RATE` a second.

The events of a micro-batch are looked through once for all viewers, as `serve` decoded them: an event costs
two look-ups in a dict, however many viewers there are.  Without viewers nothing is looked through.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress

import msgspec

from streams.event_messages import Event
from streams.printable import printable_json
from streams.runtime.serving import Serving
from streams.step.serve import Record
from streams.step.writes import Writes

RATE = 10.0
"""Events a second that a viewer gets."""
BURST = 20
"""Events that a viewer gets at once."""
LOOKED_THROUGH = 20_000
"""Events a second that are looked through, at most: 3 ms of work.  Of more, viewers miss the rest."""
MAX_VIEWERS = 30
MAX_LINES = 100
"""Lines that wait for a slow browser; later ones are skipped."""


class Full(Exception):
    """A worker has `MAX_VIEWERS` viewers."""


class Budget:
    """Allows `rate` a second, and up to `burst` at once."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate, self._burst = rate, burst
        self.left, self._filled = burst, time.monotonic()

    def refill(self) -> None:
        """Add what was allowed since the last call."""
        now = time.monotonic()
        self.left = min(self.left + self._rate * (now - self._filled), self._burst)
        self._filled = now


class Viewer:
    """What one viewer gets: events of a user or of an item, or all."""

    def __init__(self, user: str | None, item: str | None) -> None:
        self.user, self.item = user, item
        self.lines: asyncio.Queue[bytes | None] = asyncio.Queue(MAX_LINES)
        """JSON objects; None: the end."""
        self.budget = Budget(RATE, BURST)

    def put(self, line: bytes | None) -> None:
        """Queue a line; a browser that is too slow misses it."""
        with suppress(asyncio.QueueFull):
            self.lines.put_nowait(line)

    def close(self) -> None:
        """End the stream, without the lines that wait."""
        while not self.lines.empty():
            self.lines.get_nowait()
        self.put(None)


class Viewers:
    """The viewers of this worker; a subscriber of its step while there are any."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._viewers: set[Viewer] = set()
        self._budget = Budget(LOOKED_THROUGH, LOOKED_THROUGH)

    def __len__(self) -> int:
        return len(self._viewers)

    def add(self, user: str | None, item: str | None) -> Viewer:
        """A new viewer; `Full` if there are `MAX_VIEWERS`."""
        if len(self._viewers) >= MAX_VIEWERS:
            raise Full
        viewer = Viewer(user, item)
        self._viewers.add(viewer)
        self._serving.subscribe(self.receive)
        return viewer

    def remove(self, viewer: Viewer) -> None:
        """The viewer is gone."""
        self._viewers.discard(viewer)
        if not self._viewers:
            self._serving.unsubscribe(self.receive)

    def close(self) -> None:
        """End all streams."""
        for viewer in self._viewers:
            viewer.close()

    def receive(self, records: Sequence[Record], writes: Writes) -> None:
        """Take from a micro-batch what the viewers requested."""
        by_user, by_item, of_all = self._by_filter()
        if not (by_user or by_item or of_all):
            return
        self._budget.refill()
        count = min(len(writes.decoded), int(self._budget.left))
        self._budget.left -= count
        for partition, offset, event in writes.decoded[:count]:
            users, items = by_user.get(event.user), by_item.get(event.item)
            if not (users or items or of_all):
                continue
            line = None
            for viewer in (*(users or ()), *(items or ()), *of_all):
                if viewer.budget.left < 1 or (viewer.item is not None and viewer.item != event.item):
                    continue
                line = line or self._line(partition, offset, event, writes)
                viewer.put(line)
                viewer.budget.left -= 1
            of_all = [viewer for viewer in of_all if viewer.budget.left >= 1]

    def _by_filter(self) -> tuple[dict[str, list[Viewer]], dict[str | None, list[Viewer]], list[Viewer]]:
        """The viewers that may get an event now: by user, by item of those of any user, and the others."""
        by_user: dict[str, list[Viewer]] = defaultdict(list)
        by_item: dict[str | None, list[Viewer]] = defaultdict(list)
        of_all = []
        for viewer in self._viewers:
            viewer.budget.refill()
            if viewer.budget.left < 1:
                continue
            if viewer.user is not None:
                by_user[viewer.user].append(viewer)
            elif viewer.item is not None:
                by_item[viewer.item].append(viewer)
            else:
                of_all.append(viewer)
        return by_user, by_item, of_all

    def _line(self, partition: int, offset: int, event: Event, writes: Writes) -> bytes:
        answer = writes.recommendations.get((partition, offset))
        line = msgspec.json.encode(
            {
                "worker": self._serving.settings.name,
                "partition": partition,
                "offset": offset,
                "event": event,
                "recommendation": None if answer is None else msgspec.Raw(answer),
            }
        )
        return printable_json(line)
