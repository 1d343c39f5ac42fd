"""All processes end with the same settings, however changes race: each is applied when it is read."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from streams.kafka.embedded import EmbeddedBroker
from streams.kafka.reading import latest, record
from streams.kafka.sending import Sender
from streams.messages import SettingChange, decode_change, encode
from streams.runtime import live_settings as module
from streams.runtime.live_settings import LiveSettings
from streams.settings import Settings
from tests.waiting import PATIENCE_S, until


@pytest.fixture
def settings(embedded: EmbeddedBroker, tmp_path: Path) -> Settings:
    """Settings of a broker with an empty topic `settings`."""
    settings = Settings(brokers=embedded.brokers, embedded=True, topic_prefix=f"{tmp_path.name}-")
    embedded.create(settings.topic("settings"))
    return settings


@asynccontextmanager
async def process(settings: Settings, apply: Any = None) -> AsyncIterator[LiveSettings]:
    """The live settings of one process, from start to stop."""
    live = LiveSettings(settings, apply)
    live.start()
    try:
        yield live
    finally:
        await asyncio.to_thread(live.background_task().stop)


def length(value: int) -> SettingChange:
    """A change of the list length."""
    return SettingChange(setting="list_length", value=value, old=None, who="ann", time=0)


def last_on_topic(settings: Settings) -> Any:
    """The value that was written last."""
    *_, message = (m for m in latest(settings, "settings", 1000, PATIENCE_S, record) if m.partition() == 0)
    return decode_change(message.value()).value


class Gate:
    """An apply callback that waits for `opened`, and remembers what it applied, in order."""

    def __init__(self) -> None:
        self.opened, self.log = asyncio.Event(), []

    async def __call__(self, settings: Settings, changed: str) -> None:
        self.log.append(f"begin {settings.list_length}")
        await self.opened.wait()
        self.log.append(f"end {settings.list_length}")


def test_changes_of_two_processes_end_alike_in_the_order_of_the_topic(settings: Settings):
    async def run() -> None:
        async with process(settings) as first, process(settings) as second:
            for n in range(10, 20):
                changes = (first.publish(length(2 * n)), second.publish(length(2 * n + 1)))
                assert await asyncio.gather(*changes) == [True, True]
            expected = await asyncio.to_thread(last_on_topic, settings)
            await until(lambda: first._applied == second._applied == 19)
            assert first.current == second.current
            assert first.current.list_length == expected
            assert first.changes == second.changes

    asyncio.run(run())


def test_a_later_change_that_is_read_before_publish_returns_is_not_undone(settings: Settings, monkeypatch):
    """The producer of the first process learns late that its change is on the topic."""

    async def run() -> None:
        async with process(settings) as first, process(settings) as second:
            sent, returning = threading.Event(), threading.Event()
            send = first._sender.send

            def slow_send(*record: Any, **more: Any) -> int:
                offset = send(*record, **more)
                sent.set()
                assert returning.wait(PATIENCE_S)
                return offset

            monkeypatch.setattr(first._sender, "send", slow_send)
            publishing = asyncio.create_task(first.publish(length(3)))
            await until(sent.is_set)
            assert await second.publish(length(4))
            await until(lambda: first.current.list_length == 4)
            returning.set()
            assert await publishing
            assert first.current == second.current
            assert first.current.list_length == 4

    asyncio.run(run())


def test_a_change_that_comes_while_another_is_applied_waits_for_it(settings: Settings):
    async def run() -> None:
        gate = Gate()
        async with process(settings, gate) as first, process(settings) as second:
            publishing = asyncio.create_task(first.publish(length(3)))
            await until(lambda: gate.log == ["begin 3"])
            assert await second.publish(length(4))
            await until(lambda: first._records.qsize() > 0)
            assert gate.log == ["begin 3"], "one at a time"
            assert not publishing.done()
            gate.opened.set()
            assert await publishing
            await until(lambda: len(gate.log) == 4)
            assert gate.log == ["begin 3", "end 3", "begin 4", "end 4"]
            assert first.current == second.current
            assert first.current.list_length == 4

    asyncio.run(run())


def test_loaded_waits_for_the_changes_made_before_the_start(settings: Settings):
    async def run() -> None:
        sender = Sender(settings)
        for n in (3, 4):
            await asyncio.to_thread(sender.send, "settings", b"list_length", encode(length(n)), partition=0)
        gate = Gate()
        async with process(settings, gate) as live:
            loading = asyncio.create_task(live.loaded())
            await until(lambda: gate.log == ["begin 3"])
            await until(lambda: live._records.qsize() == 2)  # the second change, and the end
            assert not loading.done()
            gate.opened.set()
            await loading
            assert live.current.list_length == 4
            assert gate.log == ["begin 3", "end 3", "begin 4", "end 4"]

    asyncio.run(run())


def test_publish_tells_when_its_change_is_not_applied_in_time(settings: Settings, monkeypatch):
    monkeypatch.setattr(module, "TIMEOUT_S", 0.2)

    async def run() -> None:
        gate = Gate()
        async with process(settings, gate) as live:
            assert await asyncio.wait_for(live.publish(length(3)), PATIENCE_S) is False
            gate.opened.set()
            await until(lambda: gate.log == ["begin 3", "end 3"])
            assert live.current.list_length == 3

    asyncio.run(run())


def test_a_change_that_cannot_be_applied_raises_and_the_next_one_is_applied(settings: Settings, caplog):
    async def apply(settings: Settings, changed: str) -> None:
        if settings.list_length == 3:
            raise ZeroDivisionError

    async def run() -> None:
        async with process(settings, apply) as live:
            with pytest.raises(ZeroDivisionError):
                await live.publish(length(3))
            assert await live.publish(length(4))
            assert live.current.list_length == 4

    asyncio.run(run())
    assert "the change of list_length could not be applied" in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_a_change_is_taken_back_by_a_value_of_none(settings: Settings):
    async def run() -> None:
        async with process(settings) as live:
            assert await live.publish(live.checked("list_length", 3, "ann", 1))
            assert live.current.list_length == 3
            change = live.checked("list_length", None, "ben", 2)
            assert (change.value, change.old) == (None, 3)
            assert await live.publish(change)
            assert live.current == settings
            assert live.changes["list_length"].who == "ben"

    asyncio.run(run())
