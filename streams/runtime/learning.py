"""A learner put together: it reads examples, learns them and publishes the model while it leads."""

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

from confluent_kafka import KafkaException
from mode import Service

from models.checkpoint import Checkpoint
from models.evaluation.live import LiveQuality
from models.layouts import differences
from models.learning import learn
from models.model import Model
from streams.kafka.examples import ExampleReader
from streams.kafka.losses import Losses
from streams.kafka.model_reader import Restored, last_checkpoint, restore
from streams.kafka.model_writer import ModelWriter
from streams.kafka.sending import Sender
from streams.kafka.topic_watch import TopicWatch
from streams.kafka.unread_rows import UnreadRows
from streams.messages import Malformed, decode_example, now_ms
from streams.runtime.catalog import CatalogRecord, LiveCatalog
from streams.runtime.factory import make_model, make_quality, set_half_lives
from streams.runtime.faust_app import quiet_logs
from streams.runtime.warm_up import warm_up_catalog, warm_up_learner
from streams.settings import Settings
from streams.step.policy import ServingPolicy
from streams.step.serve import dead_letter

log = logging.getLogger(__name__)

POLL_S = 0.01
LOADING_S = 0.05
"""Time for which the catalog is applied at once, before the first example."""
GATHER_S = 0.05
"""Time for which examples are gathered into one micro-batch."""
ELECTION_S = 0.2
"""Interval at which a process checks whether it leads."""
RETRY_S = 1.0
"""Pause after Kafka failed."""
STOP_TIMEOUT_S = 15.0
"""Time for the last publishing, at the end."""
DELETED_AT_ONCE = 5_000
"""Rows deleted with a checkpoint, at most: so replicas need not stop for them."""


class Learning:
    """Learns from `run` on until it is stopped; its attributes may be read from other threads.

    `current` returns the settings as changed while running.
    """

    def __init__(self, settings: Settings, current: Callable[[], Settings]) -> None:
        self.settings, self._current = settings, current
        self.checkpoint = Checkpoint()
        """The checkpoint published last."""
        self.began: Checkpoint | None = None
        """The checkpoint that this process took over first; what it learnt itself came after."""
        self.quality: LiveQuality | None = None
        """How good the lists are; None before this process learnt."""
        self.lag = 0
        """Examples in Kafka not learnt yet."""
        self.items = 0
        self.half_lives_ms: dict[str, float] = {}
        """Half-life by generator."""
        self.leads: bool | None = None
        """Whether this process leads; None before the group of learners has decided."""
        self.active = False
        """Whether it leads and has read the published model."""
        self.losses = Losses()
        """Examples that were deleted before a learner read them."""
        self.topic_watch = TopicWatch(settings, "examples", self.losses, self._assigned)
        self.differences: list[str] = []
        """What this process did not take over of the published model, in words."""
        self.unread: dict[str, int] = {}
        """Rows on the topic that no component reads, and that are deleted, by the key of their component."""
        self.deleted = 0
        """Rows deleted because no component read them."""
        self.catalog: LiveCatalog | None = None
        """The catalog; None before this process learnt."""
        self.folder = settings.data_dir
        """Where the catalog's copy is kept."""
        self._sender = Sender(settings)

    @property
    def waiting_for(self) -> list[str]:
        """Why the learner is not ready, in words; empty when it is active or a standby."""
        if self.leads is None:
            return ["the learners are electing a leader", *self.topic_watch.problems]
        reading = ["model and catalog are being read"] if self.leads and not self.active else []
        return reading + self.topic_watch.problems

    def _assigned(self) -> range:
        """Partitions of `examples` that this process reads: all of them while it is active."""
        return range(self.settings.partitions if self.active else 0)

    def run(self, stop: threading.Event) -> None:
        """Take over, learn and publish until `stop` is set; blocks.

        `Fenced` if another learner took over; `KafkaException` if Kafka failed: what was not published is
        learnt again from the published model on.
        """
        settings = self._with_room()
        model = make_model(settings)
        warm_up_catalog(self.settings)
        warm_up_learner(self.settings)  # before the predecessor is fenced: until then it continues
        self.quality = quality = make_quality(settings, model)
        copies = [replica.model for replica in quality.replicas]
        writer = ModelWriter(self.settings)
        checkpoint, unread = self._take_over(restore(self.settings, [model, *copies], stop), model, *copies)
        self.checkpoint = checkpoint.copy()
        self.began = self.began or self.checkpoint
        reader = ExampleReader(self.settings, checkpoint, self.losses)
        self.catalog = catalog = LiveCatalog(self.settings, [model, *copies], True, self._reject)
        catalog.start(self.folder)
        try:
            while not (stop.is_set() or catalog.ready):
                catalog.advance(LOADING_S)
                stop.wait(POLL_S)
            self.active = not stop.is_set()
            due, published, current = time.monotonic(), checkpoint.read, None
            while not stop.is_set():
                if current is not self._current():
                    current = self._current()
                    set_half_lives(current, model, *copies)
                    self.half_lives_ms = model.half_lives_ms
                catalog.advance(GATHER_S)
                records = reader.poll(self.settings.learn_batch, GATHER_S, stop)
                learn(records, decode_example, model, checkpoint, quality)
                changed = checkpoint.read > published or unread or model.items.changed
                if changed and time.monotonic() >= due:
                    self._publish(writer, model, quality, checkpoint, unread)
                    published, due = checkpoint.read, time.monotonic() + self.settings.publish_interval_s
                self.lag, self.items = reader.lag(checkpoint), len(model.items)
            if checkpoint.read > published:
                self._publish(writer, model, quality, checkpoint, unread)
        finally:
            self.active = False
            reader.close()
            catalog.stop()

    def _with_room(self) -> Settings:
        """The settings, with room for all items of the published model."""
        last, own = last_checkpoint(self.settings), self.settings.max_items
        if last is None or last.item_rows <= own:
            return self.settings
        log.warning(
            "max_items: this learner has %s, the published model %s rows; %s is used until the topic model is"
            " deleted", own, last.item_rows, last.max_items,
        )  # fmt: skip
        return self.settings.model_copy(update={"max_items": last.max_items})

    def _take_over(self, restored: Restored, *models: Model) -> Restored:
        """Continue with the components that are understood, and start over with the others."""
        checkpoint, unread = restored
        names = models[0].parts.not_understood
        if checkpoint.layouts is None:
            self.differences = [f"{name} starts over: its rows are of another version" for name in names]
        else:
            found = differences(models[0].parts.layouts, checkpoint.layouts)
            texts = [d.text("this learner", "the published model", "starts over") for d in found]
            self.differences = [text for d, text in zip(found, texts, strict=True) if d.component in names]
        for model in models:
            model.parts.take_over(checkpoint.number + 1)
        self.unread = unread.by_component()
        for text in self.differences:
            log.warning("model: %s", text)
        if unread:
            log.warning("model: %s rows that no component reads are deleted: %s", len(unread), self.unread)
        return restored

    def _reject(self, record: CatalogRecord, error: Malformed) -> None:
        """Send a record of the catalog to `dead-letter`; workers leave that to the learner."""
        topic, policy = self.settings.topic("catalog"), ServingPolicy.from_settings(self.settings)
        key, value, headers = dead_letter(record, topic, error, policy)
        self._sender.send("dead-letter", key or b"", value, headers)

    def _publish(
        self, writer: ModelWriter, model: Model, quality: LiveQuality, checkpoint: Checkpoint,
        unread: UnreadRows,
    ) -> None:  # fmt: skip
        rows, deleted = model.dump_touched(), unread.take(DELETED_AT_ONCE)
        checkpoint.number += 1
        checkpoint.time, checkpoint.rows = now_ms(), len(rows) + len(deleted)
        checkpoint.layouts = model.parts.published()
        checkpoint.max_items, checkpoint.item_rows = model.items.capacity, len(model.items.ids)
        writer.publish(rows | deleted, checkpoint)
        quality.published(rows)
        self.checkpoint, self.deleted = checkpoint.copy(), self.deleted + len(deleted)
        if deleted:
            self.unread = unread.by_component()


def learn_while_leading(app: Any, learning: Learning, loaded: Callable[[], Awaitable[None]]) -> None:
    """Run the learner in a thread while this process leads the group of learners, once `loaded` returns.

    Faust's leader election gives liveness, the writer's fence safety: a learner that lost its place without
    knowing can publish nothing more.
    """

    @app.service
    class Leadership(Service):
        def __post_init__(self) -> None:
            self._stop_learning = threading.Event()
            self._work: asyncio.Future[None] | None = None

        async def on_start(self) -> None:
            quiet_logs()

        @Service.task
        async def _lead(self) -> None:
            await loaded()  # else the first examples count by settings that were changed
            while not self.should_stop:
                leading = learning.settings.embedded or app.is_leader()
                if leading or app.tables.recovery.completed.is_set():
                    learning.leads = leading
                if self._work is None and leading:
                    self.log.info("leading: taking over the model")
                    self._stop_learning.clear()
                    self._work = asyncio.ensure_future(asyncio.to_thread(learning.run, self._stop_learning))
                elif self._work is not None and not leading:
                    self._stop_learning.set()
                if self._work is not None and self._work.done():
                    work, self._work = self._work, None
                    error = work.exception()
                    if isinstance(error, KafkaException):
                        self.log.error("the learner starts again: %s", error.args[0].str())
                        await self.sleep(RETRY_S)
                    elif error is not None:
                        self.log.error("the learner ended: %s", error)
                        await self.crash(error)
                        return
                await self.sleep(ELECTION_S)

        async def on_stop(self) -> None:
            """Publish what was learnt, and end the thread."""
            self._stop_learning.set()
            if self._work is not None:
                await asyncio.wait([self._work], timeout=STOP_TIMEOUT_S)
