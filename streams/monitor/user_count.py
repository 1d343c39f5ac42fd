"""The number of users in this worker's partitions.

RocksDB's own estimate counts a user once for every write that is not compacted yet: ten times too many is
usual.  So the keys are counted, once for each partition after it was assigned to this worker, and then users
seen for the first time are added.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

from streams.kafka.changelog import OWN_KEYS
from streams.runtime.serving import Serving
from streams.step.serve import Record
from streams.step.writes import Writes

SLICE = 500
"""Keys counted at a time, in half a millisecond."""
PAUSE_S = 0.005
"""Pause between two slices."""


class UserCount:
    """Counts when `users` is first called after an assignment; `users` is None until it has counted."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._before: dict[int, int] = {}
        """Users by partition, less those that this process was the first to see."""
        self._new: Counter[int] = Counter()
        """Users that this process was the first to see, by partition."""
        serving.subscribe(self._add, keep=True)
        self._counting: asyncio.Task[None] | None = None
        # while partitions move, another worker may add users; and a count that began before the partitions
        # were restored is of a part of them
        serving.app.on_partitions_revoked.connect(self._start_over, weak=False)
        serving.app.on_rebalance_complete.connect(self._start_over, weak=False)

    def users(self) -> int | None:
        """Users in the partitions of this worker; None while these are restored or counted."""
        if not self._serving.restored:
            return None
        partitions = self._serving.table.open_partitions()
        if any(p not in self._before for p in partitions):
            if self._counting is None or self._counting.done():
                self._counting = asyncio.create_task(self._count())
            return None
        return sum(self._before[p] + self._new[p] for p in partitions)

    def _add(self, records: Sequence[Record], writes: Writes) -> None:
        self._new.update(writes.new_users)

    async def _count(self) -> None:
        for partition in self._serving.table.open_partitions():
            if partition not in self._before:
                new = self._new[partition]
                users = await self._count_keys(partition)
                self._before[partition] = users - new

    async def _count_keys(self, partition: int) -> int:
        snapshot, missing = self._serving.table.snapshot(partition), set(self._serving.unsaved(partition))
        count = 0
        for n, key in enumerate(snapshot.keys()):
            count += key not in OWN_KEYS
            missing.discard(key)
            if n % SLICE == SLICE - 1:
                await asyncio.sleep(PAUSE_S)
        return count + len(missing)

    async def _start_over(self, *args: Any, **kwargs: Any) -> None:
        if self._counting is not None:
            self._counting.cancel()  # its snapshot keeps the store's files locked
            self._counting = None
        self._before.clear()
