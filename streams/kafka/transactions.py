"""Transactions of a worker: its records and the offsets that they come from, all or nothing.

One transaction for each group commit.  The broker aborts one that stays open for `TIMEOUT_MS`, of a worker
that stands still or is gone, because everybody who reads the changelog waits for it.  A worker that stood
still has to begin again with a new producer; whether it still may write is for its consumer group to say, not
for the clock.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from aiokafka.errors import IllegalOperation, InvalidProducerIdMapping, InvalidTxnState, ProducerFenced

from streams.kafka.batches import send
from streams.kafka.fenced_producer import FencedProducer, Member
from streams.step.writes import OutputRecord

log = logging.getLogger(__name__)

TIMEOUT_MS = 5000
"""Time for which a transaction may stay open; one takes milliseconds."""
ABORTED = (ProducerFenced, InvalidProducerIdMapping, InvalidTxnState, IllegalOperation)
"""Errors of a producer whose transaction the broker has aborted; it cannot go on."""
ATTEMPTS = 5


class WorkerTwice(Exception):
    """Another process writes under the same name; the message names the setting."""


class Transactions:
    """Writes transactions under one transactional id, from `start` to `stop`.

    `make` returns a new producer.
    """

    def __init__(self, make: Callable[[], FencedProducer]) -> None:
        self._make = make
        self._producer: FencedProducer | None = None

    async def start(self) -> None:
        """Fence a predecessor, and abort what it left open."""
        self._producer = self._make()
        await self._producer.start()

    async def stop(self) -> None:
        """Close the connection; an open transaction is aborted."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.stop()

    async def write(
        self,
        records: Mapping[tuple[str, int], list[OutputRecord]],
        offsets: Mapping[Any, int],
        member: Member,
    ) -> dict[tuple[str, int], int]:
        """Write records by topic and partition, and commit `offsets`; returns each one's last offset.

        `Fenced` if the group has moved on: nothing of it is visible, or will be.
        """
        for _ in range(ATTEMPTS):
            try:
                return await self._attempt(records, offsets, member)
            except ABORTED as error:
                log.warning("Kafka has aborted a transaction (%r): it is written again", error)
                await self.stop()
                await self.start()
        raise WorkerTwice(
            f"{ATTEMPTS} transactions in succession were aborted: another worker has the same"
            f" FRESHET_WORKER_ID, or Kafka needs more than {TIMEOUT_MS / 1000:.0f} s for one"
        )

    async def _attempt(
        self,
        records: Mapping[tuple[str, int], list[OutputRecord]],
        offsets: Mapping[Any, int],
        member: Member,
    ) -> dict[tuple[str, int], int]:
        producer = self._producer
        assert producer is not None
        await producer.begin_transaction()
        try:
            sent = {
                (topic, partition): await send(producer, topic, partition, part)
                for (topic, partition), part in records.items()
            }
            await producer.commit_offsets(dict(offsets), member)
            ends = {}
            for place, batches in sent.items():
                for delivery, count in batches:
                    ends[place] = (await delivery).offset + count - 1
            await producer.commit_transaction()
        except ABORTED:
            raise
        except BaseException:
            await producer.abort_transaction()
            raise
        return ends
