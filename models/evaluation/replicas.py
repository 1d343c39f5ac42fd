"""Twins of a model that are refreshed only so often: what freshness is worth.

A twin is a replica, and a refresh is what a checkpoint is on the stream: the rows touched since the last.
"""

from collections.abc import Mapping, Sequence

from models.model import Model


class Twin:
    """A replica refreshed every `every_ms` of event time; None: never after its first refresh."""

    def __init__(self, name: str, model: Model, every_ms: int | None) -> None:
        self.name, self.model, self.every_ms = name, model, every_ms
        self.pending: dict[bytes, bytes | None] = {}
        self._due: int | None = None
        self.refreshed: int | None = None
        """When it last was, event time, ms."""

    def due(self, time: int) -> bool:
        """Whether it is to be refreshed at `time`, ms; the first time always."""
        return self._due is None or (self.every_ms is not None and time >= self._due)

    def refresh(self, time: int) -> None:
        """Take over what is pending."""
        self.model.apply(self.model.prepare(self.pending.items()))
        self.pending.clear()
        every = self.every_ms or 0
        start = time if self._due is None else self._due + (time - self._due) // max(every, 1) * every
        self._due, self.refreshed = start + every, time


def refresh(live: Model, twins: Sequence[Twin], time: int) -> dict[bytes, bytes | None]:
    """Before predictions at `time`: refresh the twins that are due; what `live` published for it."""
    if not any(twin.due(time) for twin in twins):
        return {}
    rows = live.dump_touched()
    publish(rows, twins, time)
    return rows


def publish(rows: Mapping[bytes, bytes | None], twins: Sequence[Twin], time: int) -> None:
    """Give the twins what was published; those that are due at `time` take it over."""
    for twin in twins:
        for key in rows:  # at the end: of a key that comes twice, the last one counts
            twin.pending.pop(key, None)
        twin.pending |= rows
        if twin.due(time):
            twin.refresh(time)
