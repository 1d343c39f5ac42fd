"""The learning app: `faust -A streams.learner worker`, or `freshet learner`.

One learner is active; any other waits and takes over.  Faust's leader election gives the liveness, the
publisher's fence the safety: a learner that lost its place without knowing can publish nothing more.
"""

import asyncio
import threading
import time

from confluent_kafka import KafkaException
from mode import Service

from models.checkpoint import Checkpoint
from models.evaluation.live import LiveQuality
from models.learning import learn
from models.model import Model
from streams import topics
from streams.kafka.model_writer import ModelWriter
from streams.messages import decode_example
from streams.monitor.heartbeats import ProcessStatus
from streams.monitor.sample import LearnerSampler
from streams.runtime.background import keep, thread
from streams.runtime.factory import make_model, make_quality, set_half_lives
from streams.runtime.faust_app import make_app, prepare, quiet_logs
from streams.runtime.settings_topic import SettingsTopic
from streams.settings import load_or_exit
from streams.web import learner_page as learner_pages

STOP_S = 15.0
"""For the last publish, at the end."""

settings = load_or_exit()
app = make_app(topics.LEARNING_APP, settings)


@app.on_worker_init.connect
def check(app, **kwargs):  # type: ignore[no-untyped-def]
    """Refuse to start against topics that would break the state."""
    prepare(settings)


class Learning:
    """The learner at work: reads, learns, publishes, until `stop` is set."""

    def __init__(self) -> None:
        self.checkpoint = Checkpoint()
        self.began: Checkpoint | None = None
        """What this process took over first; what it learnt itself came after."""
        self.quality: LiveQuality | None = None
        """How good the lists are; None before it ever learnt."""
        self.lag = 0
        self.items = 0
        self.half_lives_ms: dict[str, float] = {}
        self.leads: bool | None = None
        """Whether it is this process that learns; None before the group of learners has decided."""
        self.active = False
        """It leads, and has what was published before."""

    @property
    def waiting_for(self) -> list[str]:
        """Why it is not ready, in words; empty when it learns, or stands by."""
        if self.leads is None:
            return ["the learners are agreeing on who learns"]
        return ["the published model is being read"] if self.leads and not self.active else []

    def run(self, stop: threading.Event) -> None:
        """Take over and learn.  `Fenced` when another took over from us."""
        model = make_model(settings)
        model.warm_up()  # before the predecessor is fenced: until then it goes on
        self.quality = quality = make_quality(settings, model)
        twins = [twin.model for twin in quality.twins]
        publisher, by = ModelWriter(settings), None
        try:
            checkpoint = publisher.restore([model, *twins], stop)
            self.checkpoint = Checkpoint.decode(checkpoint.encode())
            self.began = self.began or self.checkpoint
            self.active = not stop.is_set()
            due = time.monotonic()
            read = published = checkpoint.examples + checkpoint.repeated + checkpoint.unusable
            while not stop.is_set():
                if by is not changes.current:
                    by = changes.current
                    set_half_lives(by, model, *twins)
                    self.half_lives_ms = model.half_lives_ms
                records = publisher.poll(settings.learn_batch, 0.05)
                learn([_Record(m) for m in records], decode_example, model, checkpoint, quality)
                read = checkpoint.examples + checkpoint.repeated + checkpoint.unusable
                if read > published and time.monotonic() >= due:
                    self._publish(publisher, model, quality, checkpoint)
                    published, due = read, time.monotonic() + settings.publish_interval_s
                self.lag, self.items = publisher.lag(checkpoint), len(model.items)
            if read > published:
                self._publish(publisher, model, quality, checkpoint)
        finally:
            self.active = False
            publisher.close()

    def _publish(
        self, publisher: ModelWriter, model: Model, quality: LiveQuality, checkpoint: Checkpoint
    ) -> None:
        rows = model.dump_touched()
        checkpoint.number += 1
        checkpoint.time, checkpoint.rows = int(time.time() * 1000), len(rows)
        publisher.publish(rows, checkpoint)
        quality.published(rows)
        self.checkpoint = Checkpoint.decode(checkpoint.encode())


class _Record:
    """A message of confluent-kafka as `learn` takes it."""

    __slots__ = ("offset", "partition", "value")

    def __init__(self, message) -> None:  # type: ignore[no-untyped-def]
        self.partition, self.offset, self.value = message.partition(), message.offset(), message.value()


learning, changes = Learning(), SettingsTopic(settings)
board, readings = ProcessStatus(settings, "learning"), LearnerSampler(app, learning, settings)
keep(app, [board.chore(readings.now), thread(changes.start, changes.stop)])
learner_pages.install(app, learning, readings, settings)


@app.service
class Leadership(Service):
    """Runs the learner in a thread while this process leads."""

    def __post_init__(self) -> None:
        self._enough = threading.Event()
        self._work: asyncio.Future[None] | None = None

    async def on_start(self) -> None:
        """Keep an outage from flooding the log."""
        quiet_logs()

    @Service.task
    async def _lead(self) -> None:
        while not self.should_stop:
            leading = settings.embedded or app.is_leader()
            if leading or app.tables.recovery.completed.is_set():
                learning.leads = leading
            if self._work is None and leading:
                self.log.info("leading: taking over the model")
                self._enough.clear()
                self._work = asyncio.ensure_future(asyncio.to_thread(learning.run, self._enough))
            elif self._work is not None and not leading:
                self._enough.set()
            if self._work is not None and self._work.done():
                work, self._work = self._work, None
                error = work.exception()
                if isinstance(error, KafkaException):  # an outage: from the published model again
                    self.log.error("the learner starts again: %s", error.args[0].str())
                    await self.sleep(1.0)
                elif error is not None:
                    self.log.error("the learner ended: %s", error)
                    await self.crash(error)
                    return
            await self.sleep(0.2)

    async def on_stop(self) -> None:
        """Publish what was learnt, and end the thread."""
        self._enough.set()
        if self._work is not None:
            await asyncio.wait([self._work], timeout=STOP_S)
