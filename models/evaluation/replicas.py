"""Delayed replicas of a model: they show what freshness is worth.

A replica is refreshed only so often, with the rows that the live model has published since its last refresh,
as a worker on the stream is by a checkpoint.
"""

from collections.abc import Mapping, Sequence

from models.model import Model


class DelayedReplica:
    """A replica that is refreshed every `every_ms` of event time; None: once, and never again."""

    def __init__(self, name: str, model: Model, every_ms: int | None) -> None:
        self.name, self.model, self.every_ms = name, model, every_ms
        self.pending: dict[bytes, bytes | None] = {}
        """Rows published since the last refresh."""
        self._next: int | None = None
        self.refreshed: int | None = None
        """Event time of the last refresh, ms."""

    def due(self, time: int) -> bool:
        """Whether the next refresh is due at `time`, ms; the first always is."""
        return self._next is None or (self.every_ms is not None and time >= self._next)

    def refresh(self, time: int) -> None:
        """Apply the pending rows at event time `time`, ms."""
        self.model.apply(self.model.prepare(self.pending.items()))
        self.pending.clear()
        every = self.every_ms or 0
        start = time if self._next is None else self._next + (time - self._next) // max(every, 1) * every
        self._next, self.refreshed = start + every, time


def refresh_due(live: Model, replicas: Sequence[DelayedReplica], time: int) -> dict[bytes, bytes | None]:
    """Refresh the replicas that are due at `time`, ms; returns the rows that `live` published for it."""
    if not any(replica.due(time) for replica in replicas):
        return {}
    rows = live.dump_touched()
    distribute(rows, replicas, time)
    return rows


def distribute(rows: Mapping[bytes, bytes | None], replicas: Sequence[DelayedReplica], time: int) -> None:
    """Queue published rows for the replicas, and refresh those that are due at `time`, ms."""
    for replica in replicas:
        for key in rows:  # to the end of the dict: of a key that comes twice, the last one counts
            replica.pending.pop(key, None)
        replica.pending |= rows
        if replica.due(time):
            replica.refresh(time)
