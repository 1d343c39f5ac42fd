"""Prometheus reads the figures that the pages show."""

import asyncio
from dataclasses import replace

import pytest

from streams.kafka.repairs import KINDS, USERS
from streams.messages import REASONS
from streams.monitor.prometheus import exposition, serving_metrics
from streams.step.writes import Counts
from tests.web.worker import Worker, get, samples, writes


def test_prometheus_reads_the_same_figures(tmp_path):
    worker = Worker(tmp_path / "data")
    worker.learn()
    counts = Counts(
        accepted=5, duplicates=2, late=1, replayed=3, recommendations=4, skipped=8, predictions=3,
        recommended_hits=2, popular_hits=1, dead_letters={"empty": 6},
    )  # fmt: skip
    worker.notify(writes(counts, [1, 3, 700, 99_999_999]))
    for partition in range(2):
        worker.table.repairs.add(USERS, f"partition {partition}")
    status, text, headers = get(worker, "/metrics", "text/plain")
    assert status == 200
    assert headers["Content-Type"].startswith("text/plain")
    metrics = samples(text)
    assert metrics["freshet_events_total"] == {
        (("outcome", "accepted"),): 5, (("outcome", "duplicate"),): 2, (("outcome", "late"),): 1,
        (("outcome", "replayed"),): 3,
    }  # fmt: skip
    assert metrics["freshet_recommendations_total"] == {(): 4}
    assert metrics["freshet_recommendations_skipped_total"] == {(): 8}
    assert metrics["freshet_predictions_total"] == {(): 3}
    assert metrics["freshet_hits_total"] == {(("by", "recommended"),): 2, (("by", "popularity"),): 1}
    assert metrics["freshet_dead_letters_total"] == {(("reason", r),): 6.0 * (r == "empty") for r in REASONS}
    ages = metrics["freshet_event_age_seconds_bucket"]
    assert ages[(("le", "0.003"),)] == 2
    assert ages[(("le", "60.0"),)] == 3
    assert ages[(("le", "+Inf"),)] == 4
    assert metrics["freshet_event_age_seconds_count"] == {(): 4}
    assert metrics["freshet_event_age_seconds_sum"][()] == pytest.approx(100_000.703)
    assert metrics["freshet_model_checkpoint"] == {(): 3}
    assert metrics["freshet_model_items"] == {(): 12}
    assert 0.5 <= metrics["freshet_model_age_seconds"][()] < 60
    assert metrics["freshet_ready"] == {(): 1}
    assert metrics["freshet_local_state_repairs_total"] == {
        (("kind", kind),): 2.0 * (kind == "users") for kind in KINDS
    }
    assert "process_resident_memory_bytes" in metrics
    labels = {name for by in metrics.values() for key in by for name, _ in key}
    assert labels <= {"outcome", "by", "reason", "le", "partition", "kind", "rule"}, (
        "no series by user or item"
    )


def test_what_is_not_known_has_no_sample(tmp_path):
    worker = Worker(tmp_path / "data")
    sample = asyncio.run(worker.sampler.take())
    gauges = {name: value for name, value in sample.gauges.items() if name != "users"} | {"lag:3": 8}
    sample = replace(sample, gauges=gauges)
    metrics = samples(exposition(serving_metrics(sample), "")[0].decode())
    assert "freshet_users" not in metrics
    assert "freshet_model_age_seconds" not in metrics
    assert metrics["freshet_lag_events"] == {(("partition", "3"),): 8}
    openmetrics, content_type = exposition(serving_metrics(sample), "application/openmetrics-text")
    assert content_type.startswith("application/openmetrics-text")
    assert openmetrics.endswith(b"# EOF\n")
