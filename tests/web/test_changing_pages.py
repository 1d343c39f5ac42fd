"""The pages that change something, and the tail: who may, what is refused, what becomes of it.  No Kafka."""

import asyncio
import json
import time
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest
from streams.kafka.dead_letters import StoredDeadLetter

from streams.kafka import dead_letters as letters
from streams.messages import (
    DeadLetter,
    Event,
    MetricsRow,
    Recommendation,
    SettingChange,
    decode_change,
    decode_event,
    encode,
)
from streams.step.writes import Counts, Writes
from streams.web.live_page import BURST, Subscription
from tests.web.test_pages import BROWSER, HOUR, Ask, Page, Worker, browse, get, get_json, strict

TOKEN = "sesame, open"
PATHS = ["/settings", "/dead-letters"]


@pytest.fixture
def worker(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Worker:
    """One with a token; a change that it would write to Kafka is kept in `written`."""
    made = Worker(tmp_path / "data", web_token=TOKEN)
    made.written = []
    monkeypatch.setattr(made.changes, "write", made.written.append)
    return made


def post(worker: Worker, path: str, body: Any, token: str | None = TOKEN, accept: str = "*/*") -> Any:
    """Status and JSON (or text) of a POST; a dict goes as JSON, text as a form."""
    as_json = isinstance(body, dict)
    headers = {"Content-Type": "application/json" if as_json else "application/x-www-form-urlencoded"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    data = json.dumps(body) if as_json else body

    async def visit(ask: Ask) -> Any:
        status, text, found = await ask(path, accept, "POST", data=data, **headers)
        return status, strict(text) if "json" in found["Content-Type"] else text

    return browse(worker.site, visit)


@pytest.mark.parametrize("path", PATHS)
def test_without_a_configured_token_nobody_may(tmp_path, path: str):
    worker = Worker(tmp_path / "data")
    assert post(worker, path, {"token": ""}, token="")[0] == 403
    assert post(worker, path, {"setting": "list_length", "value": 3, "who": "a"})[0] == 403
    assert get_json(worker, "/settings")["may_change"] is False
    assert "FRESHET_WEB_TOKEN" in get(worker, "/settings", BROWSER)[1]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("token", [None, "", "sesame", TOKEN + "x", "ü"])
def test_another_token_is_refused(worker: Worker, path: str, token: str | None):
    assert post(worker, path, {"setting": "list_length", "value": 3, "who": "a"}, token)[0] == 401
    assert worker.written == []


@pytest.mark.parametrize("path", PATHS)
def test_a_body_must_be_small_and_of_a_kind_that_is_known(worker: Worker, path: str):
    assert post(worker, path, {"value": "x" * 1_000_001})[0] == 413
    assert post(worker, path, "x=" + "y" * 2_000_000)[0] == 413
    assert post(worker, path, urlencode({"x": "y"}), token="wrong")[0] == 401

    async def visit(ask: Ask) -> None:
        auth = {"Authorization": f"Bearer {TOKEN}"}
        for kind, body, status in (
            ("text/plain", "x", 415), ("application/json", "{", 400), ("application/json", "[1]", 400),
        ):  # fmt: skip
            found = await ask(path, "*/*", "POST", data=body, **auth, **{"Content-Type": kind})
            assert found[0] == status
        assert (await ask(path, "*/*", "PUT"))[0] == 405

    browse(worker.site, visit)


def test_a_change_is_written_and_decided_by_at_once(worker: Worker):
    status, found = post(worker, "/settings", {"setting": "list_length", "value": 3, "who": " ann "})
    assert status == 200
    assert found["changed"] == "list_length"
    (change,) = worker.written
    assert (change.setting, change.value, change.old, change.who) == ("list_length", 3, 5, "ann")
    assert decode_change(encode(change)) == change
    assert worker.serving.policy.list_length == 3
    live = {one["setting"]: one for one in get_json(worker, "/settings")["live"]}
    assert (live["list_length"]["value"], live["list_length"]["configured"]) == (3, 5)
    assert live["list_length"]["last_change"]["who"] == "ann"
    assert "Changed by" in get(worker, "/settings", BROWSER)[1]
    assert post(worker, "/settings", {"setting": "list_length", "who": "b", "reset": 1})[0] == 200
    assert worker.written[-1].value is None
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
    assert {one["reason"] for one in after} <= {"popular now", "seen before"}
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
    status, found = post(worker, "/settings", {"who": "ann"} | change)
    assert status == 400
    assert found["detail"]
    assert worker.written == []


def test_settings_say_what_a_change_does(worker: Worker):
    def effect(name: str) -> str:
        return next(one["effect"] for one in get_json(worker, "/settings")["live"] if one["setting"] == name)

    assert effect("generators").startswith("none as long as mlp ranks")
    assert post(worker, "/settings", {"setting": "ranker", "value": "blend", "who": "ann"})[0] == 200
    assert effect("generators") == "on lists from now on; 0 turns one off"
    assert all(one["effect"] for one in get_json(worker, "/settings")["live"])


def test_settings_show_half_lives_and_what_was_measured(worker: Worker):
    assert get_json(worker, "/settings")["recall"] == {}, "nothing was measured yet"
    made = {"now": 40, "blend": 30, "next": 20, "of another model": 99}
    counts = {f"quality:{who}|all|hits": hits for who, hits in made.items()}
    counts |= {f"quality:{who}|all|predictions": 100 for who in made}
    now = int(time.time() * 1000) // 10_000 * 10_000
    worker.board._write("learning/l/15min/0", encode(MetricsRow(time=now, until=now, counts=counts)))
    found = get_json(worker, "/settings")
    assert found["recall"] == {"mlp": 0.4, "blend": 0.3, "next": 0.2}
    (day,) = [one for one in found["half_lives"] if one["generator"] == "popularity"]
    assert (day["half_life_ms"], day["after_day"], day["after_week"]) == (86_400_000, 0.5, 0.5**7)
    text = Page(get(worker, "/settings", BROWSER)[1]).text
    assert "40.0 %" in text
    assert "Half-lives" in text


def test_half_lives_are_changed_in_the_model_and_taken_back(worker: Worker):
    def hours() -> dict[str, float]:
        found = get_json(worker, "/settings")
        live = {one["setting"]: one["value"] for one in found["live"]}["half_lives_h"]
        assert {one["generator"]: one["half_life_ms"] / HOUR for one in found["half_lives"]} == live
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
        told = SettingChange(setting=name, value=value, old=None, who="x", time=0)
        asyncio.run(worker.changes.apply(name, told))
    assert worker.serving.policy.list_length == 5
    assert get(worker, "/settings", BROWSER)[0] == 200


def test_secrets_are_on_no_page(worker: Worker):
    assert TOKEN not in get(worker, "/settings")[1] + get(worker, "/settings", BROWSER)[1]
    assert not [o for o in get_json(worker, "/settings")["fixed"] if o["setting"].startswith(("sasl", "ssl"))]


# Dead letters

BAD = b'{"event_id":"1","user":"ann","type":"view","item":"<i>","time":"soon"}'


def letter(value: bytes | None, offset: int, reason: str = "malformed-json") -> StoredDeadLetter:
    said = DeadLetter(reason=reason, detail="why <b>", topic="events", partition=1, offset=7, time=1000)
    return StoredDeadLetter(3, offset, b"ann", value, said)


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> list[StoredDeadLetter]:
    """What is on the topic."""
    found = [
        letter(BAD, 9, "time-out-of-range"), letter(b"\x00\xff<script>", 8), letter(None, 7, "empty"),
        StoredDeadLetter(3, 6, None, b"x" * 10_000, None),
    ]  # fmt: skip
    monkeypatch.setattr(letters, "latest", lambda settings: found)
    by_place = {(one.partition, one.offset): one for one in found}
    monkeypatch.setattr(letters, "at", lambda settings, partition, offset: by_place.get((partition, offset)))
    return found


def test_letters_are_listed_by_reason_with_their_bytes_escaped(worker: Worker, kept: list[StoredDeadLetter]):
    found = get_json(worker, "/dead-letters")
    assert {one["reason"]: one["letters"] for one in found["reasons"]} == {
        "time-out-of-range": 1, "malformed-json": 1, "empty": 1,
    }  # fmt: skip
    assert [one["at"] for one in found["letters"]] == ["3:9", "3:8", "3:7", "3:6"]
    assert found["letters"][1]["value"] == "\\x00\\xff<script>"
    assert found["letters"][0]["from"] == {"topic": "events", "partition": 1, "offset": 7}
    assert found["letters"][2]["value"] is None
    assert found["letters"][3]["reason"] is None
    assert len(found["letters"][3]["value"]) < 300
    (only,) = get_json(worker, "/dead-letters?reason=empty")["letters"]
    assert only["at"] == "3:7"
    page = Page(get(worker, "/dead-letters", BROWSER)[1])
    assert "\\x00\\xff<script>" in page.text
    assert not any(tag == "i" for tag, _ in page.elements)
    assert get(worker, "/dead-letters?reason=magic")[0] == 400


def test_one_letter_is_shown_in_full(worker: Worker, kept: list[StoredDeadLetter]):
    assert get_json(worker, "/dead-letters?at=3:9")["letter"]["text"] == BAD.decode()
    assert len(get_json(worker, "/dead-letters?at=3:6")["letter"]["value"]) == 10_000
    assert "Send again" in get(worker, "/dead-letters?at=3:9", BROWSER)[1]
    for at, status in (("3:99", 404), ("x", 400), ("3:", 400), ("-1:2", 400), ("3:9:1", 400), ("²:1", 400)):
        assert get(worker, f"/dead-letters?at={at}")[0] == status


def test_a_letter_is_sent_again_as_what_it_should_have_been(
    worker: Worker, kept: list[StoredDeadLetter], monkeypatch
):
    sent: list[tuple[Event, int]] = []
    monkeypatch.setattr(letters.Sender, "send", lambda self, event, arrived: sent.append((event, arrived)))
    status, found = post(worker, "/dead-letters", {"at": "3:9"})
    assert status == 422
    assert not sent
    assert "time-out-of-range" in found["letters"][0]["why_not"]
    mended = BAD.replace(b'"soon"', b"5")
    assert post(worker, "/dead-letters", {"at": "3:9", "value": mended.decode()})[0] == 200
    assert sent == [(decode_event(mended), 1000)], "as of when it came first"
    status, text = post(worker, "/dead-letters", "at=3:9&at=3:8", accept=BROWSER)
    assert status == 422
    assert Page(text).text.count("not sent") == 2
    assert len(sent) == 1
    for body in ({}, {"at": []}, {"at": ["3:9", "3:8"], "value": "x"}, {"at": ["3:9"] * 101}):
        assert post(worker, "/dead-letters", body)[0] == 400


# Live


class Record:
    def __init__(self, user: str, item: str | None, offset: int, value: bytes | None = None) -> None:
        kind = "view" if item else "request"
        event = Event(event_id=str(offset), user=user, type=kind, item=item, time=5)
        self.key, self.value = user.encode(), encode(event) if value is None else value
        self.partition, self.offset, self.timestamp, self.headers = 0, offset, 0, ()


def answer(record: Record) -> tuple[bytes, bytes]:
    made = Recommendation(
        recommendation_id=f"0-{record.offset}", user=record.key.decode(), time=9, event_id="e",
        event_type="view", items=[], checkpoint=1, age_ms=3, model_age_ms=None,
    )  # fmt: skip
    return record.key, encode(made)


def lines(tap: Subscription) -> list[Any]:
    found = []
    while not tap.lines.empty():
        found.append(msgspec.json.decode(tap.lines.get_nowait()))
    return found


def tapped(records: list[Record], **wanted: Any) -> list[Any]:
    """What a tap takes of records that are all answered."""
    tap = Subscription("w", wanted.get("user"), wanted.get("item"))
    tap.receive(records, writes([answer(r) for r in records]))
    return lines(tap)


def test_a_tap_takes_an_event_with_what_it_caused():
    records = [
        Record("ann", "a", 1),
        Record("ben", "ü<", 2),
        Record("ann", None, 3),
        Record("x", "x", 4, b"{"),
    ]
    found = tapped(records)
    assert [(one["event"]["user"], one["recommendation"]["recommendation_id"]) for one in found] == [
        ("ann", "0-1"), ("ben", "0-2"), ("ann", "0-3"),
    ]  # fmt: skip
    assert [one["offset"] for one in tapped(records, user="ann")] == [1, 3]
    assert [one["offset"] for one in tapped(records, item="ü<")] == [2]
    assert tapped(records, item="ann") == []
    assert tapped(records, user="an") == []
    tap = Subscription("w", None, None)
    tap.receive([Record("ann", "a", 1)], writes([]))
    assert lines(tap)[0]["recommendation"] is None, "an impression, say"


def test_a_tap_is_limited_and_a_slow_browser_loses_lines_and_nothing_else():
    assert len(tapped([Record("ann", "a", n) for n in range(1000)])) == BURST
    tap = Subscription("w", None, None)
    for _ in range(500):
        tap.put(b"{}")
    assert tap.lines.qsize() == tap.lines.maxsize


def test_the_glance_is_json_and_nobody_is_left_looking(worker: Worker):
    found = get_json(worker, "/live?user=ann")
    assert found == {"user": "ann", "item": None, "rate_per_s": 10.0, "events": []}
    assert live_subscribers(worker) == []
    page = Page(get(worker, "/live?user=<b>", BROWSER)[1])
    assert any(found.get("value") == "<b>" for _, found in page.elements)
