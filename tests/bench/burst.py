"""Burst: ten times the worker's capacity for a minute, answered in full, as by default, and not when too old.

Unit: s.  `answered` is the age of the recommendations, `caught up` the time from the end of the burst until
every event is applied.  A worker that is behind answers the latest event of each user in a micro-batch,
or nothing that waited for longer than is worth an answer (`answer_none_after_s`).
Every event has to be applied, whatever is answered.

    python -m tests.bench burst
"""

import json
import time
from collections.abc import Iterator

from confluent_kafka import Producer

from streams.clients.subscribe import follow, records
from streams.kafka.client import producer_config
from streams.settings import Settings
from tests.bench.backlog import Watch, load, rate
from tests.bench.clicks import clicks
from tests.bench.deployment import Bench, Deployment, progress
from tests.bench.prefill import fill_model
from tests.bench.process import Process
from tests.bench.report import Row, quantile
from tests.bench.warm_up import warm_up

TIMES, SECONDS = 10, 60
USERS = 20_000
CAPACITY_EVENTS = 100_000
DISTINCT_CLICKS = 200_000
"""Clicks that are drawn; the burst repeats them, with other ids."""
WITHIN_S = 30
"""`answer_all_within_s`: its default."""
NONE_AFTER_S = 50
PATIENCE_S = 1800
WAYS: dict[str, dict[str, float]] = {
    "in full": {"answer_all_within_s": 0},
    "the latest of each user": {"answer_all_within_s": WITHIN_S},
    "nothing too old": {"answer_all_within_s": WITHIN_S, "answer_none_after_s": NONE_AFTER_S},
}


def burst(bench: Bench) -> list[Row]:
    """Measure both ways with the same rate, ten times what is answered in full."""
    warm_up(bench)
    capacity = _capacity(bench)
    rows = [Row("burst", "capacity", capacity, "events/s", note="a backlog answered in full")]
    for name, settings in WAYS.items():
        progress(f"burst: {name}")
        with bench.deploy("burst", **settings) as deployment:
            fill_model(deployment.settings, bench)
            worker = deployment.worker()
            worker.wait_ready()
            rows += _measure(deployment, worker, name, capacity)
    return rows


def _capacity(bench: Bench) -> float:
    with bench.deploy("capacity") as deployment:
        fill_model(deployment.settings, bench)
        load(deployment.settings, CAPACITY_EVENTS, bench.seed, USERS)
        return rate(Watch(deployment.settings).until(CAPACITY_EVENTS, deployment.worker()))[0]


def _measure(deployment: Deployment, worker: Process, name: str, capacity: float) -> list[Row]:
    bench = deployment.bench
    seconds = bench.scaled(SECONDS)
    answers = follow(deployment.settings, "recommendations")
    began = time.time()
    sent = _send(deployment.settings, TIMES * capacity, seconds, bench.seed)
    ended = time.time()
    while (applied := _applied(worker)) < sent:
        worker.check()
        if time.time() - ended > PATIENCE_S:
            break
        time.sleep(1)
    caught_up = time.time() - ended
    ages = []
    while read := records(answers, 2):
        ages += [json.loads(record.value() or b"")["age_ms"] / 1000 for record in read]
    answers.close()
    note = (
        f"{sent:,} events, {sent / (ended - began) / capacity:.1f} × the capacity; {sent - applied:,} lost;"
        f" {100 * len(ages) / sent:.1f} % answered"
    )
    bar = 2.0 * WITHIN_S if name != "in full" else None
    ages.sort()
    return [
        Row("burst", f"{name}, caught up", caught_up, "s", note=note),
        Row("burst", f"{name}, answered, p50", quantile(ages, 0.5), "s"),
        Row("burst", f"{name}, answered, oldest", ages[-1] if ages else None, "s", at_most=bar),
    ]


def _applied(worker: Process) -> int:
    try:
        return int(worker.page("/?range=24h")["counts"]["accepted"])
    except OSError:  # too busy to answer
        return 0


def _send(settings: Settings, per_s: float, seconds: float, seed: int) -> int:
    """Send events at this rate for this time, or as fast as this process can; returns their number."""
    config = {"linger.ms": 20, "log_level": 3, "queue.buffering.max.messages": 1_000_000}
    producer, topic = Producer(producer_config(settings, **config)), settings.topic("events")
    began, sent = time.monotonic(), 0
    for value, user in _values(seed):
        producer.produce(topic, value, user)
        sent += 1
        if sent % 1000 == 0:
            producer.poll(0)
            elapsed = time.monotonic() - began
            if elapsed >= seconds:
                break
            while len(producer) > 500_000 or sent > per_s * elapsed:
                producer.poll(0.005)
                elapsed = time.monotonic() - began
    producer.flush()
    return sent


def _values(seed: int) -> Iterator[tuple[bytes, str]]:
    drawn = list(clicks(DISTINCT_CLICKS, USERS, seed, walk=1))
    number, now = 0, int(time.time() * 1000)
    while True:
        for click in drawn:
            if number % 10_000 == 0:
                now = int(time.time() * 1000)
            user = f"u{click.user}"
            yield (
                b'{"event_id":"bench-%d","user":"%b","type":"click","item":"i%d","time":%d}'
                % (number, user.encode(), click.item, now),
                user,
            )
            number += 1
