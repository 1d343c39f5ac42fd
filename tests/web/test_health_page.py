"""Readiness of a worker."""

from models.checkpoint import Checkpoint
from streams.kafka.replica_queue import Queued
from tests.web.worker import BROWSER, Worker, get, strict


def test_ready_says_what_it_waits_for(tmp_path):
    worker = Worker(tmp_path / "data")
    assert get(worker, "/health/ready")[0] == 200
    worker.app.rebalancing = True
    status, text, _ = get(worker, "/health/ready")
    assert status == 503
    assert strict(text)["waiting_for"] == ["partitions are moving between workers"]
    status, text, headers = get(worker, "/users/ann")
    assert status == 503, "what it holds may be out of date"
    assert headers["Retry-After"]
    worker.app.rebalancing = False
    worker.app.tables.recovery.completed.clear()
    assert strict(get(worker, "/health/ready")[1])["waiting_for"] == ["the users table is being restored"]
    assert "restored" in get(worker, "/health/ready", BROWSER)[1]
    assert get(worker, "/health/live")[0] == 200


def test_a_checkpoint_in_the_queue_makes_no_worker_unready(tmp_path):
    worker = Worker(tmp_path / "data")
    assert worker.serving.ready
    prepared = worker.serving.model.prepare([])
    worker.serving.replica._queue.put(Queued(None, prepared, 0, Checkpoint()))
    assert worker.serving.ready
