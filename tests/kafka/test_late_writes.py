"""Recommendations that another worker writes late never stay the last of their key."""

import asyncio
import json

from confluent_kafka import Producer

from streams.kafka.admin import create
from streams.kafka.client import producer_config
from streams.kafka.late_writes import LateWrites, Repair, read_repair
from streams.settings import Settings


class Log:
    """One partition of `recommendations`, with keys and the offsets of the events that they answer."""

    def __init__(self) -> None:
        self.records: list[tuple[bytes, int]] = []
        self.watch = LateWrites(self._ends, self._send, self._read)

    async def _ends(self, partitions):
        return {partition: len(self.records) for partition in partitions}

    async def _send(self, partition, records):
        self.own(*((key, value) for key, value, _ in records))

    def _read(self, partition, start, gaps):
        late = [record for begin, end in gaps for record in self.records[begin:end]]
        newest, last = {}, {}
        for key, answered in self.records[start:]:
            newest[key], last[key] = max(answered, newest.get(key, -1)), answered
        stale = {key for key, _ in late if last[key] < newest[key]}
        return Repair([(key, newest[key], []) for key in stale], len(late))

    def own(self, *records):
        self.watch.sent(0, 1, [(key, value, []) for key, value in records])
        self.records += records
        self.watch.delivered(0, len(self.records) - len(records), len(records))

    def last(self):
        return dict(self.records)


async def check(log: Log, watched: bool = True) -> dict[bytes, int]:
    await log.watch.check()
    return log.last()


def test_a_late_record_between_own_ones_is_seen_by_the_gap():
    async def run():
        log = Log()
        await log.watch.assigned([0])
        log.own((b"a", 5), (b"b", 6))
        log.records.append((b"a", 3))
        log.own((b"c", 7))
        assert await check(log) == {b"a": 5, b"b": 6, b"c": 7}
        size = len(log.records)
        assert await check(log) == {b"a": 5, b"b": 6, b"c": 7}
        assert len(log.records) == size, "repaired once"
        assert log.watch.repaired == 1

    asyncio.run(run())


def test_a_late_record_after_the_last_own_one_is_seen_by_the_end():
    async def run():
        log = Log()
        log.records.append((b"a", 1))
        await log.watch.assigned([0])
        log.own((b"a", 5))
        log.records.append((b"a", 3))
        assert await check(log) == {b"a": 5}

    asyncio.run(run())


def test_what_is_sent_while_the_log_is_read_stays_the_last():
    async def run():
        log = Log()
        await log.watch.assigned([0])
        log.own((b"a", 5))
        log.records.append((b"a", 3))
        read = log._read

        def slow(*arguments):
            repair = read(*arguments)
            log.own((b"a", 9))
            return repair

        log.watch._read = slow
        assert await check(log) == {b"a": 9}

    asyncio.run(run())


def test_a_batch_on_its_way_is_not_taken_for_a_late_one():
    async def run():
        log = Log()
        await log.watch.assigned([0])
        log.watch.sent(0, 1, [(b"a", 5, [])])
        log.records.append((b"a", 5))
        log.watch._read = None
        assert await check(log) == {b"a": 5}
        log.watch.delivered(0, 0, 1)
        assert await check(log) == {b"a": 5}

    asyncio.run(run())


def test_partitions_that_stay_keep_what_is_known_of_them():
    async def run():
        log = Log()
        await log.watch.assigned([0])
        log.own((b"a", 5))
        log.records.append((b"a", 3))
        await log.watch.assigned([0])
        assert await check(log) == {b"a": 5}
        await log.watch.assigned([])
        log.records.append((b"a", 3))
        assert await check(log) == {b"a": 3}, "not this worker's any more"

    asyncio.run(run())


def test_reading_finds_the_newest_of_the_late_users_only(kafka, tmp_path):
    settings = Settings(brokers=kafka.brokers, topic_prefix=f"{tmp_path.name}-")
    create(settings)
    producer = Producer(producer_config(settings))
    for key, answered in [("a", 9), ("b", 1), ("a", 2), ("b", 3), ("c", 5), ("c", 4), ("a", 1)]:
        value = json.dumps({"offset": answered})
        producer.produce(settings.topic("recommendations"), value, key, partition=0)
    producer.flush()
    repair = read_repair(settings, 0, 1, [(2, 3), (3, 4), (6, 7)])
    assert [(key, json.loads(value)["offset"]) for key, value, _ in repair.records] == [(b"a", 2)]
    assert repair.late == 3
    assert read_repair(settings, 0, 0, []) == Repair([], 0)
