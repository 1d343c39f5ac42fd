"""What is done beside the stream, every few seconds, as long as a worker or learner runs."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mode import Service

log = logging.getLogger(__name__)

IDLE_S = 60.0


@dataclass(frozen=True, slots=True)
class BackgroundTask:
    """`do` every so many seconds, between `start` on the loop and `stop` in a thread."""

    every_s: float
    do: Callable[[], Awaitable[None]]
    start: Callable[[], None]
    stop: Callable[[], None]


def thread(start: Callable[[], None], stop: Callable[[], None]) -> BackgroundTask:
    """What has a thread of its own, as long as the app runs."""
    return BackgroundTask(IDLE_S, _nothing, start, stop)


async def _nothing() -> None:
    """The thread does it all."""


def keep(app: Any, chores: Sequence[BackgroundTask]) -> None:
    """Have a Faust app do them.  One that fails is logged and tried again: figures are worth no crash."""

    @app.service
    class BackgroundTasks(Service):
        async def on_start(self) -> None:
            for chore in chores:
                chore.start()
                self.add_future(self._repeat(chore))

        async def _repeat(self, chore: BackgroundTask) -> None:
            while not self.should_stop:
                try:
                    await chore.do()
                except Exception:
                    log.exception("a chore failed: %r", chore.do)
                await self.sleep(chore.every_s)

        async def on_stop(self) -> None:
            for chore in chores:
                await asyncio.to_thread(chore.stop)
