"""What the pages of a learner say: a dict that becomes JSON as it is, and HTML.  Times are ms."""

from typing import Any, Protocol

from models.evaluation.live import LiveQuality
from models.learning import Checkpoint


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
    active: bool


def overview(learning: Learning, now: int) -> dict[str, Any]:
    """The learner at a glance; one that stands by has no figures of its own."""
    if not learning.active:
        return {"state": "standby"} | dict.fromkeys(
            ("checkpoint", "examples", "repeated", "unusable", "lag", "items", "publish_age_ms", "rows")
        )
    checkpoint = learning.checkpoint
    return {
        "state": "active",
        "checkpoint": checkpoint.number,
        "examples": checkpoint.examples,
        "repeated": checkpoint.repeated,
        "unusable": checkpoint.unusable,
        "lag": learning.lag,
        "items": learning.items,
        "publish_age_ms": max(now - checkpoint.time, 0) if checkpoint.number else None,
        "rows": checkpoint.rows,
    }


def health(learning: Learning) -> dict[str, Any]:
    """A learner that stands by is as ready as one can be."""
    return {"ready": True, "state": "active" if learning.active else "standby"}
