"""The serving app: `faust -A streams.app worker`, or `freshet worker`.

Events in, recommendations, examples and dead letters out; any number of workers, one consumer group,
partitioned by user.
"""

import asyncio

from mode import Service

from streams import topics
from streams.monitor.heartbeats import ProcessStatus
from streams.monitor.item_map import ItemMap
from streams.monitor.sample import ServingSampler
from streams.runtime.background import keep
from streams.runtime.faust_app import make_app, prepare, quiet_logs
from streams.runtime.live_settings import LiveSettings
from streams.runtime.serving import Serving
from streams.settings import load_or_exit
from streams.web import pages

ADVANCE_S = 0.004
"""How often the replica goes on."""

settings = load_or_exit()
app = make_app(topics.SERVING_APP, settings, chunk_topics=("events",))
raw = {"key_type": bytes, "value_type": bytes, "partitions": settings.partitions}
events = app.topic(settings.topic("events"), key_serializer="raw", value_serializer="raw", **raw)
users = app.Table("users", extra_topic_configs=topics.COMPACTED, options=dict(topics.ROCKSDB), **raw)
serving = Serving(app, users, settings)
board, readings = ProcessStatus(settings, "serving"), ServingSampler(app, serving)
changes, atlas = LiveSettings(serving), ItemMap(serving.model)
keep(app, [board.chore(readings.now), changes.chore(), atlas.chore()])
pages.install(app, serving, board, readings, changes, atlas)


@app.on_worker_init.connect
def begin(app, **kwargs):  # type: ignore[no-untyped-def]
    """Refuse to start against topics that would break the state; read the model while Faust starts."""
    prepare(settings)
    serving.start()


@app.agent(events)
async def recommend(stream):  # type: ignore[no-untyped-def]
    """One iteration a chunk; `noack` because the writer acks when the chunk is durable."""
    stream = stream.noack()
    await serving.loaded()  # else a restart would answer from an empty model
    await changes.loaded()
    async for _ in stream:
        try:
            await serving.step(stream, stream.current_event)
        except Exception as error:  # Faust would start the agent again, and the chunk would be lost
            await app.crash(error)
            raise


@app.service
class Replication(Service):
    """Keeps the replica going."""

    async def on_start(self) -> None:
        """Keep an outage from flooding the log."""
        quiet_logs()

    @Service.task
    async def _advance(self) -> None:
        while not self.should_stop:
            serving.replica.advance()
            await asyncio.sleep(ADVANCE_S)

    async def on_stop(self) -> None:
        """End the reading."""
        await serving.replica.stop()
