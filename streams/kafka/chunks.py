"""A Faust consumer that passes a chunk of records to the stream as one event.

Faust spends up to 1 ms of Python on every message; one event for up to `chunk_events` records divides that.
The event is the last record of its chunk, `event.message.chunk` holds all records, of all the partitions that
the fetch returned records of, and an ack of the event acks them all.  Changelogs come the same way, but by
partition, see `ChunkTable`.

    app = ChunkApp("id", chunk_topics={"events"}, ...)

With a `transactional_id` the app reads what is committed only, and offsets of chunk topics are committed by
`app.producer.transactions`, with what was written of their records.

It also fixes three faults of faust-streaming 0.15: acks dropped before the commit at a rebalance, records
dropped when a fetch races with a seek, and a partition without a commit that is not rewound.
"""

import asyncio
import sys
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import faust
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from streams.kafka.fetch_waits import FetchWaits
from streams.kafka.header_names import accept_any_header_names
from streams.kafka.loop_consumer import LoopConsumer
from streams.kafka.producer import Producer
from streams.kafka.read_offsets import ReadOffsets
from streams.messages import now_ms
from streams.step.clock import is_replayed, kafka_time


def chunks(fetched: Mapping[TP, Sequence[Any]], size: int) -> Iterator[tuple[dict[TP, int], list[Any]]]:
    """Split the records of a fetch into chunks of at most `size`, each with its last offset by partition.

    >>> from types import SimpleNamespace as R
    >>> a, b = TP("t", 0), TP("t", 1)
    >>> parts = chunks({a: [R(offset=1), R(offset=2)], b: [R(offset=7), R(offset=8)]}, size=3)
    >>> [([end for end in ends.values()], len(records)) for ends, records in parts]
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


def _marker(tp: TP, offset: int | None) -> Any:
    """Stands in for the last record of a chunk that has none."""
    return SimpleNamespace(
        topic=tp.topic, partition=tp.partition, offset=offset, timestamp=0, timestamp_type=0, headers=(),
        key=None, value=None, checksum=None, serialized_key_size=0, serialized_value_size=0,
    )  # fmt: skip


class ChunkConsumer(driver.Consumer):
    """Delivers chunks, and commits up to the last chunk of an unbroken run of acked ones."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._ends: dict[TP, deque[int]] = defaultdict(deque)  # last offsets of delivered chunks
        self._seek_lock, self._seeks = asyncio.Lock(), 0
        self.fetched: dict[TP, int] = {}
        """Offset after the last record fetched since the last seek, by chunked partition."""
        super().__init__(*args, **kwargs)
        self._chunked: Collection[str] = self.app.chunk_topics
        self._waits = FetchWaits(self.app.fetch_max_wait_ms)
        self._read_offset = ReadOffsets(self._chunked)

    def _new_consumer_thread(self) -> LoopConsumer:
        return LoopConsumer(self, loop=self.loop, beacon=self.beacon)

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Any]]:  # noqa: ASYNC109  as in Faust
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
        left = (self.highwater(tp) - fetched[-1].offset - 1 for tp, fetched in records.items() if fetched)
        fetched_records = sum(map(len, records.values()))
        self._thread.expect(self._waits.after(fetched_records, any(n > 0 for n in left), time.monotonic()))
        if not self.flow_active:  # a rebalance began during the fetch
            try:
                await self.perform_seek()
            except Exception as error:  # noqa: BLE001  the next rebalance seeks again
                self.log.warning("seek while the flow is stopped: %r", error)
            return
        generation, member = self.app.consumer_generation_id, self._thread.member

        def fresh() -> bool:
            return self.flow_active and self._seeks == seeks and self.app.consumer_generation_id == generation

        source: dict[TP, list[Any]] = {}
        for tp, fetched in records.items():
            if active is not None and tp not in active and tp not in self._buffered_partitions:
                continue
            self.app.monitor.track_tp_end_offset(tp, self.highwater(tp))
            if tp.topic in self._chunked:
                source[tp] = fetched
                self.fetched[tp] = fetched[-1].offset + 1
                continue
            size = self.app.chunk_events if self._is_changelog_tp(tp) else 1
            for start in range(0, len(fetched), size):
                if not fresh():
                    return
                yield tp, self._chunk(tp, fetched[start : start + size])
        if self.app.transactional_id:
            for tp in self._changelogs_behind_a_marker(active):
                if not fresh():
                    return
                yield tp, self._chunk(tp, [], self._thread.position(tp) - 1)
        for ends, chunk in chunks(source, self.app.chunk_size(source, now_ms())):
            while self.app.rebalancing and fresh():  # noqa: ASYNC110  Faust has a flag, and no event
                await asyncio.sleep(0.005)  # until it is over, Faust clears the stream's queue
            if not fresh():
                return
            for tp, end in ends.items():
                self._ends[tp].append(end)
            tp = next(reversed(ends))
            message = self._chunk(tp, chunk)
            message.ends, message.member = ends, member
            yield tp, message

    @property
    def thread(self) -> LoopConsumer:
        """The consumer below this one."""
        thread: LoopConsumer = self._thread
        return thread

    def on_buffer_drop(self, tp: TP) -> None:
        """Fetch a partition again whose queue was full, unless it is paused: Faust forgets that.

        Events fetched while users are restored would wait for its end, and the changelog behind them.
        """
        super().on_buffer_drop(tp)
        if tp in self._paused_partitions:
            self._active_partitions.discard(tp)

    def _chunk(self, tp: TP, records: list[Any], offset: int | None = None) -> Any:
        """The message of a chunk; one without a record is at `offset`."""
        message = self._to_message(tp, records[-1] if records else _marker(tp, offset))
        message.chunk = records
        return message

    def _changelogs_behind_a_marker(self, active: Collection[TP] | None) -> Iterator[TP]:
        """The changelog partitions whose position is behind a transaction marker.

        Faust restores up to the end of a changelog, and no record is there, but a marker.
        """
        for tp in tuple(active or ()):  # a rebalance changes the set between two deliveries
            if not self._is_changelog_tp(tp):
                continue
            position, delivered = self._thread.position(tp), self._read_offset[tp]
            if position is not None and position - 1 > (-1 if delivered is None else delivered):
                yield tp

    def ack(self, message: Any) -> bool:
        """Ack all records of a chunk, in each of its partitions."""
        first = not message.acked
        done: bool = super().ack(message)
        if first and message.topic in self._chunked:
            for tp, end in message.ends.items():
                self._acked_index[tp].add(end)
                self._acked[tp].append(end)
        return done

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        if tp.topic not in self._chunked:  # the offsets inside a chunk are not a gap
            await super()._add_gap(tp, offset_from, offset_to)

    def _new_offset(self, tp: TP) -> int | None:
        if tp.topic not in self._chunked:
            plain: int | None = super()._new_offset(tp)
            return plain
        ends, acked, last = self._ends[tp], self._acked_index[tp], None
        while ends and ends[0] in acked:
            last = ends.popleft()
            acked.discard(last)
        self._acked[tp].clear()  # the index alone is our record of acks
        return None if last is None else last + 1

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Commit offsets, but those that transactions commit."""
        if self.app.transactional_id:
            offsets = {tp: offset for tp, offset in offsets.items() if tp.topic not in self._chunked}
        return not offsets or await super()._commit(offsets)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Finish and commit the chunks in progress before Faust's own steps.

        Faust drops its acks first and then has nothing to commit: every rebalance would replay up to a
        commit interval.
        """
        self.stop_flow()
        self.app.flow_control.suspend()
        self.app.flow_control.clear()  # chunks that are queued and not begun
        await self.wait_empty()  # chunks that are begun; ends with a commit
        await super().on_partitions_revoked(revoked)

    async def perform_seek(self) -> None:
        """Seek to the committed offsets; every chunk fetched before is dropped."""
        async with self._seek_lock:
            self._seeks += 1
            await super().perform_seek()
            self._ends.clear()
            self.fetched.clear()
            for tp in [tp for tp in self._acked if tp.topic in self._chunked]:
                self._acked.pop(tp)
                self._acked_index.pop(tp, None)

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Aiokafka leaves a partition without a commit where it is; rewind that one too."""
        offsets: Mapping[TP, int] = await super().seek_to_committed()
        unset = [tp for tp, at in offsets.items() if not at and tp.topic in self._chunked]
        if unset:
            await self._thread.seek_to_beginning(*unset)
        return offsets


class _Transport(driver.Transport):
    Consumer = ChunkConsumer
    Producer = Producer


class ChunkApp(faust.App):
    """A Faust app whose agents on `chunk_topics` get chunks of at most `chunk_events` records.

    A fetch whose oldest record waited longer than `whole_fetch_after_s` is one chunk: the more events of a
    user it holds, the fewer are answered (`streams.step.serve.superseded`).
    """

    def __init__(
        self,
        *args: Any,
        chunk_topics: Collection[str] = (),
        chunk_events: int = 1000,
        whole_fetch_after_s: float = float("inf"),
        fetch_max_wait_ms: int = 5,
        idempotent: bool = True,
        transactional_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.chunk_topics = frozenset(chunk_topics)
        self.chunk_events, self.fetch_max_wait_ms = chunk_events, fetch_max_wait_ms
        self.whole_fetch_after_s = whole_fetch_after_s
        self.idempotent = idempotent
        self.transactional_id = transactional_id
        accept_any_header_names()
        super().__init__(*args, **kwargs)

    def chunk_size(self, fetched: Mapping[TP, Sequence[Any]], now: int) -> int:
        """Records of a chunk of this fetch, at most; `now` is the wall time, ms.

        Records of a log that is replayed do not wait.
        """
        first = (records[0] for records in fetched.values() if records)
        live = [r.timestamp for r in first if not is_replayed(r.timestamp, r.headers, now)]
        oldest = min((kafka_time(timestamp, now) for timestamp in live), default=now)
        return sys.maxsize if now - oldest > 1000 * self.whole_fetch_after_s else self.chunk_events

    def _new_transport(self) -> Any:
        return _Transport(self.conf.broker_consumer, self)

    def _new_producer_transport(self) -> Any:
        return _Transport(self.conf.broker_producer, self)
