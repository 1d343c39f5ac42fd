"""The learning app: `faust -A streams.learner worker`, or `freshet learner`.

One learner is active; any other is a standby that takes over.
"""

from typing import Any

from streams import topics
from streams.monitor.heartbeats import ProcessStatus
from streams.monitor.sample import LearnerSampler
from streams.runtime.background import run_in_background, thread
from streams.runtime.faust_app import make_app, prepare
from streams.runtime.learning import Learning, learn_while_leading
from streams.runtime.live_settings import LiveSettings
from streams.runtime.native_memory import MEMORY_TASK
from streams.settings import load_or_exit
from streams.web.routes import attach_learner_pages

settings = load_or_exit()
app = make_app(topics.LEARNING_APP, settings)
live_settings = LiveSettings(settings)
learning = Learning(settings, lambda: live_settings.current)
status, sampler = ProcessStatus(settings, "learning"), LearnerSampler(app, learning, settings)
run_in_background(
    app,
    [
        status.background_task(sampler.take),
        live_settings.background_task(),
        MEMORY_TASK,
        thread(learning.topic_watch.start, learning.topic_watch.stop),
    ],
)
learn_while_leading(app, learning, live_settings.loaded)
attach_learner_pages(app, learning, sampler, settings)


@app.on_worker_init.connect
def check(*args: Any, **kwargs: Any) -> None:
    """Refuse to start against topics that would break the state."""
    learning.folder = prepare(app, settings, topics.LEARNING_APP)
