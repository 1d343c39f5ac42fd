"""The quality page, with and without figures."""

from streams.monitor.quality import quality
from streams.web.rendering import render
from tests.monitor.test_quality import COUNTS, point


def test_the_page_renders_with_and_without_figures():
    shared = {"path": "/quality", "json": "", "site": "Freshet", "menu": {}, "refresh_s": 5, "paused": False}
    full = render("quality", quality([], [point(1, COUNTS)], "15min"), **shared)
    assert "Generator next alone" in full
    assert "+25.0" in full
    assert "Lift over frozen twin" in full
    assert "Nothing was predicted yet" in render("quality", quality([], [], "15min"), **shared)
