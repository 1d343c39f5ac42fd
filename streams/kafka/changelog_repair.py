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
from aiokafka import TopicPartition
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from streams.errors import UserError
from streams.kafka.changelog import Changelog, Mark, Plan, change, describe, plan
from streams.kafka.client import PASSING, confluent
from streams.kafka.fenced_producer import Fenced
from streams.kafka.repairs import CHANGELOG, Repairs
from streams.settings import Settings
from streams.step.users import decode_user
from streams.step.writes import OutputRecord
from streams.topics import topics

log = logging.getLogger(__name__)

CHECK_S = 5.0
"""Interval at which a running worker looks whether the changelog is still the same."""
ATTEMPTS, PAUSE_S = 30, 1.0
"""Times that Kafka is asked about the changelog before the stores are restored, and the time between."""
TRANSACTION_BYTES = 1 << 22
"""Keys and values of the users in one transaction, bytes."""


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
        self._events = topics(settings)["events"].name
        self._member: Any = None
        """The member of the group that the partitions are assigned to."""
        self._marks: dict[int, Mark] = {}
        """Marks of the stores that are restored."""

    def merges(self, partition: int) -> bool:
        """Whether the changelog is read from its beginning, and of two records the later event counts."""
        return partition in self._plans and self._plans[partition].repair

    async def begin(self, stores: Stores) -> None:
        """Compare each store with the changelog.  `ChangelogChanged` if there is no changelog."""
        changelog = await self._described()
        if changelog is None:
            raise ChangelogChanged(stores.changelog_topic_name, "was deleted")
        self._marks, self._plans = {}, {}
        self._member = stores.app.consumer.thread.member
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
                try:
                    count = await self._write_again(stores, partition)
                except Fenced as error:
                    # the next assignment plans again, here or on the worker that has the partition now
                    log.warning("%s is not written: %s", stores.changelog_topic_name, error)
                    return
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

    async def _write_again(self, stores: Stores, partition: int) -> int:
        """Write every user of a store to the changelog, and store the offset that it then includes.

        `Fenced` if the consumer group has moved on since `begin`.
        """
        app, place = stores.app, (stores.changelog_topic_name, partition)
        events = TopicPartition(self._events, partition)
        offset = await app.consumer.thread.next_offset(events)
        count, end = 0, -1
        for part in _parts(stores.users(partition)):
            ends = await app.producer.transactions.write({place: part}, {events: offset}, self._member)
            end = ends[place]
            count += len(part)
        if count:
            stores.store(partition, {}, end)
        return count

    async def _described(self) -> Changelog | None:
        """The changelog now; a topic that was created a moment ago may have no leader yet."""
        for _ in range(ATTEMPTS - 1):
            try:
                return await asyncio.to_thread(self._describe)
            except KafkaException as error:
                if error.args[0].code() not in PASSING:
                    raise
            await asyncio.sleep(PAUSE_S)
        return await asyncio.to_thread(self._describe)

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


def _parts(users: Iterator[tuple[bytes, bytes]]) -> Iterator[list[OutputRecord]]:
    """The users as lists of records of about `TRANSACTION_BYTES`."""
    part: list[OutputRecord] = []
    size = 0
    for key, value in users:
        part.append((key, value, []))
        size += len(key) + len(value)
        if size >= TRANSACTION_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part
