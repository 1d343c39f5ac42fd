"""The serving app: `faust -A streams.app worker`, or `freshet worker`.

Events in; recommendations, examples and dead letters out.  Any number of workers form one consumer group,
partitioned by user.
"""

from typing import Any, cast

from streams import topics
from streams.kafka.changelog_repair import CHECK_S, ChangelogChanged, ChangelogRepair
from streams.kafka.table import ChunkTable
from streams.monitor.heartbeats import ProcessStatus
from streams.monitor.item_map import ItemMap
from streams.monitor.sample import ServingSampler
from streams.runtime.background import BackgroundTask, run_in_background, thread
from streams.runtime.faust_app import make_app, prepare
from streams.runtime.live_settings import LiveSettings
from streams.runtime.native_memory import MEMORY_TASK
from streams.runtime.serving import Serving
from streams.runtime.serving_services import keep_fresh, keep_newest_recommendations
from streams.settings import load_or_exit
from streams.web.routes import attach_serving_pages

settings = load_or_exit()
app = make_app(topics.SERVING_APP, settings, chunk_topics=("events",))
events = app.topic(
    settings.topic("events"),
    key_type=bytes,
    value_type=bytes,
    key_serializer="raw",
    value_serializer="raw",
    partitions=settings.partitions,
)
users = cast(  # the app makes every table a ChunkTable
    ChunkTable,
    app.Table(
        "users",
        key_type=bytes,
        value_type=bytes,
        partitions=settings.partitions,
        extra_topic_configs=topics.COMPACTED,
        options=dict(topics.ROCKSDB),
    ),
)
if not settings.embedded:  # that broker cuts its topics, and does not tell one from another
    users.repair = ChangelogRepair(settings)
serving = Serving(app, users, settings)
live_settings = LiveSettings(settings, serving.use)
status, sampler = ProcessStatus(settings, "serving"), ServingSampler(app, serving)
item_map = ItemMap(serving.model)


async def check_changelog() -> None:
    """End this worker if the changelog is not the one that its stores were restored from."""
    if users.repair is not None:
        try:
            await users.repair.check(users.changelog_topic_name)
        except ChangelogChanged as error:
            await app.crash(error)


run_in_background(
    app,
    [
        status.background_task(sampler.take),
        live_settings.background_task(),
        MEMORY_TASK,
        item_map.background_task(),
        keep_newest_recommendations(app, serving),
        thread(serving.topic_watch.start, serving.topic_watch.stop),
        BackgroundTask(CHECK_S, check_changelog),
    ],
)
keep_fresh(app, serving)
attach_serving_pages(app, serving, status, sampler, live_settings, item_map)


@app.on_worker_init.connect
def begin(*args: Any, **kwargs: Any) -> None:
    """Refuse to start against topics that would break the state; read the model while Faust starts."""
    folder = prepare(app, settings, topics.SERVING_APP, users.repairs)
    serving.take_max_items()
    serving.start(folder)


@app.agent(events)
async def recommend(stream: Any) -> None:
    """One iteration a chunk; `noack` because the writer acks when the chunk is durable."""
    stream = stream.noack()
    try:
        await serving.loaded()  # else a restart would answer from an empty model
        await live_settings.loaded()
        async for _ in stream:
            await serving.step(stream, stream.current_event)
    except Exception as error:  # Faust would start the agent again, and the chunk would be lost
        await app.crash(error)
        raise
