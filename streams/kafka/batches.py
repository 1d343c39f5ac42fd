"""Send records in as few batches as they fit into."""

from collections.abc import Iterable
from typing import Any

from streams.step.writes import OutputRecord

Sent = list[tuple[Any, int]]
"""The future of each batch sent, which gives the offset of its first record, and its number of records."""


async def send(producer: Any, topic: str, partition: int, records: Iterable[OutputRecord]) -> Sent:
    """Queue records for a partition; returns before Kafka has them."""
    sent: Sent = []

    async def submit(full: Any) -> None:
        full.close()
        sent.append((await producer.send_batch(full, topic, partition=partition), full.record_count()))

    batch = producer.create_batch()
    for key, value, headers in records:
        if batch.append(timestamp=None, key=key, value=value, headers=headers) is None:  # full
            await submit(batch)
            batch = producer.create_batch()
            batch.append(timestamp=None, key=key, value=value, headers=headers)  # an empty one takes any
    if batch.record_count():
        await submit(batch)
    return sent
