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


def test_control_characters_of_an_id_are_escaped_but_in_a_form():
    data = {"user": "\x1b[31mred\u202e", "item": None, "rate_per_s": 1}
    text = render("live", data, site="s", menu={}, path="/", refresh_s=0, paused=False, json="/x")
    assert not set(text) & {"\x1b", "\u202e"}
    assert 'value="&#x1b;[31mred' in text, "the form sends the id as it is"
    data = {"status": 404, "error": "e", "detail": "no \x1b[31m\x9b"}
    text = render("problem", data, site="s", menu={}, path="/", refresh_s=0, paused=False, json="/x")
    assert "no \\x1b[31m\\x9b" in text
