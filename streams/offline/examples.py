"""The examples that a worker would make of a log of events.

    log -> schedule -> accept -> examples

`streams.clients.publish.schedule` and `streams.step.accept` are those of the stream.  The log is read into
memory as one partition: about 0.5 kB an event.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

from models.core import Example
from streams.clients.publish import schedule
from streams.messages import Event
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


def read_examples(
    log: Iterable[Event], policy: ServingPolicy, options: EvaluationOptions, counts: LogCounts
) -> Iterator[tuple[Example, str]]:
    """The examples that a worker would make of this log, each with its label; `counts` is updated."""
    label = options.label
    users: dict[str, User] = {}
    for offset, scheduled in enumerate(schedule(_filtered(log, options))):
        event, arrival = scheduled.event, scheduled.arrival
        assert arrival is not None  # a log is not live
        user, verdict, accepted = accept(users.get(event.user, User()), event, offset, arrival, policy)
        users[event.user] = user
        counts.verdicts[verdict] += 1
        counts.types[event.type] += 1
        if accepted is not None and (learnable := example(accepted, user)) is not None:
            yield learnable, str(learnable.context.pop(label, "")) if label else ""


def _filtered(log: Iterable[Event], options: EvaluationOptions) -> Iterator[Event]:
    latest: dict[str, str | None] = {}
    for event in islice(log, options.limit):
        if options.min_value is not None and (event.value is None or event.value < options.min_value):
            continue
        if options.drop_reloads:
            if latest.get(event.user) == event.item:
                continue
            latest[event.user] = event.item
        yield event


def with_event_weights(settings: Settings, weights: Mapping[str, float]) -> Settings:
    """The settings with these weights of event types; `*` is every other type."""
    by_type = {name: weight for name, weight in weights.items() if name != "*"}
    if "*" not in weights:
        update: dict[str, Any] = {"event_weights": settings.event_weights | by_type}
    else:
        update = {"event_weights": by_type, "unknown_event_weight": weights["*"]}
    return settings.model_copy(update=update)
