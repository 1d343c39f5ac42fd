"""What the pages of a learner say: a dict that becomes JSON as it is, and HTML.  Times are ms."""

from typing import Any, Protocol

from models.checkpoint import Checkpoint
from models.evaluation.live import LiveQuality


class Learning(Protocol):
    """What the pages ask of a learner."""

    checkpoint: Checkpoint
    """The last published one."""
    began: Checkpoint | None
    """The one that this process took over first."""
    lag: int
    items: int
    quality: LiveQuality | None
    """None before it ever was active."""
    half_lives_ms: dict[str, float]
    """That it counts by."""
    active: bool
    waiting_for: list[str]
    """Why it is not ready, in words."""


def overview(learning: Learning, now: int) -> dict[str, Any]:
    """The learner at a glance; one that does not learn (yet) has no figures of its own."""
    if not learning.active:
        return {"state": _state(learning)} | dict.fromkeys(
            ("checkpoint", "examples", "repeated", "unusable", "lag", "items", "publish_age_ms", "rows",
             "half_lives_ms")
        )  # fmt: skip
    checkpoint = learning.checkpoint
    return {
        "state": _state(learning),
        "checkpoint": checkpoint.number,
        "examples": checkpoint.examples,
        "repeated": checkpoint.repeated,
        "unusable": checkpoint.unusable,
        "lag": learning.lag,
        "items": learning.items,
        "publish_age_ms": max(now - checkpoint.time, 0) if checkpoint.number else None,
        "rows": checkpoint.rows,
        "half_lives_ms": learning.half_lives_ms,
    }


def health(learning: Learning) -> dict[str, Any]:
    """A learner that stands by is as ready as one can be; one that leads is when it has the model."""
    waiting = learning.waiting_for
    return {"ready": not waiting, "state": _state(learning), "waiting_for": waiting}


def _state(learning: Learning) -> str:
    if learning.active:
        return "active"
    return "starting" if learning.waiting_for else "standby"
