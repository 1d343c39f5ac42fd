"""Settings that can be changed while the processes run, and what a change of each does.  Pure."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from pydantic import ValidationError

from models.registry import RANKERS
from streams.messages import SettingChange
from streams.settings import BadSetting, Settings

LIVE = {
    "ranker": "orders all lists from now on; the learner continues to train the configured one",
    "generators": "on lists from now on; 0 turns one off",
    "event_weights": "on events from now on; what was learnt before stays",
    "unknown_event_weight": "on events from now on; what was learnt before stays",
    "half_lives_h": "on events from now on; earlier counts stay, and decay at the new rate",
    "list_length": "on lists from now on; a user keeps the old one until the next event",
    "rules": "on lists from now on; a user keeps the old one until the next event",
    "placements": "on lists from now on; requests for one that is not there are dead letters",
    "answer_all_within_s": "from the next micro-batch on; from when on these are larger stays as configured",
    "answer_none_after_s": "from the next micro-batch on",
    "session_gap_s": "from each user's next event on; earlier sessions stay as they are",
}
"""Settings that can be changed while the processes run, with the effect of a change."""


def effect(settings: Settings, name: str) -> str:
    """What a change of a setting would do under these settings.

    >>> effect(Settings(ranker="mlp"), "generators")[:15]
    'none while mlp '
    """
    if name == "generators" and RANKERS[settings.ranker].learns:
        return f"none while {settings.ranker} ranks, which uses all of them; with blend, 0 turns one off"
    return LIVE[name]


def overridden(configured: Settings, changes: Mapping[str, SettingChange]) -> Settings:
    """The settings with these changes; a change that this version or this model does not take is left out."""
    settings = configured
    for name in sorted(changes.keys() & LIVE.keys()):
        value = changes[name].value
        if value is not None:
            with suppress(BadSetting):
                settings = with_value(settings, name, value, configured)
    return settings


def with_value(settings: Settings, name: str, value: Any, configured: Settings) -> Settings:
    """The settings with another value of one of them; `BadSetting` says why it cannot have it.

    >>> with_value(Settings(), "list_length", 5, Settings()).list_length
    5
    >>> with_value(Settings(), "generators", {"next": 0.0}, Settings())
    Traceback (most recent call last):
    ...
    streams.settings.BadSetting: generators: at least one must have a weight above 0
    """
    if name not in LIVE:
        raise BadSetting(f"{name} cannot be changed while workers run; these can: {', '.join(LIVE)}")
    if name == "ranker" and value not in rankers(configured):
        raise BadSetting(f"ranker: the running model has {', '.join(rankers(configured))}")
    if name in ("generators", "half_lives_h") and isinstance(value, dict):
        if unknown := sorted(value.keys() - configured.generators.keys()):
            raise BadSetting(f"{name}: {', '.join(unknown)} is not in the running model")
        if name == "generators" and not any(value.values()):
            raise BadSetting("generators: at least one must have a weight above 0")
    try:
        return Settings(**(dict(settings) | {name: value}))
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise BadSetting(f"{field or name}: {first['msg'].removeprefix('Value error, ')}") from None


def rankers(configured: Settings) -> tuple[str, ...]:
    """The rankers that a running model has: the configured one, and the blend, which learns nothing."""
    return tuple(dict.fromkeys((configured.ranker, "blend")))


def switched_on(settings: Settings) -> Settings:
    """The settings without the generators whose weight is 0."""
    weighted = {name: weight for name, weight in settings.generators.items() if weight > 0}
    return settings.model_copy(update={"generators": weighted})
