"""What runs beside the serving step, as long as the app runs."""

import asyncio
from collections.abc import Iterable
from typing import Any

from faust.types import TP
from mode import Service

from streams.errors import UserError
from streams.kafka.chunks import ChunkApp
from streams.runtime.background import BackgroundTask
from streams.runtime.faust_app import quiet_logs
from streams.runtime.serving import Serving

ADVANCE_S = 0.004
"""Interval at which replica and catalog are advanced."""
CATALOG_S = 0.001
"""Time for which the catalog is applied at once, at most."""
LATE_WRITES_S = 2.0
"""Interval at which the end of `recommendations` is compared with what this worker wrote."""


def keep_newest_recommendations(app: ChunkApp, serving: Serving) -> BackgroundTask:
    """The background task that repairs what other workers write late."""
    events = serving.settings.topic("events")

    @app.on_partitions_assigned.connect(weak=False)
    async def watch(app: Any, assigned: Iterable[TP], **kwargs: Any) -> None:
        await serving.late_writes.assigned(tp.partition for tp in assigned if tp.topic == events)

    return BackgroundTask(LATE_WRITES_S, serving.late_writes.check)


def keep_fresh(app: ChunkApp, serving: Serving) -> None:
    """Advance model and catalog every few milliseconds while the app runs."""

    @app.service
    class Replication(Service):
        async def on_start(self) -> None:
            quiet_logs()

        @Service.task
        async def _advance(self) -> None:
            while not self.should_stop:
                try:
                    serving.replica.advance()
                    serving.catalog.advance(CATALOG_S)
                except UserError as error:
                    await app.crash(error)
                    raise
                await asyncio.sleep(ADVANCE_S)

        async def on_stop(self) -> None:
            await serving.replica.stop()
            await asyncio.to_thread(serving.catalog.stop)
