"""Stores and a changelog that do not fit: the later event counts, and every user is written again."""

import asyncio
from types import SimpleNamespace

import faust
import pytest
from aiokafka import TopicPartition
from confluent_kafka import KafkaError, KafkaException
from faust.types import TP

from streams import topics
from streams.kafka import changelog_repair
from streams.kafka.changelog import Changelog, Mark
from streams.kafka.changelog_repair import ChangelogChanged, ChangelogRepair
from streams.kafka.fenced_producer import Fenced
from streams.kafka.table import ChunkTable
from streams.settings import Settings
from streams.step.users import User, decode_user, encode_user


class Broker:
    """One partition of a changelog, and the producer that writes to it."""

    def __init__(self) -> None:
        self.topic_id, self.first, self.generation = "one", 0, "generation 1"
        self.records: list[tuple[bytes, bytes]] = []

    def recreate(self) -> None:
        self.topic_id, self.records = f"{self.topic_id}, recreated", []

    def write(self, **users: int) -> None:
        """Write a record of each user at this offset of `events`."""
        self.records += [(name.encode(), encode_user(User(offset=offset))) for name, offset in users.items()]

    def describe(self) -> Changelog:
        return Changelog(self.topic_id, {0: self.first}, {0: len(self.records)})

    def users(self) -> dict[str, int]:
        """The offset of each user in `events`, as a worker with an empty folder restores them."""
        return offsets(dict(self.records[self.first :]))


def offsets(users: dict[bytes, bytes]) -> dict[str, int]:
    return {key.decode(): decode_user(value).offset for key, value in users.items()}


class Member:
    """The consumer of a worker, which has committed offset 7 of its partition."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    @property
    def member(self) -> str:
        return self._broker.generation

    async def next_offset(self, tp: TopicPartition) -> int:
        return 7


class Transactions:
    """The transactions of a worker's producer; the group refuses those of an earlier generation."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def write(self, records, offsets, member: str) -> dict[tuple[str, int], int]:
        assert [*map(type, offsets)] == [TopicPartition], "aiokafka takes no other tuple"
        assert offsets == {TopicPartition("events", 0): 7}
        if member != self._broker.generation:
            raise Fenced(member)
        for part in records.values():
            self._broker.records += [(key, value) for key, value, _ in part]
        return {place: len(self._broker.records) - 1 for place in records}


class Worker:
    """One life of a worker with partition 0."""

    def __init__(self, broker: Broker, folder) -> None:
        self.broker = broker
        app = faust.App("test", store="rocksdb://?driver=rocksdict", datadir=str(folder / "data"))
        app.conf.tabledir.mkdir(parents=True, exist_ok=True)
        app._producer = SimpleNamespace(transactions=Transactions(broker))
        app.consumer = SimpleNamespace(thread=Member(broker))
        self.table = ChunkTable(
            app, name="users", key_type=bytes, value_type=bytes, options=dict(topics.ROCKSDB)
        )
        self.repair = self.table.repair = ChangelogRepair(Settings())
        self.repair._describe = broker.describe

    def restore(self) -> dict[str, int]:
        """Do as Faust does when the partition is assigned; returns the users of the store."""
        asyncio.run(self._restore())
        return offsets(dict(self.table.users(0)))

    async def _restore(self) -> None:
        self.begin()
        await self.repair.begin(self.table)
        self.read()
        await self.repair.finish(self.table)

    def begin(self) -> None:
        self.table.data._db_for_partition(0)

    def read(self) -> None:
        persisted = self.table.persisted_offset(TP("changelog", 0))
        at = max(self.broker.first, 0 if persisted is None else persisted + 1)
        records = [SimpleNamespace(key=key, value=value) for key, value in self.broker.records[at:]]
        if records:
            message = SimpleNamespace(partition=0, offset=len(self.broker.records) - 1, chunk=records)
            self.table.apply_changelog_batch([SimpleNamespace(message=message)])

    def serve(self, **users: int) -> None:
        """Apply events at these offsets, as `BatchWriter` does: the changelog first, then the store."""
        self.broker.write(**users)
        changed = {name.encode(): encode_user(User(offset=offset)) for name, offset in users.items()}
        self.table.store(0, changed, len(self.broker.records) - 1)

    def repairs(self) -> float:
        return self.table.repairs.counts()["repairs:changelog"]

    def close(self) -> None:
        for store in self.table.data._dbs.values():
            store.close()


@pytest.fixture
def broker():
    return Broker()


@pytest.fixture
def worker(broker, tmp_path):
    """Served users a, b and c."""
    worker = Worker(broker, tmp_path)
    assert worker.restore() == {}
    worker.serve(a=1, b=2, c=3)
    worker.close()
    return worker


def test_what_fits_is_left_alone(broker, worker, tmp_path):
    broker.write(a=4)  # in the changelog, and not in the store: a crash came between
    again = Worker(broker, tmp_path)
    assert again.restore() == {"a": 4, "b": 2, "c": 3}
    assert (again.repairs(), len(broker.records)) == (0, 4)


@pytest.mark.parametrize("others", [{}, {"b": 9}, {"b": 9, "d": 10, "e": 11, "f": 12, "a": 0}])
def test_a_recreated_changelog_gets_the_users_and_the_later_event_counts(broker, worker, tmp_path, others):
    """Also where it has more records by now than the store's offset says."""
    broker.recreate()
    broker.write(**others)
    again = Worker(broker, tmp_path)
    expected = {"a": 1, "b": 2, "c": 3} | {name: at for name, at in others.items() if name != "a"}
    assert again.restore() == expected
    assert broker.users() == expected
    assert again.repairs() == 1
    again.serve(a=20)
    again.close()
    third = Worker(broker, tmp_path)
    assert third.restore() == expected | {"a": 20}
    assert third.repairs() == 0


def test_a_changelog_that_lost_its_end_gets_it_again(broker, worker, tmp_path):
    """An unclean election of Kafka does that."""
    del broker.records[1:]
    again = Worker(broker, tmp_path)
    assert again.restore() == broker.users() == {"a": 1, "b": 2, "c": 3}


def test_a_crash_while_a_lost_end_is_restored_forgets_nothing(broker, worker, tmp_path):
    """The store's offset fits again after the first record, but the changelog lacks users still."""
    del broker.records[1:]
    crashed = Worker(broker, tmp_path)
    crashed.begin()
    asyncio.run(crashed.repair.begin(crashed.table))
    crashed.read()
    crashed.close()
    assert Worker(broker, tmp_path).restore() == broker.users() == {"a": 1, "b": 2, "c": 3}


def test_a_worker_that_lost_its_partitions_writes_nothing_and_the_next_one_does(broker, worker, tmp_path):
    broker.recreate()
    fenced = Worker(broker, tmp_path)
    fenced.begin()
    asyncio.run(fenced.repair.begin(fenced.table))
    fenced.read()
    broker.generation = "generation 2"
    asyncio.run(fenced.repair.finish(fenced.table))
    assert (fenced.repairs(), broker.records) == (0, [])
    fenced.close()
    assert Worker(broker, tmp_path).restore() == broker.users() == {"a": 1, "b": 2, "c": 3}


def test_a_cut_changelog_gets_the_users_that_it_lacks(broker, worker, tmp_path):
    broker.write(a=4)
    broker.first = 3
    again = Worker(broker, tmp_path)
    assert again.restore() == broker.users() == {"a": 4, "b": 2, "c": 3}
    assert again.repairs() == 1
    again.close()
    third = Worker(broker, tmp_path)
    third.restore()
    assert third.repairs() == 0, "once"


def test_a_store_that_ends_before_the_cut_takes_what_is_left_and_says_what_may_be_lost(
    broker, worker, tmp_path, caplog
):
    broker.write(b=5, a=6, d=7)
    broker.first = 4
    assert Worker(broker, tmp_path).restore() == broker.users() == {"a": 6, "b": 2, "c": 3, "d": 7}
    assert "up to 1 deleted ones are lost" in caplog.text


def test_an_empty_store_takes_what_is_left_of_a_cut_changelog(broker, worker, tmp_path, caplog):
    broker.first = 2
    other = Worker(broker, tmp_path / "other")
    assert other.restore() == {"c": 3}
    assert other.repairs() == 0
    assert "up to 2 deleted ones are lost" in caplog.text


def test_a_changelog_that_begins_again_under_a_running_worker_is_noticed_at_the_next_write(
    broker, worker, tmp_path
):
    running = Worker(broker, tmp_path)
    running.restore()
    running.serve(a=4)
    broker.recreate()
    with pytest.raises(ChangelogChanged, match="was recreated while this worker ran: start again"):
        running.serve(b=5)
    running.close()
    assert Worker(broker, tmp_path).restore() == broker.users() == {"a": 4, "b": 5, "c": 3}


@pytest.mark.parametrize(
    ("changelog", "message"),
    [
        (Changelog("two", {0: 0}, {0: 99}), "was recreated"),
        (Changelog("one", {0: 1}, {0: 99}), "was cut in partition 0"),
        (None, "was deleted while this worker ran: create it with `freshet topics`"),
    ],
)
def test_a_running_worker_looks_at_the_changelog(broker, worker, tmp_path, changelog, message):
    running = Worker(broker, tmp_path)
    running.restore()
    assert running.repair._marks == {0: Mark("one", 0)}
    asyncio.run(running.repair.check("changelog"))
    running.repair._describe = lambda: changelog
    with pytest.raises(ChangelogChanged, match=message):
        asyncio.run(running.repair.check("changelog"))


def test_a_changelog_without_a_leader_is_asked_about_again(broker, worker, tmp_path, monkeypatch):
    monkeypatch.setattr(changelog_repair, "PAUSE_S", 0)
    errors = [KafkaException(KafkaError(KafkaError.NOT_LEADER_FOR_PARTITION))] * 2

    def describe() -> Changelog:
        if errors:
            raise errors.pop()
        return broker.describe()

    again = Worker(broker, tmp_path)
    again.repair._describe = describe
    assert again.restore() == {"a": 1, "b": 2, "c": 3}
    again.close()


def test_a_changelog_that_may_not_be_read_is_not_asked_about_again(broker, worker, tmp_path):
    def describe() -> Changelog:
        raise KafkaException(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED))

    again = Worker(broker, tmp_path)
    again.repair._describe = describe
    with pytest.raises(KafkaException):
        again.restore()
    again.close()
