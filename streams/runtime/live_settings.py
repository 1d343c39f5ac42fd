"""Settings that are changed while the processes run.

Each change is a record on the compacted topic `settings`.  Every process follows the topic from its beginning
and applies the changes in its order, one at a time: so all of them end with the same settings, however
quickly changes follow each other and whoever makes them.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any

from streams.kafka.follower import Follower
from streams.kafka.sending import Sender
from streams.messages import SettingChange, decode_change, encode
from streams.runtime.background import BackgroundTask, thread
from streams.runtime.overrides import LIVE, overridden, with_value
from streams.settings import Settings

log = logging.getLogger(__name__)

TIMEOUT_S = 5.0
"""Time for which a start waits for the changes made before it, and a change for being applied here."""

ERRORS_KEPT = 16

Apply = Callable[[Settings, str], Awaitable[None]]
"""Makes the process use these settings, of which the named one changed."""


class LiveSettings:
    """The settings of this process: those configured, with the changes on the topic.

    `current` and `changes` are replaced, never changed, so that other threads may read them.
    """

    def __init__(self, configured: Settings, apply: Apply | None = None) -> None:
        self.configured = self.current = configured
        self.changes: Mapping[str, SettingChange] = MappingProxyType({})
        """The latest change of each setting that was changed."""
        self._apply = apply
        self._follower = Follower(configured, "settings", self._take, self._caught_up)
        self._sender = Sender(configured)
        self._records: asyncio.Queue[tuple[str, SettingChange | None, int] | None] = asyncio.Queue()
        """Records of the topic in their order; None: everything written before the start came before it."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._loaded = asyncio.Event()
        self._applied = -1
        """Offset of the latest record that was applied."""
        self._errors: dict[int, Exception] = {}
        """Why the latest changes could not be applied, by offset."""
        self._progress = asyncio.Condition()

    def background_task(self) -> BackgroundTask:
        """Follows the topic as long as the process runs."""
        return thread(self.start, self.stop)

    def start(self) -> None:
        """Begin to follow the topic; called on the process's loop.  A second call does nothing."""
        if self._task is None:
            self._loop = asyncio.get_running_loop()
            self._task = asyncio.create_task(self._apply_records())
            self._follower.start()

    def stop(self) -> None:
        """End following; called in a thread."""
        self._follower.stop()
        if self._loop is not None and self._task is not None:
            self._loop.call_soon_threadsafe(self._task.cancel)

    async def loaded(self) -> None:
        """Return when the changes made before the start are applied, or after `TIMEOUT_S` without them."""
        try:
            await asyncio.wait_for(self._loaded.wait(), TIMEOUT_S)
        except TimeoutError:
            log.warning("the settings changed while running could not be read within %s s", TIMEOUT_S)

    def checked(self, name: str, value: Any, who: str, now: int) -> SettingChange:
        """A change as a record; a value of None reverts the setting to its configured value.

        `BadSetting` if the setting cannot have this value, or cannot be changed while the processes run.
        """
        if value is not None or name not in LIVE:
            value = getattr(self.with_value(name, value), name)
        return SettingChange(setting=name, value=value, old=getattr(self.current, name), who=who, time=now)

    def with_value(self, name: str, value: Any) -> Settings:
        """The settings of now with another value of one of them; `BadSetting` if it cannot have it.

        None: the configured value.
        """
        if value is None and name in LIVE:
            value = getattr(self.configured, name)
        return with_value(self.current, name, value, self.configured)

    async def publish(self, change: SettingChange) -> bool:
        """Publish a change, and return whether it is applied here by now; other processes follow.

        `KafkaException` if Kafka does not acknowledge it; what applying it raised, if it failed.
        """
        offset = await asyncio.to_thread(
            self._sender.send, "settings", change.setting.encode(), encode(change), partition=0
        )
        try:
            async with asyncio.timeout(TIMEOUT_S), self._progress:
                await self._progress.wait_for(lambda: self._applied >= offset)
        except TimeoutError:
            return False
        if (error := self._errors.get(offset)) is not None:
            raise error
        return True

    def _take(self, key: bytes, value: bytes | None, offset: int, written: int) -> None:
        self._hand_over((key.decode(), decode_change(value) if value else None, offset))

    def _caught_up(self) -> None:
        self._hand_over(None)

    def _hand_over(self, record: tuple[str, SettingChange | None, int] | None) -> None:
        assert self._loop is not None  # the thread starts after it is known
        self._loop.call_soon_threadsafe(self._records.put_nowait, record)

    async def _apply_records(self) -> None:
        while True:
            record = await self._records.get()
            if record is None:
                self._loaded.set()
                continue
            name, change, offset = record
            try:
                await self._apply_record(name, change)
            except Exception as error:
                log.exception("the change of %s could not be applied", name)
                self._errors[offset] = error
                if len(self._errors) > ERRORS_KEPT:
                    del self._errors[min(self._errors)]
            async with self._progress:
                self._applied = offset
                self._progress.notify_all()

    async def _apply_record(self, name: str, change: SettingChange | None) -> None:
        changes = {setting: earlier for setting, earlier in self.changes.items() if setting != name}
        self.changes = MappingProxyType(changes if change is None else changes | {name: change})
        self.current = overridden(self.configured, self.changes)
        if self._apply is not None:
            await self._apply(self.current, name)
