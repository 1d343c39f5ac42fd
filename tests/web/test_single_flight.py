"""A cache that loads each value once."""

import asyncio

import pytest

from streams.web.single_flight import SingleFlight


def test_concurrent_callers_share_a_load_and_keys_do_not():
    loads: list[str] = []

    async def load(key: str) -> str:
        loads.append(key)
        await asyncio.sleep(0)
        return key.upper()

    async def run() -> None:
        cache = SingleFlight(load, fresh_s=60)
        assert await asyncio.gather(*(cache.get(key) for key in "aabab")) == [*"AABAB"]
        assert await cache.get("a") == "A"
        assert loads == ["a", "b"]

    asyncio.run(run())


def test_a_value_that_is_not_fresh_is_loaded_again():
    loads: list[str] = []

    async def load(key: str) -> int:
        loads.append(key)
        return len(loads)

    async def run() -> None:
        cache = SingleFlight(load, fresh_s=-1)
        assert [await cache.get(), await cache.get()] == [1, 2]

    asyncio.run(run())


def test_a_load_that_failed_is_repeated_for_the_next_caller():
    failures = [ValueError("once")]

    async def load(key: str) -> str:
        if failures:
            raise failures.pop()
        return "value"

    async def run() -> None:
        cache = SingleFlight(load, fresh_s=60)
        with pytest.raises(ValueError, match="once"):
            await cache.get()
        assert await cache.get() == "value"

    asyncio.run(run())


def test_a_caller_that_gives_up_does_not_cancel_the_load():
    async def run() -> None:
        done = asyncio.Event()

        async def load(key: str) -> str:
            await done.wait()
            return "value"

        cache = SingleFlight(load, fresh_s=60)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(cache.get(), 0.01)
        waiting = asyncio.create_task(cache.get())
        await asyncio.sleep(0)
        done.set()
        assert await waiting == "value"

    asyncio.run(run())
