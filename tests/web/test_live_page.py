"""The live page: what a subscription receives, and its limits."""

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp.test_utils import TestServer

from streams.messages import Event, Recommendation, encode
from streams.step.writes import OutputRecord, Writes
from streams.web import live_page
from streams.web.live_page import BURST, Subscription
from tests.waiting import until
from tests.web.worker import BROWSER, Page, Worker, get, get_json, writes


class Record:
    def __init__(self, user: str, item: str | None, offset: int, value: bytes | None = None) -> None:
        kind = "view" if item else "request"
        event = Event(event_id=str(offset), user=user, type=kind, item=item, time=5)
        self.key, self.value = user.encode(), encode(event) if value is None else value
        self.partition, self.offset, self.timestamp, self.headers = 0, offset, 0, ()


def answer(record: Record) -> OutputRecord:
    recommendation = Recommendation(
        recommendation_id=f"0-{record.offset}", user=record.key.decode(), time=9, event_id="e",
        event_type="view", items=[], checkpoint=1, age_ms=3, model_age_ms=None,
    )  # fmt: skip
    return record.key, encode(recommendation), []


def lines(subscription: Subscription) -> list[Any]:
    received = []
    while not subscription.lines.empty():
        received.append(msgspec.json.decode(subscription.lines.get_nowait()))
    return received


def answered(records: list[Record]) -> Writes:
    """What a step writes that answers these records of partition 0."""
    return writes(outputs={"recommendations": {0: [answer(record) for record in records]}})


def received(records: list[Record], user: str | None = None, item: str | None = None) -> list[Any]:
    """What a subscription receives of records that are all answered."""
    subscription = Subscription("w", user, item)
    subscription.receive(records, answered(records))
    return lines(subscription)


def test_a_subscription_receives_events_with_what_they_caused():
    records = [
        Record("ann", "a", 1),
        Record("ben", "ü<", 2),
        Record("ann", None, 3),
        Record("x", "x", 4, b"{"),
    ]
    tail = received(records)
    assert [(entry["event"]["user"], entry["recommendation"]["recommendation_id"]) for entry in tail] == [
        ("ann", "0-1"), ("ben", "0-2"), ("ann", "0-3"),
    ]  # fmt: skip
    assert [entry["offset"] for entry in received(records, user="ann")] == [1, 3]
    assert [entry["offset"] for entry in received(records, item="ü<")] == [2]
    assert received(records, item="ann") == []
    assert received(records, user="an") == []
    subscription = Subscription("w", None, None)
    subscription.receive([Record("ann", "a", 1)], answered([]))
    assert lines(subscription)[0]["recommendation"] is None, "an impression, say"


def test_a_subscription_is_limited_and_a_slow_browser_loses_lines_and_nothing_else():
    assert len(received([Record("ann", "a", n) for n in range(1000)])) == BURST
    subscription = Subscription("w", None, None)
    for _ in range(500):
        subscription.put(b"{}")
    assert subscription.lines.qsize() == subscription.lines.maxsize


def test_the_events_of_a_second_are_json_and_no_subscription_is_left(worker: Worker):
    before = worker.serving.subscribers
    tail = get_json(worker, "/live?user=ann")
    assert tail == {"user": "ann", "item": None, "rate_per_s": 10.0, "events": []}
    assert worker.serving.subscribers == before
    page = Page(get(worker, "/live?user=<b>", BROWSER)[1])
    assert any(values.get("value") == "<b>" for _, values in page.elements)


def subscriptions(worker: Worker) -> list[Any]:
    """The subscriptions to the worker's step."""
    return [s for s in worker.serving.subscribers if isinstance(s.__self__, Subscription)]


def serve(worker: Worker, *records: Record) -> None:
    """Notify the subscribers of the step of records that are answered."""
    worker.serving._notify(records, answered(list(records)))


def test_a_stream_has_the_events_of_all_workers_and_ends_with_the_browser(tmp_path: Path):
    first, second = Worker(tmp_path / "1", "first"), Worker(tmp_path / "2", "second", 1)

    async def subscribed(count: int) -> None:
        await until(lambda: all(len(subscriptions(worker)) == count for worker in (first, second)))

    async def run() -> None:
        async with (
            TestServer(second.site) as other,
            TestServer(first.site) as server,
            aiohttp.ClientSession() as session,
        ):
            first.know(other.make_url(""))
            second.know(server.make_url(""))
            async with session.get(server.make_url("/live/stream?user=ann")) as response:
                assert response.headers["Content-Type"].startswith("text/event-stream")
                await subscribed(1)
                serve(first, Record("ann", "a", 1), Record("ben", "a", 2))
                serve(second, Record("ben", "b", 3), Record("ann", "b", 4))
                lines = []
                async with asyncio.timeout(20):
                    while len(lines) < 2:
                        line = await response.content.readline()
                        if line.startswith(b"data: "):
                            lines.append(msgspec.json.decode(line[6:]))
            assert {(line["worker"], line["offset"]) for line in lines} == {("first", 1), ("second", 4)}
            await subscribed(0)

    asyncio.run(run())


def test_a_worker_serves_a_limited_number_of_streams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(live_page, "MAX_VIEWERS", 0)
    status, text, headers = get(Worker(tmp_path / "data"), "/live/stream")
    assert status == 503
    assert "0 live streams are open" in text
    assert headers["Retry-After"] == "30"
