"""Settings that are changed while workers run: read from the topic, applied between two micro-batches."""

import asyncio
import time
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from models.core import Query
from streams.kafka.client import producer_config
from streams.messages import SettingChange, encode
from streams.runtime.background import BackgroundTask, thread
from streams.runtime.factory import set_half_lives
from streams.runtime.overrides import LIVE, switched_on, with_value
from streams.runtime.serving import Serving
from streams.runtime.settings_topic import SettingsTopic
from streams.settings import Settings

PATIENCE_S = 5.0


class LiveSettings:
    """Keeps a serving worker's settings as the topic says."""

    def __init__(self, serving: Serving) -> None:
        self.settings = SettingsTopic(serving.settings, self._changed)
        self._serving = serving
        self._loop: asyncio.AbstractEventLoop | None = None
        self._turn = asyncio.Lock()

    def chore(self) -> BackgroundTask:
        """To follow the topic, as long as the worker runs."""
        return thread(self.start, self.settings.stop)

    def start(self) -> None:
        """Begin to read; on the loop that serves."""
        self._loop = asyncio.get_running_loop()
        self.settings.start()

    async def loaded(self) -> None:
        """Return when what was changed before the start is applied, or after a while without."""
        until = time.monotonic() + PATIENCE_S
        while not self.settings.caught_up and time.monotonic() < until:
            await asyncio.sleep(0.01)

    def checked(self, name: str, value: Any, who: str, now: int) -> SettingChange:
        """The change as a record; `BadSetting` if it cannot be.  None for the value takes the last back."""
        current = self.settings.current
        if value is not None or name not in LIVE:
            value = getattr(with_value(current, name, value, self.settings.configured), name)
        return SettingChange(setting=name, value=value, old=getattr(current, name), who=who, time=now)

    def write(self, change: SettingChange) -> None:
        """Publish it; `KafkaException` if Kafka does not take it.  BlockSums."""
        failed: list[KafkaError] = []
        producer = Producer(producer_config(self.settings.configured))
        producer.produce(
            self.settings.configured.topic("settings"),
            encode(change),
            change.setting,
            partition=0,
            on_delivery=lambda error, _: failed.append(error) if error else None,
        )
        if producer.flush(PATIENCE_S):
            failed.append(KafkaError(KafkaError._TIMED_OUT))
        if failed:
            raise KafkaException(failed[0])

    def _changed(self, name: str) -> None:
        assert self._loop is not None  # the thread is started after it is known
        asyncio.run_coroutine_threadsafe(self._use(name), self._loop)

    async def apply(self, name: str, change: SettingChange | None) -> None:
        """Take over a change; returns when the next micro-batch goes by it."""
        self.settings.note(name, change)
        await self._use(name)

    async def _use(self, name: str) -> None:
        async with self._turn:
            settings = switched_on(self.settings.current)
            if name == "half_lives_h":
                set_half_lives(settings, self._serving.model)
            recommender = self._serving.recommender
            if name in ("generators", "ranker"):
                recommender = await asyncio.to_thread(self._recommender, settings)
            self._serving.use(settings, recommender)

    def _recommender(self, settings: Settings) -> Any:
        """Compiled before it serves."""
        made = self._serving.make_recommender(settings)
        made.recommend([Query((), 0, 0)], settings.list_length)
        return made
