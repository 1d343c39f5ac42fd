"""Settings that are changed while workers run: each change is a record on the compacted topic `settings`.

Every worker and learner reads the topic from its beginning, so that all have the same, also after a
restart.  Pure.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from pydantic import ValidationError

from streams.messages import SettingChange
from streams.settings import BadSetting, Settings

LIVE = (
    "ranker", "generators", "event_weights", "unknown_event_weight", "half_lives_h", "list_length",
    "session_gap_s",
)  # fmt: skip
"""What can be changed so: it is decided anew for every event."""

EFFECTS = {
    "ranker": "orders all lists from now on; the learner trains the configured one all the same",
    "event_weights": "on events from now on; what was learnt stays learnt",
    "unknown_event_weight": "on events from now on; what was learnt stays learnt",
    "half_lives_h": "on what is counted from now on; what was counted stays, and fades at the new rate",
    "list_length": "on lists from now on; a user keeps the old one until the next event",
    "session_gap_s": "from each user's next event on; sessions of before stay as they are",
}
"""What a change does, and when."""


def effect(settings: Settings, name: str) -> str:
    """What a change of it would do as things are.

    >>> effect(Settings(ranker="mlp"), "generators")[:15]
    'none as long as'
    """
    if name != "generators":
        return EFFECTS[name]
    if settings.ranker == "blend":
        return "on lists from now on; 0 turns one off"
    return f"none as long as {settings.ranker} ranks, which uses all of them; under blend, 0 turns one off"


def overridden(configured: Settings, changes: Mapping[str, SettingChange]) -> Settings:
    """The settings with the changes; one that this version or this model does not take is left out."""
    settings = configured
    for name in sorted(changes.keys() & set(LIVE)):
        value = changes[name].value
        if value is not None:
            with suppress(BadSetting):
                settings = with_value(settings, name, value, configured)
    return settings


def with_value(settings: Settings, name: str, value: Any, configured: Settings) -> Settings:
    """The settings with another value of one.  `BadSetting` says why it cannot be.

    >>> with_value(Settings(), "list_length", 5, Settings()).list_length
    5
    >>> with_value(Settings(), "generators", {"next": 0.0}, Settings())
    Traceback (most recent call last):
    ...
    streams.settings.BadSetting: generators: at least one must be on
    """
    if name not in LIVE:
        raise BadSetting(f"{name} cannot be changed while workers run; there are {', '.join(LIVE)}")
    if name == "ranker" and value not in rankers(configured):
        raise BadSetting(f"ranker: there are {', '.join(rankers(configured))} in the model that runs")
    if name in ("generators", "half_lives_h") and isinstance(value, dict):
        if unknown := sorted(value.keys() - configured.generators.keys()):
            raise BadSetting(f"{name}: {', '.join(unknown)} is not in the model that runs")
        if name == "generators" and not any(value.values()):
            raise BadSetting("generators: at least one must be on")
    try:
        return Settings(**(dict(settings) | {name: value}))
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadSetting(f"{where or name}: {first['msg'].removeprefix('Value error, ')}") from None


def rankers(configured: Settings) -> tuple[str, ...]:
    """Those that a model has: the configured one, and the blend, which learns nothing."""
    return tuple(dict.fromkeys((configured.ranker, "blend")))


def switched_on(settings: Settings) -> Settings:
    """Without the generators whose weight is 0."""
    on = {name: weight for name, weight in settings.generators.items() if weight > 0}
    return settings.model_copy(update={"generators": on})
