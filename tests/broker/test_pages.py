"""The pages of two workers and a learner on a real broker."""

import json
import math
import time
import urllib.request
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from models.units import HOUR_MS
from streams.event_messages import decode_event
from streams.messages import decode_recommendation
from streams.monitor.counts import AGE_BUCKETS_MS
from tests.broker.cluster import Cluster, Process, clicks, wait_for

USERS, EVENTS, POISON = 40, 1_000, 7
TOKEN = "open, sesame"


def own_partitions(worker: Process) -> list[int]:
    """Those of the worker that is asked."""
    return worker.get()["answered_by"]["partitions"]


def states(worker: Process) -> dict[str, str]:
    """State by process, as this worker shows it."""
    return {process["name"]: process["state"] for process in worker.get()["processes"]}


def users(worker: Process) -> list[dict[str, Any] | None]:
    """The page of every user, None where it has none."""
    return [worker.get(f"/users/u{n}") for n in range(USERS)]


def sample(worker: Process, name: str) -> float:
    """The sum of a metric's samples."""
    with urllib.request.urlopen(f"{worker.url}/metrics", timeout=5) as answer:
        families = text_string_to_metric_families(answer.read().decode())
        return sum(s.value for family in families for s in family.samples if s.name == name)


def counted_by_hand(cluster: Cluster) -> tuple[int, int, list[int]]:
    """Events that came after a list was made, those whose item was in it, and the age of each answer."""
    answers = [decode_recommendation(m.value()) for m in cluster.read("recommendations")]
    lists = {answer.event_id: [listed.item for listed in answer.items] for answer in answers}
    ages = {answer.event_id: answer.age_ms for answer in answers}
    shown: dict[str, tuple[list[str], int]] = {}
    predictions, hits, seen = 0, 0, set()
    for message in sorted(cluster.read("events"), key=lambda m: (m.partition(), m.offset())):
        if message.value() == b"{" or (event := decode_event(message.value())).event_id in seen:
            continue
        seen.add(event.event_id)
        slate, made = shown.get(event.user, ([], 0))
        if slate and event.time_ms > made:
            predictions += 1
            hits += event.item in slate
        shown[event.user] = lists[event.event_id], event.time_ms + ages[event.event_id]
    return predictions, hits, [answer.age_ms for answer in answers]


def test_two_workers_show_the_same_whoever_is_asked_and_who_died(kafka, tmp_path):
    nothing = dict.fromkeys("0123", 0)
    with Cluster(kafka.brokers, tmp_path, web_token=TOKEN) as cluster:
        workers = first, second = cluster.start("worker", "first"), cluster.start("worker", "second")
        learner = cluster.start("learner", worker_id="teacher")
        for process in (*workers, learner):
            wait_for(process.ready, "ready")
        wait_for(lambda: all(len(own_partitions(w)) == 2 for w in workers), "two partitions each")
        for worker in workers:
            wait_for(lambda w=worker: w.get()["lag"] == nothing, "no lag where nothing was published")

        log = list(clicks(EVENTS, USERS))
        cluster.publish(log[: EVENTS // 2], at_event_time=True)
        wait_for(cluster.has_learnt(EVENTS // 2), "half learnt")  # there are lists to hit from now on
        cluster.publish(log[EVENTS // 2 :], at_event_time=True)
        for _ in range(POISON):
            cluster.produce(b"{", b"u1")
        cluster.publish(list(clicks(3, USERS)))  # seen before
        wait_for(lambda: sum(sample(w, "freshet_events_total") for w in workers) == EVENTS + 3, "all served")
        wait_for(cluster.has_learnt(EVENTS), "everything learnt")
        number = cluster.checkpoints()[-1].number
        expected = {
            "accepted": EVENTS, "recommendations": EVENTS, "duplicates": 3, "late": 0, "replayed": 0,
            "dead_letters": POISON, "users": USERS,
        }  # fmt: skip
        for worker in workers:
            wait_for(lambda w=worker: expected.items() <= w.get()["counts"].items(), "all counted")
            overview = wait_for(lambda w=worker: learnt(w, number), "the newest model")
            assert overview["lag"] == nothing
            assert overview["dead_letters"] == {"malformed-json": POISON}
            drawn = {plot["name"]: plot["lines"] for plot in worker.get("/plots.json")["plots"]}
            assert sum(v or 0 for v in drawn["dead_letters"][0]["values"]) == POISON
            assert states(worker) == {"first": "ready", "second": "ready", "teacher": "learns"}
        assert sum(sample(w, "freshet_dead_letters_total") for w in workers) == POISON
        predictions, hits, ages = counted_by_hand(cluster)
        hit_counts = second.get()["hits"]
        assert (hit_counts["predictions"], hit_counts["recommended"]) == (predictions, hits)
        assert hits > 0
        summed = sum(sample(w, "freshet_event_age_seconds_sum") for w in workers)
        assert summed == pytest.approx(sum(ages) / 1000)
        cumulated = sum(age <= bound for age in ages for bound in (*AGE_BUCKETS_MS, math.inf))
        assert sum(sample(w, "freshet_event_age_seconds_bucket") for w in workers) == cumulated
        assert learner.get()["examples"] == EVENTS == sample(learner, "freshet_examples_total")

        by_first, by_second = users(first), users(second)
        assert {page["worker"] for page in by_first} == {"first", "second"}
        assert sum(page["events"] for page in by_first) == EVENTS, "duplicates are not applied"
        for first_page, second_page in zip(by_first, by_second, strict=True):
            assert (first_page.pop("answered_by"), second_page.pop("answered_by")) == ("first", "second")
            for page in (first_page, second_page):
                del page["last_age_ms"], page["now"]["model"]
            assert first_page == second_page
            assert first_page["now"]["items"]
            assert first_page["sent"]["recommendation_id"]
        items = [worker.get("/items/i7") for worker in workers]
        for page in items:
            del page["model"]  # its age
        assert items[0] == items[1], "both show those of the worker that has run longest"
        assert items[0]["neighbours"]["next"]
        assert first.get("/map") == second.get("/map")
        assert first.get("/users/nobody") is None

        change = json.dumps({"setting": "half_lives_h", "value": {"popularity": 6}, "who": "ann"}).encode()
        kind = {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"}
        urllib.request.urlopen(
            urllib.request.Request(f"{first.url}/settings", change, kind), timeout=10
        ).close()
        for process in (second, learner):
            wait_for(lambda p=process: half_life(p, "popularity") == 6 * HOUR_MS, "the change is taken over")

        second.kill()
        killed = time.monotonic()
        assert any(page is None for page in users(first)), "503: only the dead worker knows them"
        wait_for(lambda: states(first)["second"] == "silent", "the missed heartbeats noticed", 15)
        assert time.monotonic() - killed < 15
        cluster.publish(clicks(EVENTS, USERS, seed=2), at_event_time=True)
        wait_for(lambda: len(own_partitions(first)) == 4, "its partitions taken over")
        # not by the lag alone: for a second after publishing it is still that of before
        wait_for(lambda: first.get()["counts"]["accepted"] >= 2 * EVENTS, "what waited is served")
        wait_for(lambda: first.get()["lag"] == nothing, "no lag")
        assert wait_for(lambda: first.get()["counts"]["users"], "the users counted again") == USERS
        assert first.get()["counts"]["accepted"] == 2 * EVENTS, "what the dead worker counted stays"
        pages = users(first)
        assert all(page["worker"] == page["answered_by"] == "first" for page in pages)
        assert sum(page["events"] for page in pages) == 2 * EVENTS
        assert all(page["sent"]["items"] for page in pages)

        assert first.stop() == 0
        again = cluster.start("worker", "first")
        wait_for(again.ready, "ready again")
        wait_for(lambda: "first" in states(again), "its first heartbeat")
        assert again.get()["counts"]["accepted"] == 2 * EVENTS, "history outlives a restart"


def half_life(process: Process, generator: str) -> float:
    """That a worker or learner counts by, ms."""
    half_lives = process.get().get("half_lives_ms")  # a learner's overview has it
    if half_lives is None:
        half_lives = {row["generator"]: row["half_life_ms"] for row in process.get("/settings")["half_lives"]}
    return half_lives[generator]


def learnt(worker: Process, number: int) -> dict[str, Any] | None:
    """The overview, once it has this checkpoint."""
    overview = worker.get()
    both = overview["model"]["checkpoint"], (overview["learner"] or {}).get("checkpoint")
    return overview if both == (number, number) else None
