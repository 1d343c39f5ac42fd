"""Unusable records, rebalances and wrong event times on a real broker; end to end without Java."""

import random
import time
from collections import Counter

import pytest

from models.core import Query
from models.units import DAY_MS
from streams.event_messages import Event
from streams.messages import DeadLetter, encode
from tests.broker.cluster import LONG_AGO, Cluster, clicks, embedded_cluster, event_counts, wait_for
from tests.test_messages import body

BATCH, BATCHES_PER_S = 500, 10
"""The steady load during which partitions move."""
POISON = [
    (b"", "empty"),
    (b'{"event_id": "1", "user"', "malformed-json"),
    (b'{"event_id":"1","user":"u","type":"click","item":"i","time":5,"value":NaN}', "malformed-json"),
    (b'{"event_id":"\xff\xfe\xfd"}', "invalid-utf8"),
    (b'["no", "object"]', "wrong-type"),
    (body(item=5), "wrong-type"),
    (body(user=...), "missing-field"),
    (body(event_id="x" * 257), "out-of-range"),
    (body(time=-5), "time-out-of-range"),
    (body(user="not the key"), "wrong-key"),
]


def test_ten_thousand_poisons_of_ten_kinds_among_ten_thousand_good_events(kafka, tmp_path):
    with Cluster(kafka.brokers, tmp_path) as cluster:
        worker = cluster.start("worker")
        wait_for(worker.ready, "worker ready")
        for n, event in enumerate(clicks(10_000)):
            cluster.produce(encode(event), event.user.encode(), [("replay", str(event.time_ms).encode())])
            cluster.produce(POISON[n % 10][0], event.user.encode())
        cluster.produce(b"x" * 999_000, b"big")
        cluster.flush()
        wait_for(lambda: len(cluster.answers()) == 10_000, "every good event answered")
        wait_for(lambda: len(cluster.read("dead-letter")) == 10_001, "every other record a dead letter")
        reasons = Counter()
        for message in cluster.read("dead-letter"):
            letter = DeadLetter.from_headers(message.headers())
            reasons[letter.reason] += 1
            assert letter.topic == cluster.settings.topic("events")
            if letter.reason == "too-large":
                assert message.value() == b"x" * 999_000
            else:
                assert (message.value() or b"", letter.reason) in POISON
        assert reasons == Counter({"too-large": 1}) + Counter(
            {reason: 1000 * sum(r == reason for _, r in POISON) for reason in {r for _, r in POISON}}
        )
        assert b"Traceback" not in worker.log.read_bytes(), "no agent restarted"


def test_one_worker_two_workers_one_worker(kafka, tmp_path):
    """Partitions move while events are served: each is applied once and answered once, and none is lost."""
    n = 20_000
    with Cluster(kafka.brokers, tmp_path) as cluster:
        first = cluster.start("worker", "first", worker_id=None)
        wait_for(first.ready, "first worker ready")
        events = list(clicks(n))

        def publish(share: int) -> None:
            for start in range(share * n // 4, (share + 1) * n // 4, BATCH):
                cluster.publish(events[start : start + BATCH], at_event_time=True)
                time.sleep(1 / BATCHES_PER_S)

        publish(0)
        second = cluster.start("worker", "second", worker_id=None)
        publish(1)
        wait_for(second.ready, "second worker ready")
        wait_for(lambda: len(second.get()["answered_by"]["partitions"]) == 2, "partitions shared")
        publish(2)
        user = events[0].user
        both = [wait_for(lambda w=w: w.get(f"/users/{user}"), "a user's page") for w in (first, second)]
        assert both[0]["user"] == both[1]["user"] == user, "any worker answers for any user"
        assert second.stop() == 0
        publish(3)
        wait_for(lambda: cluster.lag() == 0, "every event committed")
        assert cluster.events_applied() == n
        recommendations = cluster.read("recommendations")
        assert len(cluster.answers()) == len(recommendations) == n, "a graceful move repeats nothing"


def test_the_same_log_fast_and_slow_and_with_a_few_wrong_times(kafka, tmp_path):
    """The model is the same as fast as possible, at 50 times event time, and with times a month ahead."""
    log = list(clicks(1_500, users=30, items=40))  # 25 minutes of event time: half a minute at 50x
    rng, month = random.Random(3), int(30 * DAY_MS)
    wrong = set(rng.sample(range(1_500), 5))
    results = {}
    for name in ("fast", "slow", "wrong"):
        folder = tmp_path / f"{tmp_path.name}-{name}"
        folder.mkdir()
        with Cluster(kafka.brokers, folder) as cluster:
            worker = cluster.start("worker")
            cluster.start("learner")
            wait_for(worker.ready, "worker ready")
            began = time.monotonic()
            for n, event in enumerate(log):
                wait = (event.time_ms - LONG_AGO) / 50_000 - (time.monotonic() - began)
                if name == "slow" and wait > 0:
                    time.sleep(wait)
                time_ms = event.time_ms + month * (name == "wrong" and n in wrong)
                published = Event(
                    event_id=event.event_id, user=event.user, type="view", item=event.item, time=time_ms
                )
                header = [("replay", str(event.time_ms).encode())]
                cluster.produce(encode(published), event.user.encode(), header)
            cluster.flush()
            wait_for(cluster.has_learnt(len(log)), "all learnt")
            model = cluster.model()
            sessions = {
                u: (r.items, r.times, r.sessions, r.session_start) for u, r in cluster.users().items()
            }
            neighbours = {}
            for item in model.items.ids:
                proposed = model.generators["next"].propose(model.queries([Query((item,), 1, 0)]), 48)
                names = [model.items.ids[row] for row in proposed.rows[0] if row >= 0]
                neighbours[item] = dict(zip(names, proposed.scores[0].tolist(), strict=False))
            results[name] = event_counts(model), sessions, neighbours
    for name in ("slow", "wrong"):
        assert results[name][0] == results["fast"][0], "counts"
        assert results[name][1] == results["fast"][1], "sessions"
        for item, scores in results["fast"][2].items():
            assert results[name][2][item] == pytest.approx(scores, rel=1e-4), "neighbours"


def test_the_embedded_broker_end_to_end(embedded, tmp_path):
    """Without Java too, events become a learnt model and recommendations from it."""
    with embedded_cluster(embedded, tmp_path) as cluster:
        worker, learner = cluster.start("worker"), cluster.start("learner")
        wait_for(worker.ready, "worker ready")
        wait_for(learner.ready, "learner ready")
        cluster.publish(clicks(3_000), at_event_time=True)
        wait_for(cluster.has_learnt(3_000), "all learnt")
        wait_for(lambda: worker.get()["model"]["checkpoint"] == cluster.checkpoints()[-1].number, "replica")
        cluster.publish(clicks(100, seed=2), at_event_time=True)
        wait_for(lambda: len(cluster.answers()) == 3_100, "all answered")
        assert worker.get()["model"]["items"] == len(event_counts(cluster.model()))
        assert worker.stop() == 0
        assert learner.stop() == 0
