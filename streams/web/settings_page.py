"""The page of settings: what they are and from whom, and changing some of them while workers run."""

import asyncio
import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from aiohttp import web
from confluent_kafka import KafkaException
from pydantic import SecretStr

from models.evaluation.live import NOW
from models.model import Model
from models.units import DAY_MS, HOUR_MS
from streams.monitor.heartbeats import ProcessStatus
from streams.monitor.history import Point
from streams.monitor.quality import quality
from streams.runtime.live_settings import LiveSettings
from streams.runtime.overrides import LIVE, effect, rankers
from streams.runtime.settings_topic import SettingsTopic
from streams.settings import BadSetting, Settings
from streams.web.problem import Problem
from streams.web.site import Page
from streams.web.token import authorize, form

WHO_LENGTH = 100
PRIVATE = ("sasl_", "ssl_", "web_token")
"""Nobody's business on a page."""
MEASURED = "15min"
"""The span of the measurement that is shown beside what can be changed."""
AFTER = {"hour": HOUR_MS, "day": DAY_MS, "week": 7 * DAY_MS}
KEY = "key:"
"""Before the names of a form's fields for the entries of a setting that has several."""


class SettingsPages:
    """`/settings`, and the POST that changes one."""

    def __init__(self, changes: LiveSettings, board: ProcessStatus, model: Model) -> None:
        self._changes, self._board, self._model = changes, board, model

    async def page(self, request: web.Request) -> Page:
        """All of them."""
        return Page("settings", self._data())

    async def change(self, request: web.Request) -> Page:
        """Change one for all workers: `setting`, `value`, `who`, and the token."""
        fields = await form(request)
        authorize(request, fields, self._changes.settings.configured)
        name, who = str(_one(fields, "setting")), str(_one(fields, "who")).strip()
        if not 0 < len(who) <= WHO_LENGTH:
            raise Problem(400, "Who?", "Say in `who` who changes it; it is shown with the change.")
        try:
            change = self._changes.checked(name, value(fields), who, int(time.time() * 1000))
        except BadSetting as error:
            raise Problem(400, "This cannot be", str(error)) from None
        try:
            await asyncio.to_thread(self._changes.write, change)
        except KafkaException as error:
            raise Problem(503, "Kafka does not take it", error.args[0].str()) from None
        await self._changes.apply(name, change)  # here at once, in the others as soon as they read it
        return Page("settings", self._data() | {"changed": name})

    def _data(self) -> dict[str, Any]:
        changes, half_lives_ms = self._changes.settings, self._model.half_lives_ms
        configured, current = changes.configured, changes.current
        hours = {name: round(ms / HOUR_MS, 6) for name, ms in half_lives_ms.items()}
        return {
            "may_change": configured.web_token is not None,
            "rankers": list(rankers(configured)),
            "changed": None,
            "live": [
                described(configured, name)
                | {"value": hours if name == "half_lives_h" else printable(getattr(current, name))}
                | {"effect": effect(current, name)}
                | {"configured": printable(getattr(configured, name))}
                | {"last_change": _told(changes, name)}
                for name in LIVE
            ],
            "recall": recalls(configured, self._board.points(MEASURED)),
            "half_lives": half_lives(half_lives_ms),
            "fixed": [
                described(configured, name) | {"value": printable(getattr(configured, name))}
                for name in Settings.model_fields
                if name not in LIVE and not name.startswith(PRIVATE)
            ],
        }


def recalls(configured: Settings, points: Iterable[Point]) -> dict[str, float]:
    """Ranker or generator by itself ▶ recall@10 of late, as `/quality` has it, where it was measured."""
    found = {one["name"]: one["recall"] for one in quality([], points, MEASURED)["recommenders"]}
    if NOW in found:
        found[configured.ranker] = found[NOW]
    return {who: found[who] for who in (*rankers(configured), *configured.generators) if who in found}


def half_lives(ms: Mapping[str, float]) -> list[dict[str, Any]]:
    """Of the generators that forget by time: ms, and what an event counts after an hour, a day, a week."""
    return [
        {"generator": name, "half_life_ms": half_life}
        | {f"after_{after}": 0.5 ** (elapsed / half_life) for after, elapsed in AFTER.items()}
        for name, half_life in ms.items()
    ]


def described(settings: Settings, name: str) -> dict[str, Any]:
    """A setting's name and what it means."""
    return {"setting": name, "means": Settings.model_fields[name].description or ""}


def value(fields: Mapping[str, list[Any]]) -> Any:
    """The value of a form or of JSON; None: as configured.

    >>> value({"value": ["12"]}), value({"value": [{"view": 2}]}), value({"reset": ["1"]})
    (12, {'view': 2}, None)
    >>> value({"key:view": ["1"], "key:cart": ["2.5"], "new_key": ["wish"], "new_value": ["3"]})
    {'view': 1, 'cart': 2.5, 'wish': 3}
    """
    if "reset" in fields:
        return None
    entries = {name[len(KEY) :]: found[0] for name, found in fields.items() if name.startswith(KEY)}
    if new := str(_one(fields, "new_key", "")).strip():
        entries[new] = _one(fields, "new_value", "1")
    if entries:
        return {name: _parsed(text) for name, text in entries.items() if text != ""}
    return _parsed(_one(fields, "value"))


def printable(found: Any) -> Any:
    """As JSON has it; secrets as stars."""
    if isinstance(found, SecretStr):
        return "***"
    if isinstance(found, frozenset):
        return sorted(found)
    return str(found) if isinstance(found, Path) else found


def _parsed(text: Any) -> Any:
    """A number where it is one; else the text, which is refused where a number is due."""
    try:
        return json.loads(text) if isinstance(text, str) else text
    except ValueError:
        return text


def _one(fields: Mapping[str, list[Any]], name: str, default: Any = None) -> Any:
    if name not in fields and default is None:
        raise Problem(400, "Something is missing", f"The field {name}.")
    return next(iter(fields.get(name, [])), default)


def _told(changes: SettingsTopic, name: str) -> dict[str, Any] | None:
    change = changes.made.get(name)
    if change is None:
        return None
    return {"who": change.who, "time": change.time, "old": change.old, "value": change.value}
