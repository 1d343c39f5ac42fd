"""A cache that loads each value once, however many requests ask for it."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Caches what `load(key)` returns for `fresh_s` seconds.

    Callers of `get` during a load wait for it; after a load that failed the next caller loads again.
    """

    def __init__(self, load: Callable[[str], Awaitable[T]], fresh_s: float = 1.0) -> None:
        self._load, self._fresh_s = load, fresh_s
        self._entries: dict[str, tuple[float, asyncio.Future[T]]] = {}
        """When the load began (monotonic, s), and its result, by key."""

    async def get(self, key: str = "") -> T:
        """The value of the key; raises what `load` raises."""
        began, value = self._entries.get(key, (0.0, None))
        if value is None or time.monotonic() - began > self._fresh_s or _failed(value):
            value = asyncio.ensure_future(self._load(key))
            self._entries[key] = time.monotonic(), value
        return await asyncio.shield(value)


def _failed(value: asyncio.Future[T]) -> bool:
    return value.done() and (value.cancelled() or value.exception() is not None)
