"""The page /quality from counts that are known."""

import pytest

from streams.history import Point
from streams.web.quality import plots, quality
from streams.web.rendering import render

STEP = 10_000
COUNTS = {
    "quality:now|all|predictions": 40, "quality:now|all|hits": 20, "quality:now|all|reciprocal_ranks": 10,
    "quality:now|all|gains": 15, "quality:now|user new|predictions": 10, "quality:now|user new|hits": 1,
    "quality:frozen|all|predictions": 40, "quality:frozen|all|hits": 10,
    "quality:popularity|all|predictions": 40, "quality:next|all|predictions": 40, "quality:next|all|hits": 12,
    "lift:frozen|predictions": 40, "lift:frozen|difference": 10, "lift:frozen|squares": 14,
}  # fmt: skip


def point(slot: int, counts: dict[str, float]) -> Point:
    return Point(slot * STEP, 10, counts, {})


def test_figures_add_up_over_time_and_are_those_by_hand():
    found = quality([], [point(1, COUNTS), point(2, COUNTS)], "15min")
    now, frozen, *rest = found["recommenders"]
    assert (now["name"], now["predictions"], now["recall"], now["mrr"], now["ndcg"]) == (
        "now",
        80,
        0.5,
        0.25,
        0.375,
    )
    assert now["recall_low"] < 0.5 < now["recall_high"] and frozen["recall"] == 0.25
    assert [one["name"] for one in rest] == ["popularity", "next"]
    (lift,) = found["lifts"]
    assert lift["over"] == "frozen" and lift["lift"] == 0.25
    assert (lift["low"] + lift["high"]) / 2 == pytest.approx(0.25) and lift["low"] > 0.1
    (segment,) = found["segments"]
    assert segment["name"] == "user new" and segment["recommenders"]["now"]["recall"] == 0.1


def test_plots_fade():
    all_hit = {"quality:now|all|predictions": 10, "quality:now|all|hits": 10}
    none_hit = {"quality:now|all|predictions": 10}
    drawn = plots([point(88, all_hit), point(89, none_hit)], "15min", 89 * STEP)
    recall = drawn["plots"][0]
    assert recall["title"] == "Recall@10" and recall["lines"][0]["label"] == "now"
    assert recall["lines"][0]["values"][-2:] == [100.0, pytest.approx(100 * 0.9 / 1.9, abs=0.01)]


def test_the_page_renders_with_and_without_figures():
    shared = {"path": "/quality", "json": "", "site": "Freshet", "menu": {}, "refresh_s": 5, "paused": False}
    full = render("quality", quality([], [point(1, COUNTS)], "15min"), **shared)
    assert "Generator next alone" in full and "+25.0 points" in full
    assert "Nothing was predicted yet" in render("quality", quality([], [], "15min"), **shared)
