"""The settings, `/settings`: their values, who changed them, and changing some of them while workers run."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from aiohttp import web
from confluent_kafka import KafkaException
from pydantic import SecretStr

from models.evaluation.live import NOW
from models.model import Model
from models.units import DAY_MS, HOUR_MS
from streams.messages import now_ms
from streams.monitor.heartbeats import ProcessStatus
from streams.monitor.history import Point
from streams.monitor.quality import quality
from streams.runtime.live_settings import TIMEOUT_S, LiveSettings
from streams.runtime.overrides import LIVE, effect, rankers
from streams.settings import BadSetting, Settings
from streams.web.problem import Problem
from streams.web.security import authorize, form_fields
from streams.web.site import Page

MAX_WHO_LENGTH = 100
PRIVATE = ("sasl_", "ssl_", "web_token")
"""Prefixes of the settings that are on no page."""
MEASURED = "15min"
"""Span of the recall that is shown beside what can be changed."""
PREVIEWED = ("rules", "placements", "generators", "ranker", "list_length")
"""Settings whose effect on lists can be looked at before they are changed."""
AFTER_MS = {"hour": HOUR_MS, "day": DAY_MS, "week": 7 * DAY_MS}
ENTRY = "key:"
"""Prefix of the form fields for the entries of a setting that is a mapping."""


class SettingsPage:
    """All settings, and the POST that changes one."""

    def __init__(self, live_settings: LiveSettings, status: ProcessStatus, model: Model) -> None:
        self._live_settings, self._status, self._model = live_settings, status, model

    async def page(self, request: web.Request) -> Page:
        """The page of all settings."""
        return Page("settings", self._figures())

    async def change(self, request: web.Request) -> Page:
        """Change one setting for all processes: `setting`, `value`, `who`, and the token."""
        fields = await form_fields(request)
        authorize(request, fields, self._live_settings.configured)
        name, who = str(field(fields, "setting")), str(field(fields, "who")).strip()
        if not 0 < len(who) <= MAX_WHO_LENGTH:
            raise Problem(
                400, f"invalid `who` of {len(who)} characters: expected your name, 1 to {MAX_WHO_LENGTH}"
            )
        try:
            change = self._live_settings.checked(name, requested_value(fields), who, now_ms())
        except BadSetting as error:
            raise Problem(400, str(error)) from None
        try:
            applied = await self._live_settings.publish(change)
        except KafkaException as error:
            raise Problem(503, f"Kafka did not accept the change: {error.args[0].str()}") from None
        if not applied:
            raise Problem(
                503,
                f"the change of {name} is published, but was not applied on this worker within"
                f" {TIMEOUT_S:.0f} s: it will be once the topic settings is read",
            )
        return Page("settings", self._figures() | {"changed": name})

    def _figures(self) -> dict[str, Any]:
        configured, current = self._live_settings.configured, self._live_settings.current
        half_lives_ms = self._model.half_lives_ms
        hours = {name: round(ms / HOUR_MS, 6) for name, ms in half_lives_ms.items()}
        return {
            "may_change": configured.web_token is not None,
            "rankers": list(rankers(configured)),
            "changed": None,
            "previewed": list(PREVIEWED),
            "live": [
                described(configured, name)
                | {"value": hours if name == "half_lives_h" else printable(getattr(current, name))}
                | {"effect": effect(current, name)}
                | {"configured": printable(getattr(configured, name))}
                | {"last_change": self._last_change(name)}
                for name in LIVE
            ],
            "recall": recalls(configured, self._status.points(MEASURED)),
            "half_lives": half_lives(half_lives_ms),
            "fixed": [
                described(configured, name) | {"value": printable(getattr(configured, name))}
                for name in Settings.model_fields
                if name not in LIVE and not name.startswith(PRIVATE)
            ],
        }

    def _last_change(self, name: str) -> dict[str, Any] | None:
        change = self._live_settings.changes.get(name)
        if change is None:
            return None
        return {"who": change.who, "time": change.time, "old": change.old, "value": change.value}


def recalls(configured: Settings, points: Iterable[Point]) -> dict[str, float]:
    """Recall@10 by ranker and by generator alone, as on `/quality`, where it was measured."""
    measured = {entry["name"]: entry["recall"] for entry in quality([], points, MEASURED)["recommenders"]}
    if NOW in measured:
        measured[configured.ranker] = measured[NOW]
    names = (*rankers(configured), *configured.generators)
    return {name: measured[name] for name in names if name in measured}


def half_lives(ms_by_generator: Mapping[str, float]) -> list[dict[str, Any]]:
    """Half-life of each generator that decays, and the weight of an event after an hour, a day, a week."""
    return [
        {"generator": name, "half_life_ms": half_life_ms}
        | {f"after_{after}": 0.5 ** (elapsed_ms / half_life_ms) for after, elapsed_ms in AFTER_MS.items()}
        for name, half_life_ms in ms_by_generator.items()
    ]


def described(settings: Settings, name: str) -> dict[str, Any]:
    """A setting's name and what it means."""
    return {"setting": name, "means": Settings.model_fields[name].description or ""}


def requested_value(fields: Mapping[str, list[Any]]) -> Any:
    """The value that a form or JSON asks for; None: the configured one.

    >>> [requested_value(f) for f in ({"value": ["12"]}, {"value": [{"view": 2}]}, {"reset": ["1"]})]
    [12, {'view': 2}, None]
    >>> requested_value({"key:view": ["1"], "key:cart": ["2.5"], "new_key": ["wish"], "new_value": ["3"]})
    {'view': 1, 'cart': 2.5, 'wish': 3}
    """
    if "reset" in fields:
        return None
    entries = {name[len(ENTRY) :]: values[0] for name, values in fields.items() if name.startswith(ENTRY)}
    if new := str(field(fields, "new_key", "")).strip():
        entries[new] = field(fields, "new_value", "1")
    if entries:
        return {name: _parsed(text) for name, text in entries.items() if text != ""}
    return _parsed(field(fields, "value"))


def printable(value: Any) -> Any:
    """The value of a setting as JSON has it; a secret as stars."""
    if isinstance(value, SecretStr):
        return "***"
    if isinstance(value, frozenset):
        return sorted(value)
    return str(value) if isinstance(value, Path) else value


def _parsed(text: Any) -> Any:
    """A number if it is one; else the text, which the settings refuse where they expect a number."""
    try:
        return json.loads(text) if isinstance(text, str) else text
    except ValueError:
        return text


def field(fields: Mapping[str, list[Any]], name: str, default: Any = None) -> Any:
    """First value of a field; `Problem` 400 if it is missing and has no default."""
    if name not in fields and default is None:
        raise Problem(400, f"missing field `{name}`")
    return next(iter(fields.get(name, [])), default)
