"""The pages of a learner."""

import time
from pathlib import Path

from aiohttp import web

from models.checkpoint import Checkpoint
from streams import topics
from streams.kafka.losses import Losses
from streams.kafka.topic_watch import TopicWatch
from streams.monitor.sample import LearnerSampler
from streams.runtime.faust_app import make_app
from streams.settings import Settings
from streams.web.routes import attach_learner_pages
from tests.web.worker import BROWSER, Ask, Page, browse, samples, strict


class Learning:
    """A learner as the pages see it."""

    def __init__(
        self, active: bool, checkpoint: Checkpoint | None = None, waiting_for: tuple[str, ...] = ()
    ) -> None:
        self.active, self.checkpoint, self.began = active, checkpoint or Checkpoint(), Checkpoint()
        self.waiting_for = list(waiting_for)
        self.lag, self.items, self.quality = 4, 12, None
        self.half_lives_ms = {"trending": 7_200_000.0}
        self.settings, self.losses = Settings(), Losses()
        self.topic_watch = TopicWatch(self.settings, "examples", self.losses, lambda: range(0))
        self.differences = ["next starts over: <neighbours>"] if active else []
        self.unread, self.deleted = {"next": 40} if active else {}, 5


def learner(folder: Path, learning: Learning) -> web.Application:
    """The site of a learner."""
    settings = Settings(data_dir=folder)
    app = make_app(topics.LEARNING_APP, settings)
    attach_learner_pages(app, learning, LearnerSampler(app, learning, settings), settings)
    app.web.init_server()
    return app.web.web_app


def test_the_pages_of_a_learner_that_learns(tmp_path):
    checkpoint = Checkpoint(
        number=9, time=int(time.time() * 1000) - 100, rows=30, examples=200, repeated=5, unusable=1
    )
    learning = Learning(True, checkpoint)
    learning.topic_watch.problems = ["examples was recreated"]
    site = learner(tmp_path, learning)

    async def visit(ask: Ask) -> None:
        figures = strict((await ask("/"))[1])
        assert 100 <= figures.pop("publish_age_ms") < 60_000
        assert figures == {
            "state": "active", "problems": ["examples was recreated"],
            "checkpoint": 9, "examples": 200, "repeated": 5, "unusable": 1, "lag": 4,
            "items": 12, "rows": 30, "half_lives_ms": {"trending": 7_200_000.0},
            "differences": ["next starts over: <neighbours>"], "unread_rows": {"next": 40}, "deleted_rows": 5,
        }  # fmt: skip
        status, text, headers = await ask("/", BROWSER)
        assert status == 200
        assert '<span class="state good">active</span>' in text
        assert headers["Content-Security-Policy"]
        assert "trending 2 h" in Page(text).text
        assert "examples was recreated" in Page(text).text
        assert "next starts over: <neighbours>" in Page(text).text
        assert "5 deleted, 40 of next to be deleted" in Page(text).text
        assert (await ask("/.json", BROWSER))[2]["Content-Type"] == "application/json"
        for path in ("/health/live", "/health/ready"):
            assert (await ask(path))[0] == 200
        metrics = samples((await ask("/metrics"))[1])
        assert metrics["freshet_learner_active"] == {(): 1}
        assert metrics["freshet_examples_total"] == {(): 200}
        assert metrics["freshet_examples_repeated_total"] == {(): 5}
        assert metrics["freshet_learner_lag_examples"] == {(): 4}
        assert metrics["freshet_model_checkpoint"] == {(): 9}
        assert metrics["freshet_model_items"] == {(): 12}
        assert metrics["freshet_model_unread_rows"] == {(): 40}
        assert metrics["freshet_model_deleted_rows_total"] == {(): 5}
        for path in ("/users/ann", "/router/", "/table/", "/nothing"):
            assert (await ask(path))[0] == 404
        assert (await ask("/", method="POST"))[0] == 405

    browse(site, visit)


def test_the_pages_of_a_learner_that_stands_by(tmp_path):
    site = learner(tmp_path, Learning(False))

    async def visit(ask: Ask) -> None:
        figures = strict((await ask("/"))[1])
        assert (figures.pop("state"), figures.pop("problems")) == ("standby", [])
        assert set(figures.values()) == {None}
        assert "takes over" in (await ask("/", BROWSER))[1]
        ready = {"ready": True, "state": "standby", "waiting_for": []}
        assert strict((await ask("/health/ready"))[1]) == ready
        metrics = samples((await ask("/metrics"))[1])
        assert metrics["freshet_learner_active"] == {(): 0}
        assert "freshet_examples_total" not in metrics

    browse(site, visit)


def test_a_learner_that_still_reads_the_model_is_not_ready(tmp_path):
    learning = Learning(False, waiting_for=("the published model is being read",))
    site = learner(tmp_path, learning)

    async def visit(ask: Ask) -> None:
        status, text, _ = await ask("/health/ready")
        assert status == 503
        assert strict(text) == {
            "ready": False,
            "state": "starting",
            "waiting_for": ["the published model is being read"],
        }
        assert "is being read" in (await ask("/health/ready", BROWSER))[1]
        figures = strict((await ask("/"))[1])
        assert (figures.pop("state"), figures.pop("problems")) == ("starting", [])
        assert set(figures.values()) == {None}
        assert (await ask("/health/live"))[0] == 200
        learning.active, learning.waiting_for = True, []
        assert (await ask("/health/ready"))[0] == 200

    browse(site, visit)


def test_a_learner_that_published_nothing_yet(tmp_path):
    site = learner(tmp_path, Learning(True))

    async def visit(ask: Ask) -> None:
        assert strict((await ask("/"))[1])["publish_age_ms"] is None
        assert (await ask("/", BROWSER))[0] == 200

    browse(site, visit)
