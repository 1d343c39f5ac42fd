"""Waiting for what is meant, instead of for a time that may be too short."""

import asyncio
from collections.abc import Callable

PATIENCE_S = 20


async def until(condition: Callable[[], bool]) -> None:
    """Return when the condition holds; `TimeoutError` if it does not within `PATIENCE_S`."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110  most conditions change on other threads
            await asyncio.sleep(0.01)
