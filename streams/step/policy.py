"""The settings that the serving step decides by, in the units that it uses."""

from dataclasses import dataclass

from models.core import KINDS, RETURNED
from models.units import HOUR_MS, MINUTE_MS, SECOND_MS
from streams.event_messages import CONTROL, Event
from streams.setting_types import Placement, make_placements
from streams.settings import Settings


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """How a user's events are divided into sessions, and how much of a user is kept."""

    session_gap_ms: int = 30 * MINUTE_MS
    """Inactivity that ends a session."""
    grace_ms: int = HOUR_MS
    """A late event younger than this is put in its place."""
    history_length: int = 50
    """Events kept of a user."""
    dedupe_events: int = 128
    """Event ids remembered of a user."""

    @classmethod
    def from_settings(cls, settings: Settings) -> "SessionLimits":
        """The limits in milliseconds and counts."""
        return cls(
            session_gap_ms=int(settings.session_gap_s * SECOND_MS),
            grace_ms=int(settings.grace_s * SECOND_MS),
            history_length=settings.history_length,
            dedupe_events=settings.dedupe_events,
        )


@dataclass(frozen=True, slots=True)
class ServingPolicy:
    """Which events count, how much, and which are answered."""

    sessions: SessionLimits
    event_weights: dict[str, float]
    unknown_event_weight: float
    accept_unknown_types: bool
    unanswered_types: frozenset[str]
    max_event_bytes: int
    max_ahead_ms: int
    """An event stamped further ahead of its arrival gets its arrival as time."""
    list_length: int
    answer_all_within_ms: int
    """Time after which only the latest event of a user in a micro-batch is answered, ms; 0: all are."""
    answer_none_after_ms: int
    """Time after which an event is not answered, ms; 0: there is none."""
    placements: dict[str, Placement]
    """Lists beside the default one, by name."""
    filters: frozenset[str]
    """Attributes of the catalog, and `tags`, that requests may filter by."""
    partitions: int
    """Partitions of `events`."""

    @classmethod
    def from_settings(cls, settings: Settings) -> "ServingPolicy":
        """The part of the settings that the step needs."""
        return cls(
            SessionLimits.from_settings(settings),
            settings.event_weights,
            settings.unknown_event_weight,
            settings.accept_unknown_types,
            settings.unanswered_types,
            settings.max_event_bytes,
            int(settings.max_ahead_s * SECOND_MS),
            settings.list_length,
            int(settings.answer_all_within_s * SECOND_MS),
            int(settings.answer_none_after_s * SECOND_MS),
            make_placements(settings.placements),
            frozenset(settings.catalog_filters),
            settings.partitions,
        )

    def accepts(self, event_type: str) -> bool:
        """Whether events of this type are accepted; others go to the dead-letter topic."""
        return self.accept_unknown_types or event_type in self.event_weights or event_type in CONTROL

    def weight(self, event_type: str) -> float:
        """How much an event of this type teaches; 0: nothing."""
        if event_type in CONTROL or KINDS.get(event_type) == RETURNED:
            return 0.0
        return self.event_weights.get(event_type, self.unknown_event_weight)

    def remembers(self, event_type: str) -> bool:
        """Whether an event of this type becomes history: it teaches, or says that its item came back."""
        if KINDS.get(event_type) == RETURNED:
            return self.event_weights.get(event_type, self.unknown_event_weight) > 0
        return self.weight(event_type) > 0

    def asks(self, event: Event) -> bool:
        """Whether the event is answered with the default list."""
        return not event.placement if event.type == "request" else event.type not in self.unanswered_types
