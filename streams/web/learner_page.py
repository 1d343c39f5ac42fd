"""The overview of a learner, `/` on its own web server.  Times are ms."""

from typing import Any

from aiohttp import web

from streams.messages import now_ms
from streams.runtime.learning import Learning
from streams.web.site import REFRESH_S, Page


class LearnerPage:
    """Answers for this learner alone."""

    def __init__(self, learning: Learning) -> None:
        self._learning = learning

    async def page(self, request: web.Request) -> Page:
        """The learner at a glance."""
        return Page("learner", learner_figures(self._learning, now_ms()), refresh_s=REFRESH_S)


def learner_figures(learning: Learning, now: int) -> dict[str, Any]:
    """State and figures; a learner that is not active has no figures."""
    if not learning.active:
        return {"state": state(learning), "problems": learning.topic_watch.problems} | dict.fromkeys(
            ("checkpoint", "examples", "repeated", "unusable", "lag", "items", "publish_age_ms", "rows",
             "half_lives_ms", "differences", "unread_rows", "deleted_rows")
        )  # fmt: skip
    checkpoint = learning.checkpoint
    return {
        "state": state(learning),
        "problems": learning.topic_watch.problems,
        "checkpoint": checkpoint.number,
        "examples": checkpoint.examples,
        "repeated": checkpoint.repeated,
        "unusable": checkpoint.unusable,
        "lag": learning.lag,
        "items": learning.items,
        "publish_age_ms": max(now - checkpoint.time, 0) if checkpoint.number else None,
        "rows": checkpoint.rows,
        "half_lives_ms": learning.half_lives_ms,
        "differences": learning.differences,
        "unread_rows": learning.unread,
        "deleted_rows": learning.deleted,
    }


def learner_health(learning: Learning) -> dict[str, Any]:
    """Whether a learner is ready: a standby is, the leader is once it has read the model."""
    waiting_for = learning.waiting_for
    return {"ready": not waiting_for, "state": state(learning), "waiting_for": waiting_for}


def state(learning: Learning) -> str:
    """`active`, `starting` or `standby`."""
    if learning.active:
        return "active"
    return "starting" if learning.waiting_for else "standby"
