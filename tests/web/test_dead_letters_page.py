"""The dead letters page: what is shown, and sending again after a fix."""

import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from streams.event_messages import decode_event
from streams.messages import DeadLetter
from streams.settings import Settings
from streams.step.clock import REPLAY_HEADER
from streams.web import dead_letters_page
from streams.web.dead_letters_page import LATEST, LATEST_BYTES, StoredDeadLetter
from tests.web.worker import BROWSER, TOKEN, Page, Worker, get, get_json, post

KEPT_BYTES = 5_000
"""Bytes that may be kept of a dead letter, whatever its size."""
BAD = b'{"event_id":"1","user":"ann","type":"view","item":"<i>","time":"soon"}'


CAME = 1_700_000_000_000
"""Kafka's time of the records that became dead letters, ms."""


class Message:
    """A record of the topic as Kafka's client gives it, from partition 3."""

    def __init__(self, key: bytes | None, value: bytes | None, offset: int, headers: Any) -> None:
        self.key, self.value = lambda: key, lambda: value
        self.partition, self.offset, self.headers = lambda: 3, lambda: offset, lambda: headers


def message(
    value: bytes | None, offset: int, reason: str = "malformed-json", own: Any = (), **more: Any
) -> Message:
    """A dead letter as Freshet writes it; `own`: the headers that the record had."""
    header = DeadLetter(
        reason=reason, detail="why <b>", topic="events", partition=1, offset=7, **({"time": CAME} | more)
    )
    return Message(b"ann", value, offset, [*own, *header.headers()])


@pytest.fixture
def worker(tmp_path: Path) -> Worker:
    """A worker with a token."""
    return Worker(tmp_path / "data", web_token=TOKEN)


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> list[Message]:
    """The records on the topic."""
    messages = [
        message(BAD, 9, "time-out-of-range"), message(b"\x00\xff<script>", 8), message(None, 7, "empty"),
        Message(None, b"x" * 10_000, 6, None),
    ]  # fmt: skip
    by_place = {(m.partition(), m.offset()): m for m in messages}

    def latest(
        settings: Settings, topic: str, per_partition: int, timeout_s: float, keep: Any, max_bytes: int
    ) -> list[Any]:
        assert topic == "dead-letter"
        kept = [keep(message) for message in messages[::-1]]
        assert all(size < KEPT_BYTES for _, size in kept)
        return [letter for letter, _ in kept]

    def record_at(
        settings: Settings, topic: str, partition: int, offset: int, timeout_s: float
    ) -> Message | None:
        assert topic == "dead-letter"
        return by_place.get((partition, offset))

    monkeypatch.setattr(dead_letters_page, "latest", latest)
    monkeypatch.setattr(dead_letters_page, "record_at", record_at)
    return messages


def test_dead_letters_are_listed_by_reason_with_their_bytes_escaped(worker: Worker, messages: list[Message]):
    figures = get_json(worker, "/dead-letters")
    assert {entry["reason"]: entry["letters"] for entry in figures["reasons"]} == {
        "time-out-of-range": 1, "malformed-json": 1, "empty": 1,
    }  # fmt: skip
    assert [letter["at"] for letter in figures["letters"]] == ["3:9", "3:8", "3:7", "3:6"]
    assert figures["letters"][1]["value"] == "\\x00\\xff<script>"
    assert figures["letters"][0]["from"] == {"topic": "events", "partition": 1, "offset": 7}
    assert figures["letters"][2]["value"] is None
    assert figures["letters"][3]["reason"] is None
    assert len(figures["letters"][3]["value"]) < 300
    (only,) = get_json(worker, "/dead-letters?reason=empty")["letters"]
    assert only["at"] == "3:7"
    page = Page(get(worker, "/dead-letters", BROWSER)[1])
    assert "\\x00\\xff<script>" in page.text
    assert not any(tag == "i" for tag, _ in page.elements)
    assert get(worker, "/dead-letters?reason=magic")[0] == 400


def test_of_large_dead_letters_excerpts_are_kept(worker: Worker, messages: list[Message]):
    header = DeadLetter(
        reason="wrong-type", detail="d" * 10**6, topic="events", partition=1, offset=7, time=1000
    )
    messages[:] = [Message(b"k" * 10**6, "ü".encode() * 10**6, n, header.headers()) for n in range(50)]
    tracemalloc.start()
    try:
        figures = get_json(worker, "/dead-letters")
        kept = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert kept < 2 * 10**6, "and not 200 MB, as long as the worker lives"
    letter = figures["letters"][0]
    assert letter["bytes"] == 2 * 10**6
    assert letter["value"] == "ü" * 200 + "…"
    assert letter["key"] == "k" * 200 + "…"
    assert letter["detail"] == "d" * 1000


def test_the_list_has_a_budget_of_bytes():
    letter = StoredDeadLetter.from_message(message(b"v" * 5_000, 1)).shortened()
    assert letter.size == 5_000
    assert LATEST_BYTES / letter.memory_bytes > 12 * LATEST, "enough for the latest of twelve partitions"
    assert sys.getsizeof(letter.value) <= letter.memory_bytes < KEPT_BYTES


def test_one_dead_letter_is_shown_in_full(worker: Worker, messages: list[Message]):
    assert get_json(worker, "/dead-letters?at=3:9")["letter"]["text"] == BAD.decode()
    assert len(get_json(worker, "/dead-letters?at=3:6")["letter"]["value"]) == 10_000
    assert "Send again" in get(worker, "/dead-letters?at=3:9", BROWSER)[1]
    for at, status in (("3:99", 404), ("x", 400), ("3:", 400), ("-1:2", 400), ("3:9:1", 400), ("²:1", 400)):
        assert get(worker, f"/dead-letters?at={at}")[0] == status


def test_a_dead_letter_is_sent_again_as_what_it_should_have_been(
    worker: Worker, messages: list[Message], monkeypatch
):
    sent: list[Any] = []
    monkeypatch.setattr(dead_letters_page.Sender, "send", lambda self, *record: sent.append(record))
    status, answer = post(worker, "/dead-letters", {"at": "3:9"})
    assert status == 422
    assert not sent
    assert "time-out-of-range" in answer["letters"][0]["why_not"]
    fixed = BAD.replace(b'"soon"', b"5")
    assert post(worker, "/dead-letters", {"at": "3:9", "value": fixed.decode()})[0] == 200
    ((topic, key, value, headers),) = sent
    assert (topic, key, decode_event(value)) == ("events", b"ann", decode_event(fixed))
    assert headers == [(REPLAY_HEADER, b"%d" % CAME)], "as of when it came first"
    status, text = post(worker, "/dead-letters", "at=3:9&at=3:8", accept=BROWSER)
    assert status == 422
    assert Page(text).text.count("not sent") == 2
    assert len(sent) == 1
    for body in (
        {}, {"at": []}, {"at": ["3:9", "3:8"], "value": "x"}, {"at": ["3:9"] * 101},
                 {"at": "3:9", "value": 5}, {"at": "3:9", "value": []}, {"at": "\ud800"},
    ):  # fmt: skip
        assert post(worker, "/dead-letters", body)[0] == 400


def test_the_headers_of_the_record_come_along_when_it_is_sent_again(
    worker: Worker, messages: list[Message], monkeypatch
):
    sent: list[Any] = []
    monkeypatch.setattr(dead_letters_page.Sender, "send", lambda self, *record: sent.append(record))
    of_2017 = [("trace", None), ("reason", b"sale"), (REPLAY_HEADER, b"1500000000000")]
    messages[0] = message(BAD, 9, own=of_2017)
    messages[1] = message(BAD, 8, own=[(REPLAY_HEADER, b"soon")], time=CAME // 1000)
    by_place = {f"3:{m.offset()}": m for m in messages}
    monkeypatch.setattr(dead_letters_page, "record_at", lambda s, t, p, offset, _: by_place[f"{p}:{offset}"])
    fixed = BAD.replace(b'"soon"', b"1500000000000").decode()
    for at in ("3:9", "3:8"):
        assert post(worker, "/dead-letters", {"at": at, "value": fixed})[0] == 200
    assert [headers for *_, headers in sent] == [
        [("trace", None), ("reason", b"sale"), (REPLAY_HEADER, b"1500000000000")],
        [(REPLAY_HEADER, b"%d" % CAME)],
    ]


def test_one_that_was_cut_or_would_be_a_dead_letter_again_is_not_sent(
    worker: Worker, messages: list[Message], monkeypatch
):
    sent: list[Any] = []
    monkeypatch.setattr(dead_letters_page.Sender, "send", lambda self, *record: sent.append(record))
    whole = BAD.replace(b'"soon"', b"5")
    cut = message(whole + b" ", 9, "too-large", value_bytes=14_000_000, cut="value")
    monkeypatch.setattr(dead_letters_page, "record_at", lambda *place: cut)
    letter = get_json(worker, "/dead-letters?at=3:9")["letter"]
    assert (letter["bytes"], letter["cut"]) == (14_000_000, "value")
    text = get(worker, "/dead-letters?at=3:9", BROWSER)[1]
    assert "14,000,000 bytes" in Page(text).text
    assert "Send again" not in text
    status, answer = post(worker, "/dead-letters", {"at": "3:9"})
    assert status == 422
    assert "was cut" in answer["letters"][0]["why_not"]
    in_seconds = BAD.replace(b'"soon"', b"1700000000").decode()
    status, answer = post(worker, "/dead-letters", {"at": "3:9", "value": in_seconds})
    assert status == 422
    assert "time-in-seconds" in answer["letters"][0]["why_not"]
    assert not sent
    assert post(worker, "/dead-letters", {"at": "3:9", "value": whole.decode()})[0] == 200


class UnreadableHeaders(Message):
    """A record of another producer, with a header name that confluent-kafka cannot decode."""

    def __init__(self, offset: int) -> None:
        super().__init__(b"ann", b"x", offset, None)
        self.headers, self.set_headers = self._fail, lambda headers: None

    def _fail(self) -> None:
        raise SystemError("returned a result with an exception set") from UnicodeDecodeError(
            "utf-8", b"\xff", 0, 1, "invalid start byte"
        )


def test_headers_of_any_kind_are_shown(worker: Worker, messages: list[Message], monkeypatch):
    ours = message(BAD, 1).headers()
    odd: list[Message] = [
        Message(b"ann", b"x", n, headers)
        for n, headers in enumerate(
            [
                *([(n, None if n == name else v) for n, v in ours] for name, _ in ours),
                [("reason", None)], [(name, b"\xff") for name, _ in ours],
                [*ours, ("time", b"9" * 30)], [*ours, ("time", b"-1")], [*ours, ("time", b"9" * 17)],
                [*ours, ("offset", b"-5"), ("partition", b"9" * 30)], [], None,
            ]
        )
    ]  # fmt: skip
    odd.append(UnreadableHeaders(len(odd)))
    monkeypatch.setattr(
        dead_letters_page, "latest", lambda s, t, n, timeout, keep, most: [keep(m)[0] for m in odd]
    )
    monkeypatch.setattr(dead_letters_page, "record_at", lambda s, t, p, offset, _: odd[offset])
    for accept in (BROWSER, "application/json"):
        assert get(worker, "/dead-letters", accept)[0] == 200
        for n in range(len(odd)):
            assert get(worker, f"/dead-letters?at=3:{n}", accept)[0] == 200


def test_a_kafka_that_does_not_answer_or_accept_makes_a_503(
    worker: Worker, messages: list[Message], monkeypatch
):
    def fail(*args: Any) -> None:
        raise KafkaException(KafkaError(KafkaError._TRANSPORT))

    monkeypatch.setattr(dead_letters_page.Sender, "send", fail)
    fixed = BAD.replace(b'"soon"', b"5").decode()
    status, problem = post(worker, "/dead-letters", {"at": "3:9", "value": fixed})
    assert status == 503
    assert problem["detail"].startswith("Kafka did not accept the record: ")
    monkeypatch.setattr(dead_letters_page, "latest", fail)
    monkeypatch.setattr(dead_letters_page, "record_at", fail)
    for path in ("/dead-letters", "/dead-letters?at=3:9"):
        status, _, headers = get(worker, path)
        assert status == 503
        assert headers["Retry-After"]
