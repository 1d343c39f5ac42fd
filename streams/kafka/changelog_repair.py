"""Users' stores and their changelog, brought together where they do not fit.

What is done, and why it is exact, is in changelog.py. It runs while Faust restores the stores: `begin`
before, `finish` after. A crash in between leaves the mark of a store as it was, and the next start does it
again.
"""

import asyncio
import logging
from collections.abc import Iterator
from typing import Any, Protocol

import msgspec
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from streams.errors import UserError
from streams.kafka.changelog import Changelog, Mark, Plan, change, describe, plan
from streams.kafka.client import confluent
from streams.kafka.repairs import CHANGELOG, Repairs
from streams.settings import Settings
from streams.step.users import decode_user

log = logging.getLogger(__name__)

CHECK_S = 5.0
"""Interval at which a running worker looks whether the changelog is still the same."""
BATCHES_IN_FLIGHT = 8
"""Batches that are sent before the first of them is waited for."""


class ChangelogChanged(UserError):
    """The changelog is another than when the stores were restored: a restart brings them together."""

    def __init__(self, topic: str, what: str) -> None:
        create = (
            "create it with `freshet topics`, then start again" if what == "was deleted" else "start again"
        )
        super().__init__(f"{topic} {what} while this worker ran: {create}, and it writes its users to it")


class Stores(Protocol):
    """The stores of the users table, as `ChunkTable` has them."""

    app: Any
    changelog_topic_name: str
    repairs: Repairs

    def open_partitions(self) -> list[int]: ...  # noqa: D102
    def offset(self, partition: int) -> int | None: ...  # noqa: D102
    def mark(self, partition: int) -> Mark | None: ...  # noqa: D102
    def set_mark(self, partition: int, mark: Mark) -> None: ...  # noqa: D102
    def users(self, partition: int) -> Iterator[tuple[bytes, bytes]]: ...  # noqa: D102
    def store(self, partition: int, values: dict[bytes, bytes], changelog_offset: int) -> None: ...  # noqa: D102


class ChangelogRepair:
    """What is to be done for each partition of this worker, from an assignment to the next."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._admin: AdminClient | None = None
        self._plans: dict[int, Plan] = {}
        self._marks: dict[int, Mark] = {}
        """Marks of the stores that are restored."""

    def merges(self, partition: int) -> bool:
        """Whether the changelog is read from its beginning, and of two records the later event counts."""
        return partition in self._plans and self._plans[partition].repair

    async def begin(self, stores: Stores) -> None:
        """Compare each store with the changelog.  `ChangelogChanged` if there is no changelog."""
        changelog = await asyncio.to_thread(self._describe)
        if changelog is None:
            raise ChangelogChanged(stores.changelog_topic_name, "was deleted")
        self._marks, self._plans = {}, {}
        for partition in stores.open_partitions():
            offset = stores.offset(partition)
            self._plans[partition] = found = plan(changelog, partition, offset, stores.mark(partition))
            if offset is None:
                stores.set_mark(partition, found.mark)
            elif found.repair:  # the restore overwrites the offset, which may be all that shows it
                stores.set_mark(partition, Mark("", 0))
            if found.reason:
                log.warning("%s, partition %d: %s", stores.changelog_topic_name, partition, found.reason)
            if found.lost:
                log.warning(
                    "%s, partition %d: users whose latest record is among up to %d deleted ones are lost, or"
                    " as they were before", stores.changelog_topic_name, partition, found.lost,
                )  # fmt: skip

    async def finish(self, stores: Stores) -> None:
        """Write the users to the changelog again where it lacks them, and mark the stores."""
        for partition, found in self._plans.items():
            if found.repair:
                count = await _write_again(stores, partition)
                detail = f"partition {partition}: {found.reason}; {count} users"
                stores.repairs.add(CHANGELOG, detail)
                stores.set_mark(partition, found.mark)
            self._marks[partition] = found.mark
        self._plans = {}

    async def check(self, topic: str) -> None:
        """`ChangelogChanged` if the changelog is not the one that the stores were restored from."""
        if not self._marks:
            return
        marks = dict(self._marks)
        try:
            what = change(marks, await asyncio.to_thread(self._describe))
        except KafkaException:  # it does not answer: the next check will tell
            return
        if what:
            raise ChangelogChanged(topic, what)

    def _describe(self) -> Changelog | None:
        if self._admin is None:
            self._admin = AdminClient(confluent(self._settings, log_level=4))
        return describe(self._admin, self._settings)


def later(own: bytes | None, record: bytes) -> bool:
    """Whether a user of the store has a later event than a record of the changelog."""
    return own is not None and _event(own) > _event(record)


def _event(value: bytes) -> int:
    try:
        return decode_user(value).offset
    except msgspec.MsgspecError:
        return -1


async def _write_again(stores: Stores, partition: int) -> int:
    """Send every user of a store to the changelog, and store the offset that it then includes."""
    producer, topic = stores.app.producer._producer, stores.changelog_topic_name
    sent: list[tuple[Any, int]] = []
    count, end = 0, -1
    for batch in _batches(producer, stores.users(partition)):
        if len(sent) == BATCHES_IN_FLIGHT:
            end = await _end(*sent.pop(0))
        sent.append((await producer.send_batch(batch, topic, partition=partition), batch.record_count()))
        count += batch.record_count()
    for future, records in sent:
        end = await _end(future, records)
    if count:
        stores.store(partition, {}, end)
    return count


def _batches(producer: Any, users: Iterator[tuple[bytes, bytes]]) -> Iterator[Any]:
    """The users as full batches, closed."""
    batch = producer.create_batch()
    for key, value in users:
        if batch.append(timestamp=None, key=key, value=value, headers=[]) is None:  # full
            batch.close()
            yield batch
            batch = producer.create_batch()
            batch.append(timestamp=None, key=key, value=value, headers=[])  # an empty one takes any
    if batch.record_count():
        batch.close()
        yield batch


async def _end(future: Any, records: int) -> int:
    """Offset of the last record of a batch."""
    offset: int = (await future).offset
    return offset + records - 1
