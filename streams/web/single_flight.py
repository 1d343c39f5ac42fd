"""What several ask for is made once, however many look at it."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """`get(which)` makes a thing, and gives the same one to all for `fresh_s` seconds.

    Whoever asks while it is made waits for it; what failed is made anew for the next.
    """

    def __init__(self, make: Callable[[str], Awaitable[T]], fresh_s: float = 1.0) -> None:
        self._make, self._fresh_s = make, fresh_s
        self._made: dict[str, tuple[float, asyncio.Future[T]]] = {}

    async def get(self, which: str = "") -> T:
        """The thing of that name; what `make` raises."""
        made, thing = self._made.get(which, (0.0, None))
        if thing is None or time.monotonic() - made > self._fresh_s or _failed(thing):
            thing = asyncio.ensure_future(self._make(which))
            self._made[which] = time.monotonic(), thing
        return await asyncio.shield(thing)


def _failed(thing: asyncio.Future[T]) -> bool:
    return thing.done() and (thing.cancelled() or thing.exception() is not None)
