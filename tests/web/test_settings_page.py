"""The settings page: what is shown, what is changed, what is refused."""

import asyncio
import html
import json
import re
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from confluent_kafka import KafkaError, KafkaException

from streams.messages import MetricsRow, SettingChange, decode_change, encode
from tests.web.worker import BROWSER, HOUR, TOKEN, Page, Worker, get, get_json, post


@pytest.fixture
def worker(tmp_path: Path) -> Worker:
    """A worker with a token."""
    return Worker(tmp_path / "data", web_token=TOKEN)


def test_a_change_is_written_and_decided_by_at_once(worker: Worker):
    status, answer = post(worker, "/settings", {"setting": "list_length", "value": 3, "who": " ann "})
    assert status == 200
    assert answer["changed"] == "list_length"
    (change,) = worker.live_settings.published
    assert (change.setting, change.value, change.old, change.who) == ("list_length", 3, 5, "ann")
    assert decode_change(encode(change)) == change
    assert worker.serving.policy.list_length == 3
    live = {row["setting"]: row for row in get_json(worker, "/settings")["live"]}
    assert (live["list_length"]["value"], live["list_length"]["configured"]) == (3, 5)
    assert live["list_length"]["last_change"]["who"] == "ann"
    assert "Changed by" in get(worker, "/settings", BROWSER)[1]
    assert post(worker, "/settings", {"setting": "list_length", "who": "b", "reset": 1})[0] == 200
    assert worker.live_settings.published[-1].value is None
    assert worker.serving.policy.list_length == 5


def test_a_form_changes_weights_and_the_recommender(worker: Worker):
    worker.learn()
    before = get_json(worker, "/users/ann")["now"]["items"]
    form = {"setting": "ranker", "value": "blend", "who": "ann", "token": TOKEN}
    assert post(worker, "/settings", urlencode(form), token=None)[0] == 200
    names = list(worker.settings.generators)
    form = {"setting": "generators", "who": "ann", "token": TOKEN}
    form |= {f"key:{name}": "1" if name == "popularity" else "0" for name in names}
    status, text = post(worker, "/settings", urlencode(form), token=None, accept=BROWSER)
    assert status == 200
    assert "generators is changed" in Page(text).text
    after = get_json(worker, "/users/ann")["now"]["items"]
    assert after
    assert {row["reason"] for row in after} <= {"popular now", "seen before"}
    assert after != before
    form = {"setting": "event_weights", "key:view": "0.5", "new_key": "wish", "new_value": "2", "who": "b"}
    assert post(worker, "/settings", urlencode(form))[0] == 200
    assert worker.serving.policy.weight("wish") == 2
    assert worker.serving.policy.weight("view") == 0.5


@pytest.mark.parametrize(
    "change",
    [
        {"setting": "list_length", "value": 0}, {"setting": "list_length", "value": "many"},
        {"setting": "list_length"}, {"value": 3}, {"setting": "partitions", "value": 3},
        {"setting": "data_dir", "reset": 1}, {"setting": "nothing", "value": 1},
        {"setting": "generators", "value": {"magic": 1}}, {"setting": "generators", "value": {"next": 0}},
        {"setting": "generators", "value": {"next": -1}},
        {"setting": "event_weights", "value": {"view": 1e9}},
        {"setting": "event_weights", "value": 7}, {"setting": "ranker", "value": "magic"},
        {"setting": "list_length", "value": 3, "who": ""},
        {"setting": "list_length", "value": 3, "who": "x" * 101},
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_changed_says_why(worker: Worker, change: dict[str, Any]):
    status, answer = post(worker, "/settings", {"who": "ann"} | change)
    assert status == 400
    assert answer["detail"]
    assert worker.live_settings.published == []


def test_settings_say_what_a_change_does(worker: Worker):
    def effect(name: str) -> str:
        return next(row["effect"] for row in get_json(worker, "/settings")["live"] if row["setting"] == name)

    assert effect("generators").startswith("none while mlp ranks")
    assert post(worker, "/settings", {"setting": "ranker", "value": "blend", "who": "ann"})[0] == 200
    assert effect("generators") == "on lists from now on; 0 turns one off"
    assert all(row["effect"] for row in get_json(worker, "/settings")["live"])


def test_settings_show_half_lives_and_what_was_measured(worker: Worker):
    assert get_json(worker, "/settings")["recall"] == {}, "nothing was measured yet"
    hits = {"now": 40, "blend": 30, "next": 20, "of another model": 99}
    counts = {f"quality:{name}|all|hits": count for name, count in hits.items()}
    counts |= {f"quality:{name}|all|predictions": 100 for name in hits}
    now = int(time.time() * 1000) // 10_000 * 10_000
    worker.status._write("learning/l/15min/0", encode(MetricsRow(time=now, until=now, counts=counts)))
    figures = get_json(worker, "/settings")
    assert figures["recall"] == {"mlp": 0.4, "blend": 0.3, "next": 0.2}
    (day,) = [row for row in figures["half_lives"] if row["generator"] == "popularity"]
    assert (day["half_life_ms"], day["after_day"], day["after_week"]) == (86_400_000, 0.5, 0.5**7)
    text = Page(get(worker, "/settings", BROWSER)[1]).text
    assert "40.0 %" in text
    assert "Half-lives" in text


def test_half_lives_are_changed_in_the_model_and_taken_back(worker: Worker):
    def hours() -> dict[str, float]:
        figures = get_json(worker, "/settings")
        live = {row["setting"]: row["value"] for row in figures["live"]}["half_lives_h"]
        assert {row["generator"]: row["half_life_ms"] / HOUR for row in figures["half_lives"]} == live
        return live

    before = hours()
    assert before == {"next": 672, "previous": 672, "popularity": 24, "trending": 2}
    form = {"setting": "half_lives_h", "who": "ann", "key:popularity": "6", "key:next": "672"}
    assert post(worker, "/settings", urlencode(form))[0] == 200
    assert hours() == before | {"popularity": 6}
    assert worker.serving.model.half_lives_ms["popularity"] == 6 * HOUR
    for wrong in ({"embedding": 3}, {"context-popularity": 3}, {"next": 0}, {"next": "soon"}):
        change = {"setting": "half_lives_h", "who": "ann", "value": wrong}
        assert post(worker, "/settings", change)[0] == 400
    assert post(worker, "/settings", {"setting": "half_lives_h", "who": "ann", "reset": 1})[0] == 200
    assert hours() == before


def test_a_change_of_another_version_or_for_another_model_is_left_out(worker: Worker):
    for name, value in (("list_length", "many"), ("generators", {"magic": 1}), ("unheard", 1)):
        change = SettingChange(setting=name, value=value, old=None, who="x", time=0)
        asyncio.run(worker.live_settings.publish(change))
    assert worker.serving.policy.list_length == 5
    assert get(worker, "/settings", BROWSER)[0] == 200


def test_secrets_are_on_no_page(worker: Worker):
    assert TOKEN not in get(worker, "/settings")[1] + get(worker, "/settings", BROWSER)[1]
    assert not [o for o in get_json(worker, "/settings")["fixed"] if o["setting"].startswith(("sasl", "ssl"))]


def test_a_change_that_is_not_applied_or_not_accepted_is_answered_503(worker: Worker, monkeypatch):
    change = {"setting": "list_length", "value": 3, "who": "ann"}

    async def not_applied(change: SettingChange) -> bool:
        return False

    async def not_accepted(change: SettingChange) -> bool:
        raise KafkaException(KafkaError(KafkaError._MSG_TIMED_OUT))

    for publish, expected in (
        (not_applied, "is published, but was not applied"),
        (not_accepted, "did not accept"),
    ):
        monkeypatch.setattr(worker.live_settings, "publish", publish)
        status, problem = post(worker, "/settings", change)
        assert status == 503
        assert expected in problem["detail"]


def test_rules_are_changed_as_json_and_a_wrong_one_is_refused(worker: Worker):
    worker.learn()
    before = [entry["item"] for entry in get_json(worker, "/users/ann")["now"]["items"]]
    assert "a" in before
    form = {"setting": "rules", "value": '[{"rule": "not-recent", "last": 2}]', "who": "ann", "token": TOKEN}
    status, text = post(worker, "/settings", urlencode(form), token=None, accept=BROWSER)
    assert status == 200
    (shown,) = re.findall(r'<textarea name="value"[^>]*"rules, as JSON">(.*?)</textarea>', text, re.DOTALL)
    assert json.loads(html.unescape(shown)) == [{"rule": "not-recent", "last": 2}]
    after = [entry["item"] for entry in get_json(worker, "/users/ann")["now"]["items"]]
    assert after
    assert not {"a", "b"} & set(after), "what ann saw last"
    for wrong in ('[{"rule": "nothing"}]', '[{"rule": "at-most", "n": 0}]', "not-recent", '[["not-recent"]]'):
        status, problem = post(worker, "/settings", {"setting": "rules", "value": wrong, "who": "ann"})
        assert (status, "rule" in problem["detail"]) == (400, True)
    assert list(worker.serving.recommender.dropped) == ["not-recent"]
