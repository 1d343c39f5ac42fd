"""Faust's consumer on the loop of the app, with a fetch that waits as long as it should."""

import asyncio
import copy
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import READ_UNCOMMITTED
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from mode.utils.futures import maybe_async

from streams.kafka.fenced_producer import Member
from streams.kafka.fetch_waits import FETCH_MIN_BYTES, Wait


class LoopConsumer(driver.AIOKafkaConsumerThread):
    """Faust's consumer on the app's loop, instead of on a loop in a thread of its own.

    Two threads would pass the interpreter's lock to each other, and each fetch, several times a chunk.  At
    1,000 events a second that takes more time than the events do.

    The long poll is settable (Faust: 1500 ms).  aiokafka keeps one fetch in flight to a broker, and a
    partition drained meanwhile waits until it returns: so the long poll bounds what a quiet topic adds to the
    latency.
    """

    wait_for_shutdown = False

    def __init__(self, *args: Any, loop: asyncio.AbstractEventLoop, **kwargs: Any) -> None:
        super().__init__(*args, loop=loop, thread_loop=loop, **kwargs)

    async def start(self) -> None:
        """Start without a thread."""
        self._thread_started.set()
        await self._default_start()

    async def on_stop(self) -> None:
        """Close the connection."""
        await self.on_thread_stop()

    async def call_thread(self, fun: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any) -> Any:
        """Call a function on the loop that all share."""
        return await maybe_async(fun(*args, **kwargs))

    async def _stop_children(self) -> None:
        await self._default_stop_children()

    async def _stop_futures(self) -> None:
        await self._default_stop_futures()

    async def _stop_exit_stacks(self) -> None:
        await self._default_stop_exit_stacks()

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = self.app.fetch_max_wait_ms
        consumer._fetch_min_bytes = FETCH_MIN_BYTES
        if self.app.transactional_id:
            consumer._isolation_level = "read_committed"
        return consumer

    async def _highwaters(self, partitions: list[TP]) -> Mapping[TP, int]:
        """The end of each partition, open transactions included: a restore waits until they are decided.

        A reader of what is committed would be told the beginning of the first open one.
        """
        consumer = self._ensure_consumer()
        fetcher = copy.copy(consumer._fetcher)
        fetcher._isolation_level = READ_UNCOMMITTED
        ends: Mapping[TP, int] = await fetcher.end_offsets(partitions, consumer._request_timeout_ms)
        return ends

    def position(self, tp: TP) -> int | None:
        """The offset after the last record, or transaction marker, that a fetch returned; None: unknown."""
        subscription = self._ensure_consumer()._subscription.subscription
        assignment = subscription and subscription.assignment  # None while partitions move
        state = assignment and assignment.state_value(tp)  # aiokafka's own `position` waits until it is known
        return state.position if state and state.has_valid_position else None

    @property
    def member(self) -> Member:
        """The member of the group that this consumer is, now."""
        coordinator = self._ensure_consumer()._coordinator
        return Member(
            coordinator.group_id, coordinator.generation, coordinator.member_id,
            coordinator._group_instance_id,
        )  # fmt: skip

    async def next_offset(self, tp: TopicPartition) -> int:
        """The committed offset of a partition; its first offset if none is committed."""
        consumer = self._ensure_consumer()
        committed: int | None = await consumer.committed(tp)
        if committed is None:
            committed = (await consumer.beginning_offsets([tp]))[tp]
        return committed

    def expect(self, wait: Wait) -> None:
        """Set what the next fetches ask for."""
        fetcher = self._ensure_consumer()._fetcher
        fetcher._fetch_max_wait_ms, fetcher._fetch_min_bytes = wait
