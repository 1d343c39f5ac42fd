"""The state of a worker, as its pages show it: readiness, and the model that it recommends from."""

from typing import Any

from streams.runtime.serving import Serving


def health(serving: Serving) -> dict[str, Any]:
    """Whether a serving worker can answer events."""
    return {"worker": serving.settings.name, "ready": serving.ready, "waiting_for": serving.waiting_for}


def served_model(serving: Serving, now: int) -> dict[str, Any]:
    """Checkpoint, age in ms (None before the first checkpoint), items, incomplete checkpoints, and how it
    differs from this worker's settings.
    """
    current = serving.replica.current
    return {
        "checkpoint": current.number,
        "age_ms": max(now - current.time, 0) if current.number else None,
        "items": len(serving.model.items),
        "torn": serving.replica.torn,
        "differences": serving.replica.differences,
    }
