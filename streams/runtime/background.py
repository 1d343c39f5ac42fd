"""Background tasks: what runs beside the stream, every few seconds, as long as a worker or learner runs."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mode import Service

log = logging.getLogger(__name__)

IDLE_S = 60.0
"""Interval of a task whose thread does the work."""


@dataclass(frozen=True, slots=True)
class BackgroundTask:
    """Awaits `run` every `every_s` seconds, after `start` on the loop and before `stop` in a thread."""

    every_s: float
    run: Callable[[], Awaitable[None]]
    start: Callable[[], None] = lambda: None
    stop: Callable[[], None] = lambda: None


def thread(start: Callable[[], None], stop: Callable[[], None]) -> BackgroundTask:
    """A task that has a thread of its own, as long as the app runs."""

    async def idle() -> None:
        """The thread does the work."""

    return BackgroundTask(IDLE_S, idle, start, stop)


def run_in_background(app: Any, tasks: Sequence[BackgroundTask]) -> None:
    """Run the tasks with a Faust app.

    A task that fails is logged and run again: it must not stop the process.
    """

    @app.service
    class BackgroundTasks(Service):
        async def on_start(self) -> None:
            for task in tasks:
                task.start()
                self.add_future(self._repeat(task))

        async def _repeat(self, task: BackgroundTask) -> None:
            while not self.should_stop:
                try:
                    await task.run()
                except Exception:
                    log.exception("a background task failed: %r", task.run)
                await self.sleep(task.every_s)

        async def on_stop(self) -> None:
            for task in tasks:
                await asyncio.to_thread(task.stop)
