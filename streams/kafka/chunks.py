"""Chunks in: a Faust consumer that hands a whole fetch to the stream as one event.

Faust spends up to 1 ms of Python on every message; one event for up to `chunk_events` records divides
that.  The event is the last record of its chunk, `event.message.chunk` holds all of them, of all the
partitions that the fetch had something of, and an ack of the event is one of them all.
Changelogs come the same way, but each partition's by itself, see `ChunkTable`.

    app = ChunkApp("id", chunk_topics={"events"}, ...)

Besides, it mends three things of faust-streaming 0.15: acks forgotten before the commit at a rebalance,
records dropped when a fetch races with a seek, and a partition without a commit that is not rewound.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import faust
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from mode.utils.futures import maybe_async

FETCH_MIN_BYTES = 16 * 1024
"""A fetch comes back when it has so much, or after the long poll.  At 1 a broker that gets 1,000 events a
second answers 1,000 fetches a second with one event each, and is busy with nothing else."""
QUIET_WAIT_MS = 50
"""After a tenth of a second without a record a fetch comes back with the first one, or after so long: who has
nothing to do should do nothing."""


class _ReadOffsets(defaultdict):
    """Faust drops what is at or below the highest offset that it ever delivered; not so for chunks.

    After a seek back that would drop records which were queued, then cleared: commits would stall.
    """

    def __init__(self, exempt: Collection[str]) -> None:
        super().__init__(lambda: None)
        self._exempt = exempt

    def __setitem__(self, tp: TP, offset: int) -> None:
        if tp.topic not in self._exempt:
            super().__setitem__(tp, offset)


class _OnLoop(driver.AIOKafkaConsumerThread):
    """What Faust gives a thread and a loop of its own, on the app's loop.

    Two threads hand each other the interpreter's lock, and each fetch, several times a chunk.  At 1,000
    events a second that takes more time than the events do.

    The long poll is settable (Faust: 1500 ms).  aiokafka keeps one fetch in flight to a broker, and a
    partition drained meanwhile waits until it returns: so it bounds what a quiet topic adds to latency.
    """

    wait_for_shutdown = False

    def __init__(self, *args: Any, loop: asyncio.AbstractEventLoop, **kwargs: Any) -> None:
        super().__init__(*args, loop=loop, thread_loop=loop, **kwargs)

    async def start(self) -> None:
        self._thread_started.set()
        await self._default_start()

    async def on_stop(self) -> None:
        await self.on_thread_stop()

    async def call_thread(self, fun: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any) -> Any:
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
        return consumer

    def expect(self, quiet: bool) -> None:
        """Of the next fetches."""
        fetcher, wait_ms = self._ensure_consumer()._fetcher, self.app.fetch_max_wait_ms
        quiet = quiet and self.app.waits_when_quiet
        fetcher._fetch_max_wait_ms = max(QUIET_WAIT_MS, wait_ms) if quiet else wait_ms
        fetcher._fetch_min_bytes = 1 if quiet else FETCH_MIN_BYTES


def chunks(fetched: Mapping[TP, Sequence[Any]], size: int) -> Iterator[tuple[dict[TP, int], list[Any]]]:
    """The records of a fetch, in chunks of at most `size`; with each, the last offset by partition.

    >>> from types import SimpleNamespace as R
    >>> a, b = TP("t", 0), TP("t", 1)
    >>> found = chunks({a: [R(offset=1), R(offset=2)], b: [R(offset=7), R(offset=8)]}, size=3)
    >>> [([end for end in ends.values()], len(records)) for ends, records in found]
    [([2, 7], 3), ([8], 1)]
    """
    ends: dict[TP, int] = {}
    chunk: list[Any] = []
    for tp, records in fetched.items():
        at = 0
        while at < len(records):
            part = records[at : at + size - len(chunk)]
            chunk += part
            ends[tp] = part[-1].offset
            at += len(part)
            if len(chunk) == size:
                yield ends, chunk
                ends, chunk = {}, []
    if chunk:
        yield ends, chunk


class ChunkConsumer(driver.Consumer):
    """Delivers chunks; commits up to the last chunk of an unbroken run of acked ones."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._ends: dict[TP, deque[int]] = defaultdict(deque)  # last offsets of delivered chunks
        self._seek_lock, self._seeks = asyncio.Lock(), 0
        super().__init__(*args, **kwargs)
        self._chunked: Collection[str] = self.app.chunk_topics
        self._read_offset = _ReadOffsets(self._chunked)

    def _new_consumer_thread(self) -> _OnLoop:
        return _OnLoop(self, loop=self.loop, beacon=self.beacon)

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Any]]:
        """Yield (tp, message); `message.chunk` holds the records."""
        if not self.flow_active:
            await self.wait(self.can_resume_flow)
        if not self._get_active_partitions():  # Faust would sleep 1 s here, and hold up the seek
            await asyncio.sleep(0.02)
            return
        async with self._seek_lock:  # a fetch is wholly before a seek or wholly after it
            seeks = self._seeks
            records, active = await self._wait_next_records(min(timeout, 0.1))
        if records is None or self.should_stop:
            return
        self._thread.expect(quiet=not records)
        if not self.flow_active:  # a rebalance began during the fetch
            try:
                await self.perform_seek()
            except Exception as error:
                self.log.warning("seek while the flow is stopped: %r", error)
            return
        generation = self.app.consumer_generation_id

        def fresh() -> bool:
            return self.flow_active and self._seeks == seeks and self.app.consumer_generation_id == generation

        source: dict[TP, list[Any]] = {}
        for tp, fetched in records.items():
            if active is not None and tp not in active and tp not in self._buffered_partitions:
                continue
            self.app.monitor.track_tp_end_offset(tp, self.highwater(tp))
            if tp.topic in self._chunked:
                source[tp] = fetched
                continue
            size = self.app.chunk_events if self._is_changelog_tp(tp) else 1
            for start in range(0, len(fetched), size):
                if not fresh():
                    return
                yield tp, self._chunk(tp, fetched[start : start + size])
        for ends, chunk in chunks(source, self.app.chunk_events):
            while self.app.rebalancing and fresh():
                await asyncio.sleep(0.005)  # until it is over, Faust clears the stream's queue
            if not fresh():
                return
            for tp, end in ends.items():
                self._ends[tp].append(end)
            tp = next(reversed(ends))
            message = self._chunk(tp, chunk)
            message.ends = ends
            yield tp, message

    def _chunk(self, tp: TP, records: list[Any]) -> Any:
        message = self._to_message(tp, records[-1])
        message.chunk = records
        return message

    def ack(self, message: Any) -> bool:
        """One ack of all partitions that a chunk has records of."""
        first = not message.acked
        done: bool = super().ack(message)
        if first and message.topic in self._chunked:
            for tp, end in message.ends.items():
                self._acked_index[tp].add(end)
                self._acked[tp].append(end)
        return done

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        if tp.topic not in self._chunked:  # the offsets inside a chunk are no gap
            await super()._add_gap(tp, offset_from, offset_to)

    def _new_offset(self, tp: TP) -> int | None:
        if tp.topic not in self._chunked:
            return super()._new_offset(tp)
        ends, acked, last = self._ends[tp], self._acked_index[tp], None
        while ends and ends[0] in acked:
            last = ends.popleft()
            acked.discard(last)
        self._acked[tp].clear()  # the index alone is our record of acks
        return None if last is None else last + 1

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Finish and commit the chunks in work before Faust's own steps.

        Faust forgets its acks first and commits after, hence nothing: every rebalance would replay up
        to a commit interval.
        """
        self.stop_flow()
        self.app.flow_control.suspend()
        self.app.flow_control.clear()  # chunks that are queued and not begun
        await self.wait_empty()  # chunks that are begun; ends with a commit
        await super().on_partitions_revoked(revoked)

    async def perform_seek(self) -> None:
        """Back to the committed offsets: every chunk fetched until now is history."""
        async with self._seek_lock:
            self._seeks += 1
            await super().perform_seek()
            self._ends.clear()
            for tp in [tp for tp in self._acked if tp.topic in self._chunked]:
                self._acked.pop(tp)
                self._acked_index.pop(tp, None)

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Aiokafka leaves a partition without a commit where it is; rewind that one too."""
        offsets = await super().seek_to_committed()
        unset = [tp for tp, at in offsets.items() if not at and tp.topic in self._chunked]
        if unset:
            await self._thread.seek_to_beginning(*unset)
        return offsets


class _Producer(driver.Producer):
    """Idempotent: else aiokafka gives up a batch after a while and sends the one behind it, and whoever
    skips what is not after the last offset that he saw would skip the first one for good.
    """

    def _settings_extra(self) -> Mapping[str, Any]:
        return {"acks": "all", "enable_idempotence": True} if self.app.idempotent else {}


class _Transport(driver.Transport):
    Consumer = ChunkConsumer
    Producer = _Producer


class ChunkApp(faust.App):
    """A Faust app whose agents on `chunk_topics` get chunks of at most `chunk_events` records."""

    def __init__(
        self,
        *args: Any,
        chunk_topics: Collection[str] = (),
        chunk_events: int = 1000,
        fetch_max_wait_ms: int = 5,
        waits_when_quiet: bool = True,
        idempotent: bool = True,
        **kwargs: Any,
    ) -> None:
        self.chunk_topics = frozenset(chunk_topics)
        self.chunk_events, self.fetch_max_wait_ms = chunk_events, fetch_max_wait_ms
        self.waits_when_quiet, self.idempotent = waits_when_quiet, idempotent
        super().__init__(*args, **kwargs)

    def _new_transport(self) -> Any:
        return _Transport(self.conf.broker_consumer, self)

    def _new_producer_transport(self) -> Any:
        return _Transport(self.conf.broker_producer, self)
