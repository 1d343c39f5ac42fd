"""Templates."""

from streams.web.rendering import render
from tests.web.worker import Page


def test_everything_in_a_template_is_escaped():
    data = {"status": 404, "error": "<b>", "detail": "'\"&<i>"}
    text = render(
        "problem", data, site="<u>", menu={"/<s>": "<s>"}, path="/", refresh_s=0, paused=False, json="/x?a=<&"
    )
    assert not {tag for tag, _ in Page(text).elements} & {"b", "i", "u", "s"}
    assert "<b>" in Page(text).text
    assert "'\"&<i>" in Page(text).text
