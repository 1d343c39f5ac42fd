"""The overview: figures of the whole cluster, as JSON and as HTML."""

import time

import pytest

from streams.kafka.repairs import KINDS, USERS
from streams.messages import MetricsRow, Process, encode
from streams.monitor.history import SPANS
from streams.step.writes import Counts
from tests.web.worker import BROWSER, Page, Worker, get, get_json, samples, writes


def test_the_overview_has_every_figure_as_json(worker: Worker):
    worker.send_heartbeat()
    figures = get_json(worker, "/")
    assert figures["answered_by"] == {"worker": "w", "ready": True, "waiting_for": [], "partitions": [0]}
    assert figures["age_ms"] == {"p50": None, "p90": None, "p99": None}
    assert figures["model"]["checkpoint"] == 3
    assert figures["model"]["items"] == 12
    assert figures["model"]["torn"] == 0
    assert 500 <= figures["model"]["age_ms"] < 60_000
    assert set(figures["hits"]) == {"predictions", "recommended", "popularity"}
    assert set(figures["counts"]) == {
        "accepted", "duplicates", "late", "replayed", "recommendations", "skipped", "rebalances",
        "dead_letters", "users", "lost_events", "lost_examples",
    }  # fmt: skip
    assert figures["lag"] == {}
    assert figures["learner"] is None
    assert figures["memory_bytes"] > 2**20
    (process,) = figures["processes"]
    assert (process["name"], process["state"], process["partitions"]) == ("w", "ready", [0])


def test_before_the_first_heartbeat(tmp_path):
    worker = Worker(tmp_path / "data")
    assert get_json(worker, "/")["processes"] == []
    assert "No heartbeats yet" in get(worker, "/", BROWSER)[1]
    assert all(plot["lines"] == [] for plot in get_json(worker, "/plots.json")["plots"])


def test_nothing_learnt_yet_is_null_and_shown(tmp_path):
    worker = Worker(tmp_path / "data")
    worker.send_heartbeat()
    assert get_json(worker, "/")["model"] == {"checkpoint": 0, "age_ms": None, "items": 0, "torn": 0}
    assert get(worker, "/", BROWSER)[0] == 200
    assert get_json(worker, "/users/ann")["now"]["items"] == []
    assert "has no items yet" in get(worker, "/users/ann", BROWSER)[1]


def test_counts_and_ages_are_those_that_were_added(tmp_path):
    worker = Worker(tmp_path / "data")
    worker.send_heartbeat()
    counts = Counts(
        accepted=50, duplicates=3, late=2, replayed=1, recommendations=40, skipped=7, predictions=20,
        recommended_hits=9, popular_hits=4, dead_letters={"empty": 4},
    )  # fmt: skip
    worker.notify(writes(counts, [3] * 30 + [700] * 9 + [99_999_999]))
    worker.send_heartbeat()
    figures = get_json(worker, "/")
    assert (figures["events_per_s"], figures["recommendations_per_s"]) == (6.0, 4.0)
    assert figures["age_ms"] == {"p50": 3.0, "p90": 1000.0, "p99": 60_000.0}, (
        "older than any bucket: its last bound"
    )
    assert figures["hits"] == {"predictions": 20, "recommended": 9, "popularity": 4}
    assert figures["counts"] | {"users": 0} == {
        "accepted": 50, "duplicates": 3, "late": 2, "replayed": 1, "recommendations": 40, "dead_letters": 4,
        "skipped": 7, "rebalances": 0, "users": 0, "lost_events": 0, "lost_examples": 0,
    }  # fmt: skip
    assert figures["dead_letters"] == {"empty": 4}
    text = Page(get(worker, "/", BROWSER)[1]).text
    assert "45.0 %" in text
    assert "20.0 %" in text
    assert "over 1 min" in text
    assert "empty" in text
    plots = {plot["name"]: plot["lines"] for plot in get_json(worker, "/plots.json")["plots"]}
    assert [sum(v or 0 for v in line["values"]) for line in plots["dropped"]] == [3, 2, 1]
    assert [(line["label"], max(v or 0 for v in line["values"])) for line in plots["dead_letters"]] == [
        ("empty", 4)
    ]


@pytest.mark.parametrize("span", SPANS)
def test_every_range_can_be_asked_for(worker: Worker, span: str):
    worker.send_heartbeat()
    assert get_json(worker, f"/?range={span}")["range"] == span
    assert f'data-from="/plots.json?range={span}"' in get(worker, f"/?range={span}", BROWSER)[1]
    drawn = get_json(worker, f"/plots.json?range={span}")
    assert len(drawn["times"]) == SPANS[span].slots
    for plot in drawn["plots"]:
        assert all(len(line["values"]) == len(drawn["times"]) for line in plot["lines"])
    assert get(worker, "/?range=year")[0] == 400
    assert get(worker, "/plots.json?range=")[0] == 400


def test_a_worker_without_heartbeats_is_shown_as_silent(tmp_path):
    worker = Worker(tmp_path / "data")
    worker.send_heartbeat()
    about = Process(kind="serving", url="http://there", started=0, ready=True, partitions=[2])
    worker.status._write("serving/other/now", encode(MetricsRow(time=0, until=0, process=about)))
    row, _ = worker.status._history._heartbeats["serving/other"]
    worker.status._history._heartbeats["serving/other"] = row, time.time() * 1000 - 9_000
    states = {p["name"]: p["state"] for p in get_json(worker, "/")["processes"]}
    assert states == {"w": "ready", "other": "silent"}
    assert "Worker other is silent: its last heartbeat was" in Page(get(worker, "/", BROWSER)[1]).text


def test_a_worker_that_differs_from_the_learner_says_in_what(tmp_path):
    worker = Worker(tmp_path / "data")
    worker.serving.replica.differences = ["next is not updated: neighbours: this worker has 8, the learner 9"]
    worker.serving.model.parts.follow({})
    worker.send_heartbeat()
    (process,) = get_json(worker, "/")["processes"]
    assert process["differences"] == worker.serving.replica.differences
    text = Page(get(worker, "/", BROWSER)[1]).text
    assert "Worker w: next is not updated: neighbours: this worker has 8, the learner 9." in text
    metrics = samples(get(worker, "/metrics")[1])
    assert metrics["freshet_model_differences"] == {(): 1}
    not_updated = metrics["freshet_model_components_not_updated"]
    assert not_updated == {(): len(worker.serving.model.parts.layouts)}


def test_the_overview_refreshes_until_it_is_paused(worker: Worker):
    page = Page(get(worker, "/", BROWSER)[1])
    assert ("meta", {"http-equiv": "refresh", "content": "5"}) in page.elements
    assert any(e.get("hx-trigger") == "every 5s" for _, e in page.elements)
    paused = Page(get(worker, "/?pause", BROWSER)[1])
    assert not any(e.get("http-equiv") == "refresh" or "hx-get" in e for _, e in paused.elements)
    assert ("form", {"action": "/users", "role": "search"}) in paused.elements


def test_what_was_lost_and_what_has_to_be_set_right_is_said(tmp_path):
    worker = Worker(tmp_path / "data")
    worker.send_heartbeat()
    worker.serving.losses.add(0, 30)
    worker.serving.losses.add(2, 4)
    worker.serving.topic_watch.problems = ["events: was deleted: <b>"]
    worker.send_heartbeat()
    figures = get_json(worker, "/")
    assert figures["lost"] == {"lost_events": {"0": 30, "2": 4}}
    assert figures["counts"]["lost_events"] == 34
    (process,) = figures["processes"]
    assert (process["state"], process["problems"]) == ("not ready", ["events: was deleted: <b>"])
    assert figures["answered_by"]["waiting_for"] == ["events: was deleted: <b>"]
    text = " ".join(Page(get(worker, "/", BROWSER)[1]).text.split())
    assert "Worker w: events: was deleted: <b>" in text
    assert "34 events were lost before they were served, in the last 15 min, in partition 0, 2" in text
    assert get(worker, "/health/ready")[0] == 503
    metrics = samples(get(worker, "/metrics")[1])
    assert metrics["freshet_lost_events_total"] == {(("partition", "0"),): 30, (("partition", "2"),): 4}
    assert metrics["freshet_ready"] == {(): 0}


def test_repairs_of_local_state_are_shown(tmp_path):
    worker = Worker(tmp_path / "data")
    worker.table.repairs.add(USERS, "users-0.db: Corruption")
    worker.send_heartbeat()
    assert get_json(worker, "/")["repairs"] == [{"kind": USERS, "what": KINDS[USERS], "count": 1}]
    assert KINDS[USERS] in get(worker, "/", BROWSER)[1]


def test_without_repairs_the_overview_says_nothing_of_them(worker: Worker):
    worker.send_heartbeat()
    assert get_json(worker, "/")["repairs"] == []
    assert "Local state" not in get(worker, "/", BROWSER)[1]
