"""A serving worker put together: users, the replica of the model, and the one step over them."""

import asyncio
import gc
import logging
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from faust.exceptions import ConsumerNotStarted
from faust.types import TP

from streams.errors import UserError
from streams.kafka.chunks import ChunkApp
from streams.kafka.group_reset import count_skipped
from streams.kafka.late_writes import LateWrites, read_repair
from streams.kafka.losses import Losses
from streams.kafka.model_reader import last_checkpoint
from streams.kafka.replica import Replica
from streams.kafka.table import ChunkTable
from streams.kafka.topic_watch import TopicWatch
from streams.kafka.writer import BatchWriter
from streams.messages import now_ms
from streams.runtime.catalog import LiveCatalog
from streams.runtime.factory import make_model, set_half_lives
from streams.runtime.overrides import switched_on
from streams.runtime.recommenders import ConstantRecommender, ModelRecommender, OfferedRecommender
from streams.runtime.warm_up import warm_up_catalog, warm_up_recommender, warm_up_replica
from streams.settings import Settings
from streams.step.in_parts import serve_in_parts
from streams.step.policy import ServingPolicy
from streams.step.serve import Record, serve
from streams.step.users import User, decode_user
from streams.step.writes import Writes
from streams.topics import topics

log = logging.getLogger(__name__)

Subscriber = Callable[[Sequence[Record], Writes], None]
"""Called with each micro-batch and what it writes, on the loop that serves: it must be quick."""

SWITCH_S = 0.0005
"""Time for which a thread keeps the interpreter while another waits for it.  A kernel releases it and has to
get it back, a dozen times a recommendation: with Python's 5 ms, a thread that reads the model or draws a page
would hold up each of these."""
POLL_S = 0.01
LOADING_S = 0.05
"""Time for which the catalog is applied at once, before the worker serves."""


class Serving:
    """The state of a serving worker and its step."""

    def __init__(self, app: ChunkApp, table: ChunkTable, settings: Settings) -> None:
        self.app, self.table, self.settings = app, table, settings
        self._started = time.monotonic()
        self.policy = ServingPolicy.from_settings(settings)
        self.model = make_model(settings)
        self.replica = Replica(settings, self.model, table.repairs)
        self.catalog = LiveCatalog(settings, [self.model], repairs=table.repairs)
        self.recommender = self._make_recommender(settings)
        self.positions: dict[int, int] = {}
        """Offset after the last event served by this process, by partition of `events`."""
        self.losses = Losses(self._committed)
        """Events that were deleted before a worker read them."""
        self.topic_watch = TopicWatch(settings, "events", self.losses, self.assigned)
        self._events = settings.topic("events")
        self._subscribers: dict[Subscriber, bool] = {}
        """Subscribers of the step, and whether one stays that raises."""
        self._model_loaded = self._catalog_loaded = False
        self.late_writes = LateWrites(
            self._recommendation_ends,
            lambda partition, records: self._writer.send_now("recommendations", partition, records),
            partial(read_repair, settings),
        )
        self._writer = BatchWriter(app, table, topics(settings), late_writes=self.late_writes)
        app.on_partitions_revoked.connect(self._on_revoked, weak=False)

    async def _recommendation_ends(self, partitions: Iterable[int]) -> dict[int, int]:
        topic = self.settings.topic("recommendations")
        ends = await self.app.consumer.highwaters(*(TP(topic, partition) for partition in partitions))
        return {tp.partition: end for tp, end in ends.items()}

    async def step(self, stream: Any, event: Any) -> None:
        """Serve one chunk and pass on what it writes."""
        records = event.message.chunk
        firsts = {record.partition: record.offset for record in reversed(records)}
        for tp, end in event.message.ends.items():
            self.losses.read(tp.partition, firsts[tp.partition], end + 1)
        writes = self._serve(records)
        self._notify(records, writes)
        await self._writer.write(stream, event, writes.users, writes.outputs)
        for tp, end in event.message.ends.items():
            self.positions[tp.partition] = end + 1

    def _serve(self, records: Sequence[Record]) -> Writes:
        topic, stored = self._events, self._writer.get
        recommender = OfferedRecommender(self.recommender, self.catalog)
        try:
            return serve(records, topic, stored, recommender, self.policy, now_ms)
        except UserError:  # of the store: no record is to blame
            raise
        except Exception:
            log.warning("the serving step failed; it is tried again with fewer records", exc_info=True)
        return serve_in_parts(records, topic, stored, recommender, self.policy, now_ms)

    @property
    def uptime_ms(self) -> int:
        """Time since the start, ms."""
        return int((time.monotonic() - self._started) * 1000)

    def subscribe(self, subscriber: Subscriber, keep: bool = False) -> None:
        """Call `subscriber` after each step.  One that raises is logged, and dropped unless `keep` is set."""
        self._subscribers[subscriber] = keep

    @property
    def subscribers(self) -> tuple[Subscriber, ...]:
        """Who is called after each step."""
        return tuple(self._subscribers)

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """Call `subscriber` no more; it may have been dropped already."""
        self._subscribers.pop(subscriber, None)

    def _notify(self, records: Sequence[Record], writes: Writes) -> None:
        for subscriber, keep in tuple(self._subscribers.items()):
            try:
                subscriber(records, writes)
            except Exception:
                dropped = "" if keep else ", and is dropped"
                log.exception("a subscriber of the step failed%s: %r", dropped, subscriber)
                if not keep:
                    self.unsubscribe(subscriber)

    def _make_recommender(self, settings: Settings) -> ModelRecommender | ConstantRecommender:
        if settings.recommender == "constant":
            return ConstantRecommender()
        return ModelRecommender(self.replica, settings)

    async def use(self, settings: Settings, changed: str) -> None:
        """Use these settings from the next micro-batch on; `changed` names the one that differs."""
        settings = switched_on(settings)
        if changed == "half_lives_h":
            set_half_lives(settings, self.model)
        recommender = await asyncio.to_thread(self.compiled, settings)
        self.policy, self.recommender = ServingPolicy.from_settings(settings), recommender

    def compiled(self, settings: Settings) -> ModelRecommender | ConstantRecommender:
        """A recommender whose kernels are compiled before it serves."""
        recommender = self._make_recommender(settings)
        warm_up_recommender(recommender, settings.list_length, settings.placements)
        return recommender

    def take_max_items(self) -> None:
        """Take the learner's `max_items`, if there is a checkpoint that has it; before the start.

        Lists then equal those of the learner, and the model always has room here.  `KafkaException` if Kafka
        does not answer.
        """
        if self.replica.started:  # Faust announces a worker twice
            return
        last, own = last_checkpoint(self.settings), self.model.items.capacity
        if last is not None and last.max_items not in (0, own):
            log.warning("max_items: this worker has %s, the learner %s, which is used", own, last.max_items)
            self.model.resize(last.max_items)
            set_half_lives(self.settings, self.model)
            self.recommender = self._make_recommender(self.settings)

    def start(self, folder: Path | None = None) -> None:
        """Compile the kernels, so that no event waits for them, and begin to read the model and the catalog.

        Their copies are kept in `folder`; by default in the data folder.
        """
        sys.setswitchinterval(SWITCH_S)
        warm_up_recommender(self.recommender, self.settings.list_length, self.settings.placements)
        warm_up_replica(self.settings)
        warm_up_catalog(self.settings)
        self.replica.start(folder)
        self.catalog.start(folder)

    async def loaded(self) -> None:
        """Return when model and catalog published before the start are applied, and users are restored.

        Until then nothing else advances them: Faust starts services last.
        """
        while True:
            self.replica.advance()
            self.catalog.advance(LOADING_S)
            if self.restored and self.model_loaded and self.catalog_loaded:
                break
            await asyncio.sleep(POLL_S)
        if not self.settings.embedded:  # nobody resets its groups
            await asyncio.to_thread(
                count_skipped,
                self.app,
                self.settings,
                self.policy,
                self._writer.get,
                self.losses,
                self.assigned(),
            )
        gc.collect()
        gc.freeze()  # what lives now lives on: not to be walked again and again
        gc.set_threshold(50_000, 20, 50)

    @property
    def restored(self) -> bool:
        """Whether the users of this worker's partitions are all in its table."""
        return bool(self.app.tables.recovery.completed.is_set() and not self.app.rebalancing)

    @property
    def model_loaded(self) -> bool:
        """Whether the model published before the start is applied; stays true."""
        self._model_loaded = self._model_loaded or self.replica.ready
        return self._model_loaded

    @property
    def catalog_loaded(self) -> bool:
        """Whether the catalog published before the start is applied to the model's items; stays true."""
        self._catalog_loaded = self._catalog_loaded or (self.model_loaded and self.catalog.ready)
        return self._catalog_loaded

    @property
    def ready(self) -> bool:
        """Whether users, model and catalog are there, and the topics are those of the start."""
        return not self.waiting_for

    @property
    def waiting_for(self) -> list[str]:
        """Why the worker is not ready, in words; empty when it is."""
        reasons = []
        if self.app.rebalancing:
            reasons.append("partitions are moving between workers")
        elif not self.restored:
            reasons.append("the users table is being restored")
        if not self.model_loaded:
            reasons.append("the model is being read")
        elif not self.catalog_loaded:
            reasons.append("the catalog is being read")
        return reasons + self.topic_watch.problems

    def assigned(self) -> list[int]:
        """Partitions of `events` that this worker has; none before Faust's consumer has started."""
        try:
            assignment = self.app.consumer.assignment()
        except ConsumerNotStarted:
            return []
        return [tp.partition for tp in assignment if tp.topic == self._events]

    def _committed(self, partition: int) -> int | None:
        """Committed offset of a partition of `events`; None if there is none, or before it is known."""
        consumer: Any = self.app.consumer  # Faust has no public name for the offsets
        offset: int | None = consumer._committed_offset.get(TP(self._events, partition))
        return offset

    async def _on_revoked(self, app: Any, revoked: Any, **kwargs: Any) -> None:
        self.losses.reassigned()

    def unsaved(self, partition: int) -> list[bytes]:
        """Keys of the users whose newest record is not in the table yet."""
        return self._writer.unsaved(partition)

    def user(self, user_id: str) -> tuple[int, User] | None:
        """Partition and record of a user; None if this worker has no such user."""
        key = user_id.encode()
        for partition in self.table.open_partitions():
            if (value := self._writer.get(partition, key)) is not None:
                return partition, decode_user(value)
        return None
