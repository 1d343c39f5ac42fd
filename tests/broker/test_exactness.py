"""After a crash the state is exact, and no event, recommendation or example is lost: on a real broker."""

import random
import signal
import time

import pytest

from models.checkpoint import CHECKPOINT_KEY, Checkpoint
from models.model import Model
from streams.kafka.model_writer import Fenced, ModelWriter
from streams.messages import decode_example
from streams.step.users import decode_user
from streams.topics import USERS_CHANGELOG
from tests.broker.cluster import LONG_AGO, Cluster, clicks, event_counts, wait_for


def test_worker_killed_three_times_and_every_event_published_twice(kafka, tmp_path):
    """A user remembers one event id only: events replayed after a crash are recognised by offsets alone."""
    n, rng = 40_000, random.Random(5)
    with Cluster(kafka.brokers, tmp_path, dedupe_events=1) as cluster:
        events = list(clicks(n))
        cluster.publish(events, copies=2, at_event_time=True)
        for _ in range(3):
            before, worker = cluster.record_count(USERS_CHANGELOG), cluster.start("worker")
            wait_for(
                lambda n=before: cluster.record_count(USERS_CHANGELOG) > n, "some events applied", every=0.01
            )
            time.sleep(rng.random() / 5)  # the seeded moment of the crash
            worker.kill()
        assert 0 < cluster.events_applied() < n, "killed while there was work"
        cluster.start("worker")
        wait_for(lambda: cluster.lag() == 0, "every record of every event committed")
        assert cluster.events_applied() == n
        ids = list(cluster.answers().values())
        assert len(ids) == len(set(ids)) == n, "as many recommendations as accepted events"
        examples = {(m.partition(), decode_example(m.value()).offset) for m in cluster.read("examples")}
        assert len(examples) == n
        last = {e.user: e.item for e in events}
        assert {name: u.items[-1] for name, u in cluster.users().items()} == last


def test_a_worker_resumed_after_its_session_timed_out_continues_and_undoes_nothing(kafka, tmp_path):
    """A worker is suspended with chunks in flight until another has taken over, then resumed."""
    n = 60_000
    with Cluster(kafka.brokers, tmp_path) as cluster:
        sleeper = cluster.start("worker", "sleeper", worker_id=None)
        wait_for(sleeper.ready, "worker ready")
        cluster.publish(clicks(n), at_event_time=True)
        wait_for(lambda: cluster.record_count("recommendations"), "some events answered", every=0.01)
        sleeper.signal(signal.SIGSTOP)
        assert cluster.events_applied() < n, "suspended while there was work"
        successor = cluster.start("worker", "successor", worker_id=None)
        wait_for(lambda: cluster.events_applied() == n, "the successor applied the rest")
        sleeper.signal(signal.SIGCONT)
        wait_for(lambda: b"are left to the worker" in sleeper.log.read_bytes(), "the log says why")
        wait_for(lambda: sleeper.ready() and successor.ready(), "both continue")
        assert set(cluster.answers().values()) == {event.event_id for event in clicks(n)}
        examples = [(m.partition(), decode_example(m.value()).offset) for m in cluster.read("examples")]
        assert len(examples) == len(set(examples)) == n
        last: dict[bytes, int] = {}
        for message in cluster.read(USERS_CHANGELOG):
            offset = decode_user(message.value()).offset
            assert offset > last.get(message.key(), -1), "no value is older than the one before"
            last[message.key()] = offset


def test_learner_killed_three_times_once_with_another_standing_by(kafka, tmp_path):
    """The counts equal those of an uninterrupted run, and every checkpoint is whole and of one learner."""
    n, rng = 30_000, random.Random(6)
    with Cluster(kafka.brokers, tmp_path) as cluster:
        worker = cluster.start("worker")
        learner = cluster.start("learner", "learner-0")
        wait_for(worker.ready, "worker ready")
        events = list(clicks(n))
        for part in range(4):
            cluster.publish(events[part * n // 4 : (part + 1) * n // 4], at_event_time=True)
            if part == 3:
                break
            standby = cluster.start("learner", f"learner-{part + 1}") if part == 1 else None
            if standby:
                wait_for(standby.ready, "standby ready")
            time.sleep(rng.random() * 2)  # the seeded moment of the crash
            learner.kill()
            learner = standby or cluster.start("learner", f"learner-{part + 1}")

        wait_for(cluster.has_learnt(n), "every example learnt", 90)
        rows, published = 0, []
        for message in cluster.read("model"):
            rows += 1
            if message.key() == CHECKPOINT_KEY:
                published.append(Checkpoint.decode(message.value()))
                assert published[-1].rows == rows - 1, "whole checkpoints only"
                rows = 0
        assert rows == 0
        assert [c.number for c in published] == list(range(1, len(published) + 1)), "one writer at a time"
        assert published[-1].examples == n
        expected = Model(cluster.settings.generators, 10_000)
        expected.learn([decode_example(m.value()) for m in cluster.read("examples")])
        assert event_counts(cluster.model()) == event_counts(expected)
        assert sum(event_counts(expected).values()) == n
        overview = wait_for(
            lambda: (o := worker.get()) and o["model"]["checkpoint"] == published[-1].number and o,
            "replica up to date",
        )
        assert overview["model"]["torn"] == 0


def test_a_zombie_learner_publishes_nothing(kafka, tmp_path):
    """A learner suspended until another took over, then resumed, is fenced and ends."""
    with Cluster(kafka.brokers, tmp_path) as cluster:
        worker, zombie = cluster.start("worker"), cluster.start("learner", "zombie")
        wait_for(worker.ready, "worker ready")
        events = list(clicks(4_000))
        cluster.publish(events[:2_000], at_event_time=True)
        wait_for(cluster.has_learnt(2_000), "first half learnt")
        zombie.signal(signal.SIGSTOP)
        successor = cluster.start("learner", "successor")
        cluster.publish(events[2_000:], at_event_time=True)
        wait_for(cluster.has_learnt(4_000), "second half learnt by the successor")
        before = cluster.checkpoints()
        zombie.signal(signal.SIGCONT)
        cluster.publish(clicks(1_000, seed=2, start=LONG_AGO + 5_000_000), at_event_time=True)
        wait_for(cluster.has_learnt(5_000), "more learnt by the successor")
        assert zombie.wait(30) != 0, "a fenced learner ends"
        assert b"another learner took over" in zombie.log.read_bytes()
        numbers = [c.number for c in cluster.checkpoints()]
        assert numbers == list(range(1, len(numbers) + 1))
        assert len(numbers) > len(before)
        assert cluster.checkpoints()[-1].examples == 5_000
        assert successor.get("/health/live") is not None


def test_a_writer_fenced_within_a_checkpoint_raises_fenced(kafka, tmp_path):
    """So many rows that Kafka's refusal comes while they are produced, before the commit."""
    with Cluster(kafka.brokers, tmp_path) as cluster:
        zombie, _successor = ModelWriter(cluster.settings), ModelWriter(cluster.settings)
        rows = {b"popularity/%d" % row: b"" for row in range(300_000)}
        with pytest.raises(Fenced, match="another learner took over"):
            zombie.publish(rows, Checkpoint(number=1, rows=len(rows)))
        assert cluster.read("model") == []
