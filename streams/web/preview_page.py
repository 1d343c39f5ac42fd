"""What a change of a setting would do to lists, `/settings/preview`: nothing is changed."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

from aiohttp import web

from models.core import Query, Slate
from streams.messages import now_ms
from streams.runtime.live_settings import LiveSettings
from streams.runtime.serving import Serving
from streams.settings import BadSetting, Settings
from streams.step.answers import DEFAULT
from streams.step.policy import ServingPolicy
from streams.step.serve import Record
from streams.step.users import User
from streams.step.writes import Writes
from streams.web.problem import Problem
from streams.web.security import authorize, form_fields
from streams.web.settings_page import PREVIEWED, field, requested_value
from streams.web.site import Page
from streams.web.user_page import placed

REMEMBERED = 200
"""Latest users of this worker whose lists can be compared."""
FROM_A_BATCH = 8
"""Users that are remembered of a micro-batch, at most."""
COMPARED, SHOWN = 50, 10
"""Users whose lists are compared, and shown."""


class PreviewPage:
    """Compares the lists of this worker's latest users under the settings of now and under changed ones."""

    def __init__(self, serving: Serving, live_settings: LiveSettings) -> None:
        self._serving, self._live_settings = serving, live_settings
        self._users: dict[str, None] = {}
        """The latest users, the latest last."""
        serving.subscribe(self._remember, keep=True)

    def _remember(self, records: Sequence[Record], writes: Writes) -> None:
        for _, _, event in writes.decoded[-FROM_A_BATCH:]:
            self._users.pop(event.user, None)
            self._users[event.user] = None
            if len(self._users) > REMEMBERED:
                del self._users[next(iter(self._users))]

    async def page(self, request: web.Request) -> Page:
        """The effect of `value` for `setting`, as the form that would change it sends them."""
        fields = await form_fields(request)
        authorize(request, fields, self._live_settings.configured)
        name = str(field(fields, "setting"))
        if name not in PREVIEWED:
            raise Problem(400, f"{name} has no preview: these have one: {', '.join(PREVIEWED)}")
        try:
            value = requested_value(fields)
            changed = self._live_settings.with_value(name, value)
        except BadSetting as error:
            raise Problem(400, str(error)) from None
        users = [
            (user, stored[1])
            for user in reversed(self._users)
            if (stored := self._serving.user(user)) is not None
        ][:COMPARED]
        figures = await asyncio.to_thread(compare, self._serving, self._live_settings.current, changed, users)
        return Page("preview", {"setting": name, "value": value, "time": now_ms()} | figures)


def compare(
    serving: Serving, current: Settings, changed: Settings, users: Sequence[tuple[str, User]]
) -> dict[str, Any]:
    """The lists of these users before and after: of each placement whose lists differ."""
    policies = [ServingPolicy.from_settings(settings) for settings in (current, changed)]
    recommenders = [serving.compiled(settings) for settings in (current, changed)]
    dropped = [Counter(recommender.dropped) for recommender in recommenders]
    lists, number = [], 0
    for placement in (DEFAULT, *dict.fromkeys([*policies[0].placements, *policies[1].placements])):
        sides: list[list[Slate]] = []
        for policy, recommender in zip(policies, recommenders, strict=True):
            queries: list[Query] = []
            if placement == DEFAULT or placement in policy.placements:
                queries = [placed(user, {}, placement, policy) for _, user in users]
            slates = recommender.recommend(queries, policy.list_length) if queries else []
            sides.append(slates or [Slate((), (), ())] * len(users))
        number += len(users)
        lists += [
            {
                "user": user,
                "placement": placement,
                "before": [{"item": item} for item in before.items],
                "after": [{"item": item, "new": item not in before.items} for item in after.items],
                "gone": [item for item in before.items if item not in after.items],
                "short": after.short,
            }
            for (user, _), before, after in zip(users, *sides, strict=True)
            if before.items != after.items
        ]
    drops = [Counter(r.dropped) - before for r, before in zip(recommenders, dropped, strict=True)]
    return {
        "users": len(users),
        "lists": number,
        "changed": len(lists),
        "new_items": sum(item["new"] for entry in lists for item in entry["after"]),
        "short": sum(entry["short"] for entry in lists),
        "dropped": {
            name: {"before": drops[0].get(name, 0), "after": drops[1].get(name, 0)}
            for name in dict.fromkeys([*drops[0], *drops[1]])
        },
        "examples": lists[:SHOWN],
    }
