"""Quality from known counts."""

import pytest

from streams.monitor.history import Point, Recorder, add_up
from streams.monitor.quality import plots, quality
from streams.monitor.sample import as_counters

STEP = 10_000
COUNTS = {
    "quality:now|all|predictions": 40, "quality:now|all|hits": 20, "quality:now|all|reciprocal_ranks": 10,
    "quality:now|all|gains": 15, "quality:now|user new|predictions": 10, "quality:now|user new|hits": 1,
    "quality:frozen|all|predictions": 40, "quality:frozen|all|hits": 10,
    "quality:popularity|all|predictions": 40, "quality:next|all|predictions": 40, "quality:next|all|hits": 12,
    "quality:shown|type view|predictions": 30, "quality:shown|type view|hits": 6,
    "quality:shown|type buy|predictions": 5, "quality:shown|type buy|hits": 4, "recommendations": 40,
    "quality:shown|all|predictions": 35, "quality:shown|all|hits": 10,
    "lift:frozen|predictions": 40, "lift:frozen|won": 12, "lift:frozen|lost": 2,
}  # fmt: skip


def point(slot: int, counts: dict[str, float]) -> Point:
    return Point(slot * STEP, 10, counts, {})


def test_figures_add_up_over_time_and_are_those_by_hand():
    page = quality([], [point(1, COUNTS), point(2, COUNTS)], "15min")
    now, shown, frozen, *rest = page["recommenders"]
    assert shown["recall"] == 20 / 70
    assert (now["name"], now["predictions"], now["recall"], now["mrr"], now["ndcg"]) == (
        "now",
        80,
        0.5,
        0.25,
        0.375,
    )
    assert now["recall_low"] < 0.5 < now["recall_high"]
    assert frozen["recall"] == 0.25
    assert [entry["name"] for entry in rest] == ["popularity", "next"]
    (lift,) = page["lifts"]
    assert lift["over"] == "frozen"
    assert lift["lift"] == 0.25
    assert (lift["low"] + lift["high"]) / 2 == pytest.approx(0.25)
    assert lift["low"] > 0.1
    assert [entry["name"] for entry in page["segments"]] == ["type buy", "type view", "user new"]
    segment = page["segments"][-1]
    assert segment["name"] == "user new"
    assert segment["recommenders"]["now"]["recall"] == 0.1


def test_what_came_of_what_was_shown_is_a_share_of_the_lists():
    assert quality([], [point(1, COUNTS), point(2, COUNTS)], "15min")["taken"] == {
        "lists": 80,
        "by_type": [
            {"type": "view", "events": 60, "taken": 12, "of_lists": 0.15},
            {"type": "buy", "events": 10, "taken": 8, "of_lists": 0.1},
        ],
    }
    assert quality([], [], "15min")["taken"] == {"lists": 0, "by_type": []}


def test_plots_fade():
    all_hit = {"quality:now|all|predictions": 10, "quality:now|all|hits": 10}
    none_hit = {"quality:now|all|predictions": 10}
    drawn = plots([point(88, all_hit), point(89, none_hit)], "15min", 89 * STEP)
    recall = drawn["plots"][1]
    assert recall["title"] == "Recall@10"
    assert recall["lines"][0]["label"] == "Current model"
    assert recall["lines"][0]["values"][-2:] == [100.0, pytest.approx(100 * 0.9 / 1.9, abs=0.01)]


def test_a_lift_that_falls_is_told_as_it_is():
    """The history takes a total that falls for one that began anew, and a sum of differences may fall."""
    recorder, points = Recorder("learning/l"), []
    for step, (difference, squares) in enumerate([(3, 3), (2, 4), (4, 6), (1, 9)]):
        totals = as_counters({"lift:next|difference": difference, "lift:next|squares": squares})
        rows = recorder.add(step * STEP, totals, {})
        points.append(Point(step * STEP, 10, rows[f"learning/l/15min/{step}"].counts, {}))
    assert add_up(points) == {"lift:next|won": 5, "lift:next|lost": 4}


def test_the_lift_is_plotted_also_below_nothing():
    better = {"lift:frozen|predictions": 10, "lift:frozen|won": 1, "lift:popularity|predictions": 10}
    worse = {"lift:frozen|predictions": 10, "lift:frozen|lost": 3, "lift:popularity|predictions": 10}
    lift = plots([point(88, better), point(89, worse)], "15min", 89 * STEP)["plots"][0]
    assert [line["label"] for line in lift["lines"]] == ["over frozen twin", "over popularity"]
    assert lift["lines"][0]["values"][-3:] == [None, 10.0, pytest.approx(100 * (0.9 - 3) / 19, abs=0.01)]
    assert lift["lines"][1]["values"][-1] == 0.0
