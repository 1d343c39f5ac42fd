"""Settings that are changed while workers run: read from the topic, applied between two micro-batches."""

import asyncio
import time
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from models.core import Asked
from streams.kafka.client import producer_config
from streams.kafka.follower import Follower
from streams.messages import SettingChange, decode_change, encode
from streams.overrides import LIVE, overridden, switched_on, with_value
from streams.serving import Serving
from streams.settings import Settings
from streams.web.chores import Chore

PATIENCE_S = 5.0
IDLE_S = 60.0


async def _nothing() -> None:
    """The follower's thread does it all."""


class Changes:
    """Keeps a serving worker's settings as the topic says."""

    def __init__(self, serving: Serving) -> None:
        self.configured = serving.settings
        """As this worker was started."""
        self.made: dict[str, SettingChange] = {}
        """Setting ▶ its latest change."""
        self._serving = serving
        self._loop: asyncio.AbstractEventLoop | None = None
        self._turn = asyncio.Lock()
        self._follower = Follower(serving.settings, "settings", self._take)

    def chore(self) -> Chore:
        """To follow the topic, as long as the worker runs."""
        return Chore(IDLE_S, _nothing, self.start, self.stop)

    def start(self) -> None:
        """Begin to read; on the loop that serves."""
        self._loop = asyncio.get_running_loop()
        self._follower.start()

    def stop(self) -> None:
        """End the thread."""
        self._follower.stop()

    async def loaded(self) -> None:
        """Return when what was changed before the start is applied, or after a while without."""
        until = time.monotonic() + PATIENCE_S
        while not self._follower.caught_up and time.monotonic() < until:
            await asyncio.sleep(0.01)

    def current(self) -> Settings:
        """The settings with all changes."""
        return overridden(self.configured, self.made)

    def checked(self, name: str, value: Any, who: str, now: int) -> SettingChange:
        """The change as a record; `BadSetting` if it cannot be.  None for the value takes the last back."""
        current = self.current()
        if value is not None or name not in LIVE:
            value = getattr(with_value(current, name, value, self.configured), name)
        return SettingChange(setting=name, value=value, old=getattr(current, name), who=who, time=now)

    def write(self, change: SettingChange) -> None:
        """Publish it; `KafkaException` if Kafka does not take it.  Blocks."""
        failed: list[KafkaError] = []
        producer = Producer(producer_config(self.configured))
        producer.produce(
            self.configured.topic("settings"),
            encode(change),
            change.setting,
            partition=0,
            on_delivery=lambda error, _: failed.append(error) if error else None,
        )
        if producer.flush(PATIENCE_S):
            failed.append(KafkaError(KafkaError._TIMED_OUT))
        if failed:
            raise KafkaException(failed[0])

    def _take(self, key: bytes, value: bytes | None, written: int) -> None:
        change = decode_change(value) if value else None
        assert self._loop is not None  # the thread is started after it is known
        asyncio.run_coroutine_threadsafe(self.apply(key.decode(), change), self._loop)

    async def apply(self, name: str, change: SettingChange | None) -> None:
        """Take over a change; returns when the next micro-batch goes by it."""
        self.made.pop(name, None)
        if change is not None:
            self.made[name] = change
        async with self._turn:
            settings = switched_on(self.current())
            recommender = self._serving.recommender
            if name in ("generators", "ranker"):
                recommender = await asyncio.to_thread(self._recommender, settings)
            self._serving.use(settings, recommender)

    def _recommender(self, settings: Settings) -> Any:
        """Compiled before it serves."""
        made = self._serving.make_recommender(settings)
        made.recommend([Asked((), 0, 0)], settings.list_length)
        return made
