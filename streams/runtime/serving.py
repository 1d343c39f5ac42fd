"""The parts of a serving worker, put together: what the agent and the pages share."""

import asyncio
import gc
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from models.core import Slate
from streams.kafka.chunks import ChunkApp
from streams.kafka.model_reader import ModelReader
from streams.kafka.table import ChunkTable
from streams.kafka.writer import BatchWriter
from streams.monitor.counts import Metrics
from streams.runtime.factory import make_model, make_recommender
from streams.runtime.warm_up import queries_for_warm_up
from streams.settings import Settings
from streams.step.serve import Record, ServingPolicy, Written, serve
from streams.step.users import User, decode_user

Watcher = Callable[[Sequence[Record], Mapping[int, Written]], None]


SWITCH_S = 0.0005
"""So long a thread keeps the interpreter while another waits for it.  A kernel gives it away and has to get
it back, a dozen times a recommendation: with Python's 5 ms, a thread that reads the model or draws a page
would hold up each of these."""


class ModelRecommender:
    """Recommends from the replica, at its checkpoint."""

    def __init__(self, replica: ModelReader, settings: Settings) -> None:
        self._replica = replica
        self._recommender = make_recommender(settings, replica.model, settings.ranking_threads)
        self.recommend, self.popular = self._recommender.recommend, self._recommender.popular

    @property
    def checkpoint(self) -> int:
        """Number of the checkpoint; 0 before the first."""
        return self._replica.current.number

    @property
    def checkpoint_time(self) -> int | None:
        """When it was published, ms."""
        return self._replica.current.time or None


class ConstantRecommender:
    """The same list for everybody: measures the plumbing alone."""

    checkpoint = 0
    checkpoint_time = None

    def recommend(self, asked: Any, k: int) -> list[Slate]:
        """K items that are always the same."""
        slate = Slate(
            tuple(f"item-{n}" for n in range(k)), tuple(1.0 - n / k for n in range(k)), ("constant",) * k
        )
        return [slate] * len(asked)

    def popular(self, k: int) -> frozenset[str]:
        """Nothing."""
        return frozenset()


class Serving:
    """A serving worker's state and its one step."""

    def __init__(self, app: ChunkApp, table: ChunkTable, settings: Settings) -> None:
        self.app, self.table, self.settings = app, table, settings
        self.metrics = Metrics()
        self.policy = ServingPolicy.of(settings)
        self.model = make_model(settings)
        self.replica = ModelReader(settings, self.model)
        self.recommender = self.make_recommender(settings)
        self.positions: dict[int, int] = {}
        """Partition of `events` ▶ offset after the last event served by this process."""
        self.new_users: Counter[int] = Counter()
        """Partition ▶ users that this process was the first to see."""
        self.watchers: list[Watcher] = []
        """Called with each micro-batch and what it writes; they look, briefly."""
        self._model_loaded = False
        self._writer = BatchWriter(app, table)
        self._topics = {
            name: settings.topic(name) for name in ("events", "recommendations", "examples", "dead-letter")
        }

    async def step(self, stream: Any, event: Any) -> None:
        """Serve one chunk and hand over what it writes."""
        partitions, counts, ages_ms = serve(
            event.message.chunk, self._topics["events"], self._writer.get, self.recommender, self.policy,
            lambda: int(time.time() * 1000),
        )  # fmt: skip
        self.metrics.add(counts, ages_ms)
        for look in self.watchers:
            look(event.message.chunk, partitions)
        recommendations, examples, dead = (
            self._topics[name] for name in ("recommendations", "examples", "dead-letter")
        )
        urgent, outputs = {}, {}
        for partition, written in partitions.items():
            urgent[recommendations, partition] = [(k, v, []) for k, v in written.recommendations]
            outputs[examples, partition] = [(k, v, []) for k, v in written.examples]
            outputs[dead, partition] = written.dead_letters
            self.new_users[partition] += written.new_users
        changed = {partition: written.users for partition, written in partitions.items()}
        await self._writer.write(stream, event, changed, urgent, outputs)
        for tp, end in event.message.ends.items():
            self.positions[tp.partition] = end + 1

    def make_recommender(self, settings: Settings) -> ModelRecommender | ConstantRecommender:
        """Recommends from this worker's model as these settings say."""
        if settings.recommender == "constant":
            return ConstantRecommender()
        return ModelRecommender(self.replica, settings)

    def use(self, settings: Settings, recommender: ModelRecommender | ConstantRecommender) -> None:
        """Decide by these settings from the next micro-batch on."""
        self.policy, self.recommender = ServingPolicy.of(settings), recommender

    def start(self) -> None:
        """Compile the kernels, so that no event waits for them, and begin to read the model."""
        sys.setswitchinterval(SWITCH_S)
        for queries in queries_for_warm_up():
            self.recommender.recommend(queries, self.settings.list_length)
        self.replica.start()

    async def loaded(self) -> None:
        """Return when the model that was published before the start is applied, and users are restored.

        Until both are, nobody else keeps the replica going: Faust starts services last.
        """
        while not self.ready:
            self.replica.advance()
            await asyncio.sleep(0.01)
        gc.collect()
        gc.freeze()  # what lives now lives on: not to be walked again and again
        gc.set_threshold(50_000, 20, 50)

    @property
    def restored(self) -> bool:
        """Whether the users of this worker's partitions are all in its table."""
        return bool(self.app.tables.recovery.completed.is_set() and not self.app.rebalancing)

    @property
    def model_loaded(self) -> bool:
        """Whether the model that was published before the start is applied; stays so."""
        self._model_loaded = self._model_loaded or self.replica.ready
        return self._model_loaded

    @property
    def ready(self) -> bool:
        """Whether tables and replica are there to answer from."""
        return self.restored and self.model_loaded

    def unsaved(self, partition: int) -> list[bytes]:
        """Keys of the users whose newest record is not in the table yet."""
        return self._writer.unsaved(partition)

    def user(self, user_id: str) -> tuple[int, User] | None:
        """A user of this worker: partition and record; None if this worker has none such."""
        key = user_id.encode()
        for partition in self.table.open_partitions():
            if (value := self._writer.get(partition, key)) is not None:
                return partition, decode_user(value)
        return None
