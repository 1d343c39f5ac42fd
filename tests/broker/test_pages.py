"""The pages of two workers and a learner on a real broker."""

import urllib.request
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.broker.cluster import Cluster, Process, clicks, wait_for

USERS, EVENTS, POISON = 40, 1_000, 7


def lag(*workers: Process) -> dict[str, int]:
    """Partition ▶ events not served, of all these workers."""
    found: dict[str, int] = {}
    for worker in workers:
        found |= (worker.get() or {}).get("lag", {})
    return found


def users(worker: Process) -> list[dict[str, Any] | None]:
    """The page of every user, None where it has none."""
    return [worker.get(f"/users/u{n}") for n in range(USERS)]


def sample(worker: Process, name: str) -> float:
    """The sum of a metric's samples."""
    with urllib.request.urlopen(f"{worker.url}/metrics", timeout=5) as answer:
        families = text_string_to_metric_families(answer.read().decode())
        return sum(s.value for family in families for s in family.samples if s.name == name)


def test_two_workers_show_the_same_users_and_what_happened_to_each_event(kafka, tmp_path):
    nothing = dict.fromkeys("0123", 0)
    with Cluster(kafka.brokers, tmp_path) as cluster:
        workers = first, second = cluster.start("worker", "first"), cluster.start("worker", "second")
        learner = cluster.start("learner")
        for process in (*workers, learner):
            wait_for(process.ready, "ready")
        wait_for(lambda: all(len(w.get()["partitions"]) == 2 for w in workers), "two partitions each")
        wait_for(lambda: lag(*workers) == nothing, "no lag where nothing was ever published", 10)

        cluster.publish(clicks(EVENTS, USERS), at_event_time=True)
        for _ in range(POISON):
            cluster.produce(b"{", b"u1")
        cluster.publish(list(clicks(3, USERS)))  # seen before
        wait_for(lambda: sum(sample(w, "freshet_events_total") for w in workers) == EVENTS + 3, "all served")
        wait_for(lambda: lag(*workers) == nothing, "no lag when all is served", 10)
        counts = [worker.get()["counts"] for worker in workers]
        assert sum(c["accepted"] for c in counts) == sum(c["recommendations"] for c in counts) == EVENTS
        assert sum(c["duplicates"] for c in counts) == 3
        assert sum(c["dead_letters"] for c in counts) == POISON
        assert sum(sample(w, "freshet_dead_letters_total") for w in workers) == POISON
        wait_for(
            lambda: sum(w.get()["counts"]["users"] or 0 for w in workers) == USERS, "every user counted", 10
        )
        wait_for(cluster.learnt(EVENTS), "everything learnt")
        number = cluster.checkpoints()[-1].number
        assert learner.get()["examples"] == EVENTS == sample(learner, "freshet_examples_total")
        wait_for(lambda: all(w.get()["model"]["checkpoint"] == number for w in workers), "the newest model")

        mine, theirs = users(first), users(second)
        assert {page["worker"] for page in mine} == {"first", "second"}
        assert sum(page["events"] for page in mine) == EVENTS, "duplicates are not applied"
        for one, other in zip(mine, theirs, strict=True):
            assert (one.pop("answered_by"), other.pop("answered_by")) == ("first", "second")
            for page in (one, other):
                del page["last_age_ms"], page["now"]["model"]
            assert one == other and one["now"]["items"] and one["sent"]["recommendation_id"]
        items = [worker.get("/items/i7")["neighbours"] for worker in workers]
        assert items[0] == items[1] and items[0]["next"]
        assert first.get("/users/nobody") is None

        second.kill()
        assert any(page is None for page in users(first)), "503: only the dead worker knows them"
        cluster.publish(clicks(EVENTS, USERS, seed=2), at_event_time=True)
        wait_for(lambda: len(first.get()["partitions"]) == 4, "its partitions taken over")
        wait_for(lambda: lag(first) == nothing, "what waited is served")
        found = users(first)
        assert all(page["worker"] == page["answered_by"] == "first" for page in found)
        assert sum(page["events"] for page in found) == 2 * EVENTS
        assert all(page["sent"]["items"] for page in found)
        wait_for(lambda: first.get()["counts"]["users"] == USERS, "every user counted", 10)
        assert [w["partitions"] for w in first.get()["workers"]] == [[0, 1, 2, 3]]
