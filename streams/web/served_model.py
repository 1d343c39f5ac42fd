"""The model that a worker recommends from, as its pages show it."""

from typing import Any

from streams.runtime.serving import Serving


def served_model(serving: Serving, now: int) -> dict[str, Any]:
    """Checkpoint, age in ms (None before the first checkpoint), items, and incomplete checkpoints."""
    current = serving.replica.current
    return {
        "checkpoint": current.number,
        "age_ms": max(now - current.time, 0) if current.number else None,
        "items": len(serving.model.items),
        "torn": serving.replica.torn,
    }
