"""The examples that a worker would make of a log of events.

    log -> sort -> schedule -> accept -> examples

`streams.clients.publish.schedule` and `streams.step.accept` are those of the stream.  The log is read into
memory as one partition: about 0.5 kB an event.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice, pairwise
from typing import Any, NamedTuple

from models.core import Example
from streams.clients.publish import MAX_DISORDER, arrivals, schedule
from streams.event_messages import Event
from streams.offline.options import EvaluationOptions
from streams.settings import Settings
from streams.step.accept import accept, example
from streams.step.policy import ServingPolicy
from streams.step.users import User, Verdict


class LabelledExamples(NamedTuple):
    """The examples of a log, each with its label."""

    examples: list[Example]
    labels: list[str]
    """Value of the column `EvaluationOptions.label`, the window or part of each; empty without one."""


@dataclass
class LogCounts:
    """Events of a log, counted while they are read."""

    verdicts: Counter[Verdict] = field(default_factory=Counter)
    """Events by what became of them."""
    types: Counter[str] = field(default_factory=Counter)
    """Events by type."""
    sorted: int = 0
    """Events that were out of order, where the log was therefore sorted; 0: it was not."""


def read_examples(
    log: Iterable[Event],
    policy: ServingPolicy,
    options: EvaluationOptions,
    counts: LogCounts,
    show: Callable[[int], None] = lambda count: None,
) -> Iterator[tuple[Example, str]]:
    """The examples that a worker would make of this log, each with its label; `counts` is updated.

    show: called with the number of events read so far.
    """
    label = options.label
    users: dict[str, User] = {}
    events = _filtered(log, options, show)
    if options.in_order_of_time:
        counts.sorted = sort(events)
    if options.drop_reloads:
        events = list(_without_reloads(events))
    for offset, scheduled in enumerate(schedule(_consumed(events))):
        event, arrival = scheduled.event, scheduled.arrival
        assert arrival is not None  # a log is not live
        user, verdict, accepted = accept(users.get(event.user, User()), event, offset, arrival, policy)
        users[event.user] = user
        counts.verdicts[verdict] += 1
        counts.types[event.type] += 1
        if accepted is not None and (learnable := example(accepted, user)) is not None:
            yield learnable, str(learnable.context.pop(label, "")) if label else ""


def sort(events: list[Event]) -> int:
    """Sort events by time, unless few of them are out of order; returns how many were, 0 if left as they are.

    An event that comes after a younger one is predicted by a model that has learnt what happened after it.  A
    few such events, up to `MAX_DISORDER` of all, are late as on the stream; more of them are a log in another
    order, by session or by user for example.
    """
    times = [event.time_ms for event in events]
    if all(before <= time for before, time in pairwise(times)):
        return 0
    displaced = sum(time != arrival for time, arrival in zip(times, arrivals(times), strict=True))
    if displaced <= MAX_DISORDER * len(events):
        return 0
    events.sort(key=lambda event: event.time_ms)
    return displaced


def _filtered(log: Iterable[Event], options: EvaluationOptions, show: Callable[[int], None]) -> list[Event]:
    events, least = [], options.min_value
    for count, event in enumerate(islice(log, options.limit), 1):
        if least is None or (event.value is not None and event.value >= least):
            events.append(event)
        show(count)
    return events


def _without_reloads(events: Iterable[Event]) -> Iterator[Event]:
    latest: dict[str, str | None] = {}
    for event in events:
        if latest.get(event.user) != event.item:
            yield event
        latest[event.user] = event.item


def _consumed(events: list[Event]) -> Iterator[Event]:
    """The events in their order; the list is empty afterwards, so that memory has each once."""
    events.reverse()
    while events:
        yield events.pop()


def with_event_weights(settings: Settings, weights: Mapping[str, float]) -> Settings:
    """The settings with these weights of event types; `*` is every other type."""
    by_type = {name: weight for name, weight in weights.items() if name != "*"}
    if "*" not in weights:
        update: dict[str, Any] = {"event_weights": settings.event_weights | by_type}
    else:
        update = {"event_weights": by_type, "unknown_event_weight": weights["*"]}
    return settings.model_copy(update=update)
