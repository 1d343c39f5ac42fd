"""Liveness and readiness of a process, `/health/live` and `/health/ready`."""

from collections.abc import Callable
from typing import Any

from aiohttp import web

from streams.web.site import Page


class HealthPage:
    """Answers from `health`, which gives `ready` and more; `about` is what `/health/live` adds."""

    def __init__(self, health: Callable[[], dict[str, Any]], **about: str) -> None:
        self._health, self._about = health, about

    async def live(self, request: web.Request) -> Page:
        """Whether the loop runs: this answer proves it."""
        return Page("health", self._about | {"live": True})

    async def ready(self, request: web.Request) -> Page:
        """Whether the process does its work; 503 until then."""
        health = self._health()
        return Page("health", health, 200 if health["ready"] else 503)
