"""The live page: what a viewer receives, and its limits."""

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp.test_utils import TestServer

from streams import event_messages, messages
from streams.event_messages import Event
from streams.messages import encode
from streams.step.serve import serve
from streams.step.writes import Writes
from streams.web.viewers import BURST, MAX_VIEWERS, Viewer, Viewers
from tests.waiting import until
from tests.web.worker import BROWSER, Ask, Page, Worker, browse, get, get_json


@pytest.fixture
def constant(tmp_path: Path) -> Worker:
    """A worker whose lists need no model."""
    return Worker(tmp_path / "constant", recommender="constant")


class Chunk:
    """A record of partition 0, as a record, as the chunk that it is in, and as the event of the stream."""

    def __init__(self, user: str, item: str | None, offset: int, value: bytes | None = None) -> None:
        kind = "view" if item else "request"
        event = Event(event_id=str(offset), user=user, type=kind, item=item, time=5)
        self.key, self.value = user.encode(), encode(event) if value is None else value
        self.partition, self.offset, self.timestamp, self.headers = 0, offset, 0, ()
        self.message, self.chunk, self.ends = self, [self], {}


def served(worker: Worker, *chunks: Chunk) -> Writes:
    """What the worker's step writes for these records."""
    serving = worker.serving
    return serve(list(chunks), "events", lambda *_: None, serving.recommender, serving.policy, lambda: 9)


def lines(viewer: Viewer) -> list[Any]:
    received = []
    while not viewer.lines.empty():
        received.append(msgspec.json.decode(viewer.lines.get_nowait()))
    return received


def test_a_viewer_receives_events_with_what_they_caused(constant: Worker):
    viewers = Viewers(constant.serving)
    filters = {
        "all": (None, None), "ann": ("ann", None), "ü<": (None, "ü<"), "ann's a": ("ann", "a"),
        "user as item": (None, "ann"), "prefix": ("an", None),
    }  # fmt: skip
    by_name = {name: viewers.add(*values) for name, values in filters.items()}
    writes = served(
        constant, Chunk("ann", "a", 1), Chunk("ben", "ü<", 2), Chunk("ann", None, 3), Chunk("x", "x", 4, b"{")
    )
    viewers.receive([], writes)
    received = {name: lines(viewer) for name, viewer in by_name.items()}
    assert [(e["event"]["user"], e["recommendation"]["recommendation_id"]) for e in received["all"]] == [
        ("ann", "0-1"), ("ben", "0-2"), ("ann", "0-3"),
    ]  # fmt: skip
    offsets = {name: [entry["offset"] for entry in entries] for name, entries in received.items()}
    assert offsets == {
        "all": [1, 2, 3], "ann": [1, 3], "ü<": [2], "ann's a": [1], "user as item": [], "prefix": [],
    }  # fmt: skip


def test_an_event_that_caused_no_list_is_shown_without_one(constant: Worker):
    viewers = Viewers(constant.serving)
    viewer = viewers.add(None, None)
    twice = Chunk("ann", "a", 2)
    twice.value = Chunk("ann", "a", 1).value
    viewers.receive([], served(constant, Chunk("ann", "a", 1), twice))
    assert {e["offset"]: e["recommendation"] is None for e in lines(viewer)} == {1: False, 2: True}


def test_a_viewer_decodes_nothing_again(constant: Worker, monkeypatch: pytest.MonkeyPatch):
    """Records without content, and no decoder: what `serve` decoded is enough."""
    viewers = Viewers(constant.serving)
    viewer = viewers.add(None, "a")
    writes = served(constant, *(Chunk("ann", "ab"[n % 2], n) for n in range(10)))

    def fail(*args: Any) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr(messages, "decode_recommendation", fail)
    for name in ("decode_event", "_decode_event"):
        monkeypatch.setattr(event_messages, name, fail)
    viewers.receive([], writes._replace(outputs={}))
    assert [entry["offset"] for entry in lines(viewer)] == [0, 2, 4, 6, 8]


def test_a_viewer_is_limited_and_a_slow_browser_loses_lines_and_nothing_else(constant: Worker):
    viewers = Viewers(constant.serving)
    of_all, of_item = viewers.add(None, None), viewers.add(None, "a")
    viewers.receive([], served(constant, *(Chunk("ann", "a", n) for n in range(100))))
    assert len(lines(of_all)) == len(lines(of_item)) == BURST
    for _ in range(500):
        of_all.put(b"{}")
    assert of_all.lines.qsize() == of_all.lines.maxsize


def test_events_that_nobody_requested_are_budgeted_too(constant: Worker, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("streams.web.viewers.LOOKED_THROUGH", 50)
    viewers = Viewers(constant.serving)
    viewer = viewers.add(None, "rare")
    items = ["rare" if n in (10, 90) else "often" for n in range(100)]
    viewers.receive([], served(constant, *(Chunk("ann", item, n) for n, item in enumerate(items))))
    assert [entry["offset"] for entry in lines(viewer)] == [10]


def test_without_viewers_the_step_has_no_further_subscriber(constant: Worker):
    before, viewers = constant.serving.subscribers, Viewers(constant.serving)
    first, second = viewers.add(None, None), viewers.add("ann", None)
    assert len(constant.serving.subscribers) == len(before) + 1, "one for all viewers"
    viewers.remove(first)
    assert len(constant.serving.subscribers) == len(before) + 1
    viewers.remove(second)
    assert constant.serving.subscribers == before


def test_the_events_of_a_second_are_json_and_no_subscription_is_left(worker: Worker):
    before = worker.serving.subscribers
    tail = get_json(worker, "/live?user=ann")
    assert tail == {"user": "ann", "item": None, "rate_per_s": 10.0, "events": []}
    assert worker.serving.subscribers == before
    page = Page(get(worker, "/live?user=<b>", BROWSER)[1])
    assert any(values.get("value") == "<b>" for _, values in page.elements)


def subscriptions(worker: Worker) -> int:
    """Subscriptions of viewers to the worker's step."""
    return sum(isinstance(getattr(s, "__self__", None), Viewers) for s in worker.serving.subscribers)


def test_a_stream_has_the_events_of_all_workers_and_ends_with_the_browser(tmp_path: Path):
    first, second = Worker(tmp_path / "1", "first"), Worker(tmp_path / "2", "second", 1)

    async def subscribed(count: int) -> None:
        await until(lambda: all(subscriptions(worker) == count for worker in (first, second)))

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
                for worker, *records in (
                    (first, Chunk("ann", "a", 1), Chunk("ben", "a", 2)),
                    (second, Chunk("ben", "b", 3), Chunk("ann", "b", 4)),
                ):
                    worker.notify(served(worker, *records))
                lines = []
                async with asyncio.timeout(20):
                    while len(lines) < 2:
                        line = await response.content.readline()
                        if line.startswith(b"data: "):
                            lines.append(msgspec.json.decode(line[6:]))
            assert {(line["worker"], line["offset"]) for line in lines} == {("first", 1), ("second", 4)}
            await subscribed(0)

    asyncio.run(run())


@pytest.mark.parametrize("path", ["/live/stream", "/live.json", "/live"])
def test_a_worker_has_a_limited_number_of_viewers(worker: Worker, path: str):
    """Streams and programs that collect a second count alike, and each makes room when it is gone."""

    async def visit(ask: Ask) -> None:
        watching = [asyncio.create_task(ask("/live.json?user=ann")) for _ in range(MAX_VIEWERS)]
        await until(lambda: subscriptions(worker) == 1)
        status, text, headers = await ask(path)
        assert status == 503
        assert f"{MAX_VIEWERS} viewers" in text
        assert headers["Retry-After"] == "30"
        assert (await ask("/live", BROWSER))[0] == 200, "the frame alone"
        assert {status for status, _, _ in await asyncio.gather(*watching)} == {200}
        assert (await ask("/live.json"))[0] == 200

    browse(worker.site, visit)
