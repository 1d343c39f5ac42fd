"""An upgrade that changes a layout of the model, process by process, while events are served."""

import threading
import time

from models.checkpoint import CHECKPOINT_KEY, Checkpoint
from streams.kafka import model_reader
from streams.kafka.model_reader import last_checkpoint
from streams.kafka.model_writer import ModelWriter
from streams.messages import now_ms
from tests.broker.cluster import Cluster, clicks, wait_for

EVENTS_PER_S = 100
OLD, NEW = ({"next": {"neighbours": n}} for n in (16, 24))
SAID = "next is not updated: model_parameters.next.neighbours: this worker has 16, the learner 24"
FEWER = 200
"""Items that the new workers are set to: fewer than there are, so they have to take the learner's number."""
ITEMS = [f"i{n}" for n in range(0, 300, 30)]


class Traffic:
    """Publishes clicks from a thread until it is stopped."""

    def __init__(self, cluster: Cluster) -> None:
        self.published = 0
        self._cluster, self._stop = cluster, threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        events = clicks(100_000, start=now_ms() - 100_000_000)
        began = time.monotonic()
        for event in events:
            self._cluster.publish([event], at_event_time=True)
            self.published += 1
            if self._stop.wait(max(began + self.published / EVENTS_PER_S - time.monotonic(), 0)):
                return

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


def test_two_workers_and_the_learner_are_replaced_one_by_one(kafka, tmp_path):
    """No event stays without a recommendation, no process ends, and at the end all have the new layout."""
    with Cluster(
        kafka.brokers, tmp_path, generators={"next": 1.0, "popularity": 0.1}, ranker="blend", frozen_twin_h=0,
        measure_every=1000, model_parameters=OLD,
    ) as cluster:  # fmt: skip
        workers = {name: cluster.start("worker", name) for name in ("one", "two")}
        learner = cluster.start("learner")
        for process in (*workers.values(), learner):
            wait_for(process.ready, "process ready")
        traffic = Traffic(cluster)
        try:
            wait_for(lambda: learnt(workers["one"]), "a checkpoint of the old learner")
            assert learner.stop() == 0
            learner = cluster.start("learner", model_parameters=NEW)
            for worker in workers.values():
                wait_for(lambda worker=worker: differences(worker) == [SAID, SAID], "the setting is named")
                before = learnt(worker)
                wait_for(lambda w=worker, n=before: learnt(w) > n, "other components are updated")
            for name in workers:
                assert workers[name].stop() == 0
                workers[name] = cluster.start("worker", name, model_parameters=NEW, max_items=FEWER)
                wait_for(workers[name].ready, "the new worker is ready")
                left = [SAID] if name == "one" else []
                for worker in workers.values():
                    wait_for(lambda w=worker, left=left: differences(w) == left, "as many as are left")
        finally:
            traffic.stop()
        wait_for(lambda: cluster.lag() == 0, "every event committed")
        wait_for(cluster.has_learnt(traffic.published), "every example learnt")
        last = cluster.checkpoints()[-1].number
        wait_for(lambda: [learnt(w) for w in workers.values()] == [last, last], "both workers up to date")
        assert len(set(cluster.answers().values())) == traffic.published, "every event is answered"
        one, two = ([following(w, item) for item in ITEMS] for w in workers.values())
        assert one == two
        assert all(one), "something follows every item"
        assert all(process.ready() for process in (*workers.values(), learner))
        keys = {m.key(): m.value() for m in cluster.read("model") if m.key() != CHECKPOINT_KEY}
        left = [key for key, value in keys.items() if value is not None and key.startswith(b"next/")]
        assert left == [], "the learner deleted the rows of the old layout"
        assert any(key.startswith(b"next.") for key in keys)


def test_a_transaction_that_is_still_open_does_not_hide_the_last_checkpoint(kafka, tmp_path, monkeypatch):
    """A learner that was killed while it published leaves one, for as long as a minute."""
    monkeypatch.setattr(model_reader, "TAIL", 3)
    with Cluster(kafka.brokers, tmp_path) as cluster:
        writer = ModelWriter(cluster.settings)
        rows = {b"items/%d" % n: b"0000i" for n in range(40)}
        writer.publish(rows, Checkpoint(number=7, rows=40))
        writer._producer.begin_transaction()
        for key, value in rows.items():
            writer._produce(key, value)
        writer._producer.flush()
        began = time.monotonic()
        last = last_checkpoint(cluster.settings)
        assert last is not None
        assert last.number == 7
        assert time.monotonic() - began < 20


def learnt(worker) -> int:
    """Checkpoint that the worker serves from."""
    page = worker.get(f"/items/{ITEMS[0]}") or {}
    return page.get("model", {}).get("checkpoint", 0)


def following(worker, item: str):
    """What the component `next` of a worker proposes after an item."""
    return (worker.get(f"/items/{item}") or {})["neighbours"]["next"]


def differences(worker) -> list[str]:
    """What workers and learner say they differ in, on the overview."""
    assert worker.ready() is not None
    page = worker.get() or {"processes": []}
    return [text for process in page["processes"] if process["kind"] == "serving"
            for text in process["differences"]]  # fmt: skip
