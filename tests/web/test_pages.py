"""The pages: figures, HTML, negotiation, other workers, Prometheus.  Real apps and stores, no Kafka."""

import asyncio
import html
import json
import re
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from confluent_kafka import KafkaError, KafkaException
from faust.types import TP
from prometheus_client.parser import text_string_to_metric_families
from yarl import URL

from models.checkpoint import Checkpoint
from models.core import Example
from models.model import Model
from streams import topics
from streams.kafka import reading as tail
from streams.kafka.writer import BatchWriter
from streams.messages import REASONS, MetricsRow, Process, Recommendation, Recommended, encode
from streams.monitor import user_count as census
from streams.monitor.block_sums import BlockSums
from streams.monitor.heartbeats import ProcessStatus
from streams.monitor.history import SPANS, History, Point, Recorder, add_up
from streams.monitor.item_map import ItemMap
from streams.monitor.lag import Lag
from streams.monitor.plots import PlotCache
from streams.monitor.prometheus import exposition, serving_metrics
from streams.monitor.sample import LearnerSampler, ServingSampler
from streams.runtime.faust_app import make_app
from streams.runtime.live_settings import LiveSettings
from streams.runtime.serving import Serving
from streams.settings import Settings
from streams.step.serve import Counts
from streams.step.users import User, encode_user
from streams.web import figures, pages, peers
from streams.web import learner_page as learner_pages
from streams.web.negotiation import wants_html
from streams.web.peers import FORWARDED
from streams.web.rendering import address, render
from streams.web.site import HEADERS
from tests.models.arrays import example

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
HOUR = 3_600_000
NOW = 1_800_000_000_000
ODD = [
    "<script>alert(1)</script>", "'\"><img src=x onerror=alert(1)>", "😀" * 62, "a/b/c", "/", "a.json",
    ".json", "..", ".", "a b+c%2F?id=1&y#z;", "line\nbreak", "\u202egnp.exe", " ", "%", "%41", "ü/..//é",
    "x" * 256, "nul\x00",
]  # fmt: skip


class Loopback(ProcessStatus):
    """A board without Kafka: what is written is read at once."""

    def __init__(self, settings: Settings, kind: str) -> None:
        super().__init__(settings, kind)
        self._follower._caught_up.set()

    def _write(self, key: str, value: bytes | None) -> None:
        self._take(key.encode(), value, 0)


class Worker:
    """A serving worker without Kafka: its app, its store with four users, a model of twelve items."""

    def __init__(self, folder: Path, name: str = "w", partition: int = 0, **more: Any) -> None:
        self.settings = Settings(
            data_dir=folder, worker_id=name, partitions=4, max_items=200, list_length=5, **more
        )
        self.app = make_app(topics.SERVING_APP, self.settings, chunk_topics=("events",))
        raw = {"key_type": bytes, "value_type": bytes, "partitions": 4}
        self.table = self.app.Table("users", options=dict(topics.ROCKSDB), **raw)
        self.serving = Serving(self.app, self.table, self.settings)
        self.readings = ServingSampler(self.app, self.serving)
        self.board = Loopback(self.settings, "serving")
        self.changes, self.atlas = LiveSettings(self.serving), ItemMap(self.serving.model)
        pages.install(self.app, self.serving, self.board, self.readings, self.changes, self.atlas)
        self.site = self.app.web.web_app
        self.app.web.init_server()
        self.app.conf.tabledir.mkdir(parents=True)
        self.put("ann", partition)
        self.serving.replica._caught_up.set()
        self.app.tables.recovery.completed.set()

    def put(self, user_id: str, partition: int = 0, record: User | None = None) -> None:
        """Store a user who saw a, then b."""
        record = record or User(
            7, 2, ("a", "b"), ("view", "click"), (NOW - HOUR, NOW), None, NOW, 2, NOW, session_size=1
        )
        self.table.store(partition, {user_id.encode(): encode_user(record)}, 0)

    def say(self) -> None:
        """Have the worker say how it is, as it does every few seconds."""
        asyncio.run(self.board.say(self.readings.now))

    def learn(self) -> None:
        """The model learns sessions a ▶ b ▶ c …, twelve items round and round."""
        learner = Model(self.settings.generators, 200)
        seen = [chr(97 + n % 12) for n in range(122)]
        learner.learn(
            [
                Example("u", n, NOW + n, "click", seen[n + 2], history=(seen[n], seen[n + 1]), session_size=2)
                for n in range(120)
            ]
        )
        model = self.serving.model
        model.apply(model.prepare(learner.dump_touched().items()))
        self.serving.replica.current = Checkpoint(number=3, time=int(time.time() * 1000) - 500)


@pytest.fixture(autouse=True)
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is on the topic of recommendations; there is no Kafka here."""
    found: list[Any] = []
    monkeypatch.setattr(tail, "latest", lambda *args: found)
    return found


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Worker:
    """One that learnt, for tests that only ask."""
    made = Worker(tmp_path_factory.mktemp("worker") / "data")
    made.learn()
    return made


Ask = Callable[..., Awaitable[tuple[int, str, Any]]]


def browse(site: web.Application, visit: Callable[[Ask], Awaitable[Any]]) -> Any:
    """Serve the site and run `visit(ask)`; ask(path, accept, method, headers) ▶ status, text, headers."""

    async def run() -> Any:
        async with TestServer(_copy(site)) as server, aiohttp.ClientSession() as session:

            async def ask(
                path: str, accept: str = "*/*", method: str = "GET", data: Any = None, **headers: str
            ) -> Any:
                url = URL(str(server.make_url("")).rstrip("/") + path, encoded=True)
                given = {"Accept": accept, **headers}
                async with session.request(method, url, headers=given, data=data) as answer:
                    return answer.status, await answer.text(), answer.headers

            return await visit(ask)

    return asyncio.run(run())


def _copy(site: web.Application) -> web.Application:
    """The same pages for one more event loop: aiohttp binds an application to the first one."""
    copy = web.Application(middlewares=list(site.middlewares))
    for resource in site.router.resources():
        copy.router.register_resource(resource)
    copy.on_cleanup.extend(site.on_cleanup)
    return copy


def get(worker: Worker, path: str, accept: str = "*/*", **more: str) -> tuple[int, str, Any]:
    """One page."""
    return browse(worker.site, lambda ask: ask(path, accept, **more))


def get_json(worker: Worker, path: str, accept: str = "*/*") -> Any:
    """One page as JSON, checked: no NaN, no Infinity."""
    _, text, headers = get(worker, path, accept)
    assert headers["Content-Type"] == "application/json"
    return strict(text)


def strict(text: str) -> Any:
    """JSON; fails where Python would let NaN or Infinity pass."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} in JSON")

    return json.loads(text, parse_constant=refuse)


class Page(HTMLParser):
    """What a browser would make of a page: elements, attributes, text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


# Overview


def test_the_overview_has_every_figure_as_json(worker: Worker):
    worker.say()
    found = get_json(worker, "/")
    assert found["answered_by"] == {"worker": "w", "ready": True, "waiting_for": [], "partitions": [0]}
    assert found["age_ms"] == {"p50": None, "p90": None, "p99": None}
    assert found["model"]["checkpoint"] == 3
    assert found["model"]["items"] == 12
    assert found["model"]["torn"] == 0
    assert 500 <= found["model"]["age_ms"] < 60_000
    assert set(found["hits"]) == {"predictions", "recommended", "popularity"}
    assert set(found["counts"]) == {
        "accepted", "duplicates", "late", "replayed", "recommendations", "rebalances", "dead_letters", "users"
    }  # fmt: skip
    assert found["lag"] == {}
    assert found["learner"] is None
    assert found["memory_bytes"] > 2**20
    (process,) = found["processes"]
    assert (process["name"], process["state"], process["partitions"]) == ("w", "ready", [0])


def test_before_anybody_said_anything(tmp_path):
    worker = Worker(tmp_path / "data")
    assert get_json(worker, "/")["processes"] == []
    assert "Nobody has said how it is yet" in get(worker, "/", BROWSER)[1]
    assert all(plot["lines"] == [] for plot in get_json(worker, "/plots.json")["plots"])


def test_nothing_learnt_yet_is_null_and_shown(tmp_path):
    worker = Worker(tmp_path / "data")
    worker.say()
    assert get_json(worker, "/")["model"] == {"checkpoint": 0, "age_ms": None, "items": 0, "torn": 0}
    assert get(worker, "/", BROWSER)[0] == 200
    assert get_json(worker, "/users/ann")["now"]["items"] == []
    assert "knows no item yet" in get(worker, "/users/ann", BROWSER)[1]


def test_counts_and_ages_are_those_that_were_added(tmp_path):
    worker = Worker(tmp_path / "data")
    worker.say()
    counts = Counts(
        accepted=50, duplicates=3, late=2, replayed=1, recommendations=40, predictions=20, recommended_hits=9,
        popular_hits=4, dead_letters={"empty": 4},
    )  # fmt: skip
    worker.serving.metrics.add(counts, [3] * 30 + [700] * 9 + [99_999_999])
    worker.say()
    found = get_json(worker, "/")
    assert (found["events_per_s"], found["recommendations_per_s"]) == (6.0, 4.0)
    assert found["age_ms"] == {"p50": 3.0, "p90": 1000.0, "p99": 60_000.0}, (
        "older than any bucket: its last bound"
    )
    assert found["hits"] == {"predictions": 20, "recommended": 9, "popularity": 4}
    assert found["counts"] | {"users": 0} == {
        "accepted": 50, "duplicates": 3, "late": 2, "replayed": 1, "recommendations": 40, "dead_letters": 4,
        "rebalances": 0, "users": 0,
    }  # fmt: skip
    assert found["dead_letters"] == {"empty": 4}
    text = Page(get(worker, "/", BROWSER)[1]).text
    assert "45.0 %" in text
    assert "20.0 %" in text
    assert "over 1 min" in text
    assert "empty" in text
    plots = {plot["name"]: plot["lines"] for plot in get_json(worker, "/plots.json")["plots"]}
    assert [sum(v or 0 for v in line["values"]) for line in plots["dropped"]] == [3, 2, 1]
    assert [(line["label"], max(v or 0 for v in line["values"])) for line in plots["dead_letters"]] == [
        ("empty", 4)
    ]


@pytest.mark.parametrize("span", SPANS)
def test_every_range_can_be_asked_for(worker: Worker, span: str):
    worker.say()
    assert get_json(worker, f"/?range={span}")["range"] == span
    assert f'data-from="/plots.json?range={span}"' in get(worker, f"/?range={span}", BROWSER)[1]
    drawn = get_json(worker, f"/plots.json?range={span}")
    assert len(drawn["times"]) == SPANS[span].slots
    for plot in drawn["plots"]:
        assert all(len(line["values"]) == len(drawn["times"]) for line in plot["lines"])
    assert get(worker, "/?range=year")[0] == 400
    assert get(worker, "/plots.json?range=")[0] == 400


@pytest.mark.parametrize("phase_ms", [0, 700, 1900])
def test_a_steady_rate_is_plotted_as_it_is(phase_ms: int):
    history, recorder, begin = History(), Recorder("serving/a"), NOW // 10_000 * 10_000
    for n in range(30):
        now = begin + phase_ms + 2000 * n
        for key, row in recorder.add(now, {"accepted": 400 * n}, {}).items():
            history.add(key, row, now)
    drawn = PlotCache().draw(history.points("15min", now), "15min", now)
    rates = [rate for rate in drawn["plots"][0]["lines"][0]["values"] if rate is not None]
    assert rates[1:-1] == [200.0] * (len(rates) - 2)
    assert rates[-1] == pytest.approx(200, rel=0.35)


def test_blocks_have_the_sums_of_their_points_and_only_changed_ones_are_made_anew():
    step = SPANS["24h"].step_ms
    points = [Point(n * step, 300, {"accepted": n, f"only {n % 3}": 1.5}, {}) for n in range(5, 293)]
    blocks = BlockSums()
    first = blocks.of(points, "24h")
    assert len(first) == 19
    assert add_up(first) == add_up(points)
    points = [*points[1:-1], Point(292 * step, 300, {"accepted": 1}, {})]
    second = blocks.of(points, "24h")
    assert add_up(second) == add_up(points)
    assert [one is other for one, other in zip(first, second, strict=True)] == [False, *[True] * 17, False]
    assert blocks.of([], "24h") == []


def test_a_worker_that_fell_silent_is_said_to_be(worker: Worker):
    worker.say()
    about = Process(kind="serving", url="http://there", started=0, ready=True, partitions=[2])
    told = encode(MetricsRow(time=0, until=0, process=about))
    worker.board._write("serving/other/now", told)
    row, _ = worker.board._history._said["serving/other"]
    worker.board._history._said["serving/other"] = row, time.time() * 1000 - 9_000
    states = {p["name"]: p["state"] for p in strict(browse(worker.site, later("/")))["processes"]}
    assert states == {"w": "ready", "other": "silent"}
    assert "does not answer" in browse(worker.site, later("/", BROWSER))
    worker.board._write("serving/other/now", None)


def later(path: str, accept: str = "*/*") -> Callable[[Ask], Awaitable[str]]:
    """Ask when what was shared before is stale."""

    async def visit(ask: Ask) -> str:
        await asyncio.sleep(1.1)
        return (await ask(path, accept))[1]

    return visit


def test_the_overview_refreshes_until_it_is_paused(worker: Worker):
    page = Page(get(worker, "/", BROWSER)[1])
    assert ("meta", {"http-equiv": "refresh", "content": "5"}) in page.elements
    assert any(e.get("hx-trigger") == "every 5s" for _, e in page.elements)
    paused = Page(get(worker, "/?pause", BROWSER)[1])
    assert not any(e.get("http-equiv") == "refresh" or "hx-get" in e for _, e in paused.elements)
    assert ("form", {"action": "/users", "role": "search"}) in paused.elements


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:6066", 200), ("127.0.0.1", 200), ("[::1]:6066", 200), ("shop.example", 200),
        ("evil.example", 421), ("shop.example.evil", 421), ("localhost.evil", 421), ("", 421), ("@", 421),
    ],
)  # fmt: skip
def test_only_by_its_own_names(tmp_path, host: str, status: int):
    worker = Worker(tmp_path / "data", web_allowed_hosts={"Shop.Example"})
    for path in ("/", "/users/ann", "/metrics", "/static/freshet.css"):
        assert get(worker, path, Host=host)[0] == status


VENDORED = Path(pages.__file__).parent / "static/vendor", Path(__file__).parents[1] / "browser"


@pytest.mark.parametrize("folder", VENDORED, ids=lambda folder: folder.name)
def test_vendored_files_are_what_was_published(folder: Path):
    sums = dict(reversed(line.split()) for line in (folder / "SHA256SUMS").read_text().splitlines())
    ours = {"SHA256SUMS", *(f.name for f in folder.iterdir() if f.suffix in (".py", "") or f.is_dir())}
    found = {f.name: sha256(f.read_bytes()).hexdigest() for f in folder.iterdir() if f.name not in ours}
    assert found == sums


# Users


def test_a_users_page_has_history_and_slate_with_reasons(worker: Worker):
    record = User(
        7, 4, ("a", "b", "c"), ("view", "click", "view"), (NOW - 3 * HOUR, NOW - 1000, NOW), "s",
        NOW - 1000, 2, NOW, slate_id="0-7", slate=("d", "zzz"), session_size=2,
    )  # fmt: skip
    worker.put("bob", 0, record)
    found = get_json(worker, "/users/bob")
    assert (found["user"], found["worker"], found["answered_by"], found["partition"]) == ("bob", "w", "w", 0)
    assert (found["events"], found["sessions"], found["last"]) == (4, 2, NOW)
    assert found["session"] == {"id": "s", "start": NOW - 1000, "items": ["b", "c"]}
    assert [[e["item"] for e in s["events"]] for s in found["history"]] == [["c", "b"], ["a"]], "newest first"
    assert [s["current"] for s in found["history"]] == [True, False]
    assert found["sent"] == {"recommendation_id": "0-7", "items": ["d", "zzz"]}
    best = found["now"]["items"][0]
    assert (best["item"], best["sent_position"]) == ("d", 1), "d follows c in the model"
    assert best["score"] > 0
    assert "c" in best["reason"]
    assert len(found["now"]["items"]) == 5
    assert found["now"]["items"][1]["sent_position"] is None
    page = Page(get(worker, "/users/bob", BROWSER)[1])
    assert "0-7" in page.text
    assert best["reason"] in page.text
    assert ("a", {"class": "id", "href": "/items/d"}) in page.elements


def test_inactivity_divides_old_sessions_and_the_records_own_size_the_current_one():
    record = User(
        items=("a", "b", "c", "d", "e"), types=("view",) * 5,
        times=(0, 10, 10 + 31 * 60_000, 5 * HOUR, 5 * HOUR + 50 * 60_000), session_size=2,
    )  # fmt: skip
    assert [[e["item"] for e in s["events"]] for s in figures.history(record, 30 * 60_000)] == [
        ["e", "d"], ["c"], ["b", "a"],
    ]  # fmt: skip
    assert figures.history(User(), 1) == []


@pytest.mark.parametrize("odd", ODD, ids=ascii)
def test_any_id_can_be_asked_for_and_is_shown_as_text(worker: Worker, odd: str):
    worker.put(odd, 0, User(1, 1, (odd,), (odd[:64],), (NOW,), odd, NOW, 1, NOW, slate_id=odd, slate=(odd,)))
    quoted = quote(odd, safe="")
    for path in (f"/users/{quoted}.json", f"/users?id={quoted}", f"/users.json?id={quoted}"):
        assert get_json(worker, path)["user"] == odd
    status, text, headers = get(worker, f"/users?id={quoted}", BROWSER)
    assert status == 200
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    page = Page(text)
    assert not {tag for tag, _ in page.elements} & {"img", "style", "iframe"}
    assert all(e["src"].startswith("/static/") for tag, e in page.elements if tag == "script")
    assert not any(name.startswith("on") or name == "style" for _, found in page.elements for name in found)
    if "\0" not in odd:
        assert odd in page.text
    links = {found["href"] for tag, found in page.elements if tag == "a" and found.get("class") == "id"}
    assert address("items", odd) in links
    status, text, _ = get(worker, f"/items?id={quoted}", BROWSER)
    assert status == 404
    assert "<script>" not in text
    assert "<img" not in text


@pytest.mark.parametrize("odd", [odd for odd in ODD if odd not in (".", "..")], ids=ascii)
def test_the_address_of_an_id_leads_to_its_page(worker: Worker, odd: str):
    """Not for dots: a browser would cut them out of a path, hence `address` asks with a query."""
    worker.put(odd)
    assert address("users", odd).startswith("/users?id=" if odd.endswith(".json") else "/users/")
    assert get_json(worker, address("users", odd))["user"] == odd


def test_one_json_at_the_end_of_a_path_is_never_of_the_id(worker: Worker):
    worker.put("cat")
    worker.put("cat.json", 0, User(events=99))
    assert get_json(worker, "/users/cat.json", BROWSER)["user"] == "cat"
    assert get_json(worker, "/users/cat.json.json")["events"] == 99
    assert get(worker, "/users?id=cat.json", BROWSER)[1].count("cat.json") > 1


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/users/nobody", 404), ("/users?id=nobody", 404), ("/items/nobody", 404), ("/items?id=nobody", 404),
        ("/nothing", 404), ("/users/../metrics", 404), ("/users/%2e%2e%2fmetrics", 404), ("//users/ann", 404),
        ("/../../etc/passwd", 404), ("/static/../pages.py", 404), ("/static/%2e%2e/pages.py", 404),
        ("/static/..%2fpages.py", 404), ("/static//etc/passwd", 404), ("/static/", 403),
        ("/metrics.json", 404), ("/table/", 404), ("/table/users/", 404), ("/router/", 404),
        ("/router/users/", 404), ("/graph", 404), ("/stats", 404), ("/performance", 404), ("/users", 400),
        ("/users?id=", 400), ("/users/", 400), ("/users/.json", 400),
        ("/items", 400), ("/users/%FF", 400), ("/users?id=%FF", 400), ("/users/" + "x" * 257, 400),
        ("/users?id=" + "%F0%9F%98%80" * 65, 400), ("/items/" + "x" * 257, 400),
    ],
)  # fmt: skip
def test_what_is_not_there_says_so_to_people_and_to_programs(worker: Worker, path: str, status: int):
    found, text, headers = get(worker, path)
    assert found == status
    problem = strict(text)
    assert problem["status"] == status
    assert problem["error"]
    found, text, headers = get(worker, path, BROWSER)
    assert found == status
    if not path.endswith(".json"):
        assert headers["Content-Type"].startswith("text/html")
        assert html.escape(problem["error"]) in text


@pytest.mark.parametrize(
    "path", ["/", "/users/ann", "/items/a", "/metrics", "/health/live", "/static/freshet.css"]
)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_everything_is_read_only(worker: Worker, path: str, method: str):
    status, text, headers = get(worker, path, method=method)
    assert status == 405
    assert "GET" in headers["Allow"]
    assert strict(text)["status"] == 405


@pytest.mark.parametrize(
    "path",
    ["/", "/?pause", "/users/ann", "/items/a", "/metrics", "/health/live", "/health/ready", "/nothing",
     "/users/nobody", "/static/freshet.css", "/static/icon.svg", "/static/nothing"],
)  # fmt: skip
def test_every_answer_has_the_headers_that_keep_it_harmless(worker: Worker, path: str):
    for accept in ("*/*", BROWSER):
        headers = get(worker, path, accept)[2]
        for name, value in HEADERS.items():
            assert headers[name] == value
        assert headers["Vary"] == "Accept"


@pytest.mark.parametrize("path", ["/", "/?pause", "/users/ann", "/items/a", "/health/ready", "/nothing"])
def test_pages_hold_no_inline_script_no_style_and_nothing_from_elsewhere(worker: Worker, path: str):
    page = Page(get(worker, path, BROWSER)[1])
    assert page.elements[0][0] == "html"
    assert page.elements[0][1] == {"lang": "en"}
    for tag, attributes in page.elements:
        assert tag != "style"
        assert not any(a == "style" or a.startswith("on") for a in attributes)
        assert tag != "script" or attributes["src"].startswith("/static/")
        for name in ("href", "src", "action", "formaction"):
            where = attributes.get(name) or "/"
            other = tag == "a" and path in ("/", "/?pause")  # another process's pages
            assert where[0] in "/?#" or other
    assert sum(tag == "h1" for tag, _ in page.elements) == 1


def test_a_page_that_fails_says_so_and_logs_why(worker: Worker, monkeypatch, caplog):
    monkeypatch.setattr(figures, "health", lambda *args: 1 / 0)
    status, text, headers = get(worker, "/health/ready")
    assert status == 500
    assert "ZeroDivisionError" not in text
    assert "ZeroDivisionError" in caplog.text
    assert headers["Content-Security-ServingPolicy"]


# Negotiation


@pytest.mark.parametrize(
    ("accept", "html"),
    [
        (BROWSER, True), ("text/html", True), ("TEXT/HTML;level=1", True), ("", False), ("*/*", False),
        ("application/json", False), ("text/html;q=0", False), ("text/html;q=x", False), (";;,,", False),
        ("application/json, text/html", True), ("application/json, text/html;q=0.9", False),
        ("text/plain", False),
    ],
)  # fmt: skip
def test_html_is_for_those_who_ask_for_it(worker: Worker, accept: str, html: bool):
    assert wants_html(accept) is html
    assert get(worker, "/", accept)[2]["Content-Type"].startswith("text/html" if html else "application/json")


@pytest.mark.parametrize(
    "path", ["/.json", "/users/ann.json", "/items/a.json", "/health/live.json", "/users.json?id=ann"]
)
def test_json_at_the_end_asks_for_json(worker: Worker, path: str):
    assert isinstance(get_json(worker, path, BROWSER), dict)


DOCS = (Path(__file__).parents[2] / "docs/pages.md").read_text()


def test_every_page_is_documented(worker: Worker):
    paths = {resource.canonical for resource in worker.site.router.resources()} - {"/static"}
    for path in paths:
        assert f"`{path.removesuffix('.json').partition('{')[0] or '/'}" in DOCS, path


@pytest.mark.parametrize("path", ["/", "/quality", "/users/ann", "/items/a", "/map", "/live", "/settings"])
def test_every_field_of_a_page_is_documented(worker: Worker, path: str):
    heading = f"## .*`/{path.strip('/').partition('/')[0]}.*`"
    section = re.split("^## ", re.split(heading, DOCS)[1], flags=re.MULTILINE)[0]
    for name in get_json(worker, path):
        assert re.search(rf"`({name}\b|[^`]*[.]{name}\b)", section), name


def test_pages_link_to_their_figures_as_json(worker: Worker):
    for path in ("/", "/users/ann", "/users?id=ann", "/items/a", "/health/live"):
        hrefs = [e["href"] for tag, e in Page(get(worker, path, BROWSER)[1]).elements if tag == "a"]
        (twin,) = [href for href in hrefs if ".json" in href]
        assert get_json(worker, twin, BROWSER).keys() == get_json(worker, path).keys()


def test_head_is_get_without_the_body(worker: Worker):
    status, text, headers = get(worker, "/users/ann", method="HEAD")
    assert (status, text) == (200, "")
    assert headers["Content-Type"] == "application/json"


# Items


def test_an_items_page_has_its_neighbours_by_each_generator(worker: Worker):
    found = get_json(worker, "/items/c")
    assert (found["item"], found["row"], found["events"]) == ("c", worker.serving.model.items.row("c"), 10)
    assert found["popularity"] == pytest.approx(10, abs=0.01)
    assert NOW <= found["first_seen"] < found["last_seen"] < NOW + 120, "numbers of the examples"
    assert found["beside"] == {"lists": 0, "with_it": 0, "items": []}
    assert list(found["neighbours"]) == list(worker.settings.generators)
    assert found["neighbours"].pop("history") == [], "an item alone has no other in its history"
    for items in found["neighbours"].values():
        named = [one["item"] for one in items]
        assert named
        assert "c" not in named
        assert len(set(named)) == len(named)
        scores = [one["score"] for one in items]
        assert scores == sorted(scores, reverse=True)
    assert found["neighbours"]["next"][0]["item"] == "d"
    assert found["neighbours"]["previous"][0]["item"] == "b"
    text = Page(get(worker, "/items/c", BROWSER)[1]).text
    assert all(name in text for name in found["neighbours"])


def test_an_items_page_has_what_it_is_recommended_beside(tmp_path, sent: list[Any], monkeypatch):
    worker = Worker(tmp_path / "data")
    worker.learn()
    for items in ("cab", "cb", "ab"):
        listed = [Recommended(item=item, score=1.0, reason="") for item in items]
        made = Recommendation(
            recommendation_id="r", user="u", time=0, event_id="e", event_type="view", items=listed,
            checkpoint=1, age_ms=1, model_age_ms=None,
        )  # fmt: skip
        sent.append(SimpleNamespace(value=lambda made=made: encode(made)))
    sent.append(SimpleNamespace(value=lambda: None))
    found = get_json(worker, "/items/c")["beside"]
    assert found == {
        "lists": 3, "with_it": 2, "items": [{"item": "b", "lists": 2}, {"item": "a", "lists": 1}]
    }  # fmt: skip
    assert "2 of the latest 3 lists" in get(worker, "/items/c", BROWSER)[1]

    def fail(*args: Any) -> None:
        raise KafkaException(KafkaError(KafkaError._TRANSPORT))

    monkeypatch.setattr(tail, "latest", fail)
    worker = Worker(tmp_path / "other")
    worker.learn()
    assert get_json(worker, "/items/c")["beside"] is None
    assert "Recommended beside" not in get(worker, "/items/c", BROWSER)[1]


def test_a_model_without_popularity_says_nothing_of_it(tmp_path):
    worker = Worker(tmp_path / "data")
    worker.serving.model = model = Model(["next"], 10)
    model.learn([example(item, "a", offset=n, time=NOW) for n, item in enumerate("ab")])
    found = get_json(worker, "/items/a")
    assert found["events"] is None
    assert found["popularity"] is None
    assert [one["item"] for one in found["neighbours"]["next"]] == ["b"]
    assert get(worker, "/items/a", BROWSER)[0] == 200


# Health


def test_ready_says_what_it_waits_for(tmp_path):
    worker = Worker(tmp_path / "data")
    assert get(worker, "/health/ready")[0] == 200
    worker.app.rebalancing = True
    status, text, _ = get(worker, "/health/ready")
    assert status == 503
    assert strict(text)["waiting_for"] == ["partitions are moving between workers"]
    status, text, headers = get(worker, "/users/ann")
    assert status == 503 and headers["Retry-After"], "what it holds may be out of date"
    worker.app.rebalancing = False
    worker.app.tables.recovery.completed.clear()
    assert strict(get(worker, "/health/ready")[1])["waiting_for"] == ["the users table is being restored"]
    assert "restored" in get(worker, "/health/ready", BROWSER)[1]
    assert get(worker, "/health/live")[0] == 200


def test_an_item_is_unknown_only_once_the_model_is_there(tmp_path):
    worker = Worker(tmp_path / "data")
    worker.serving.replica._caught_up.clear()
    assert strict(get(worker, "/health/ready")[1])["waiting_for"] == ["the model is being read"]
    assert get(worker, "/items/a")[0] == 503
    worker.serving.replica._caught_up.set()
    assert get(worker, "/items/a")[0] == 404


def test_a_checkpoint_in_the_queue_makes_no_worker_unready(tmp_path):
    worker = Worker(tmp_path / "data")
    assert worker.serving.ready
    worker.serving.replica._queue.append((None, worker.serving.model.prepare([])))
    assert worker.serving.ready


# Other workers


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Worker, Worker]]:
    """Two workers: the first has ann, the second has ben."""
    first, second = Worker(tmp_path / "1", "first", 0), Worker(tmp_path / "2", "second", 1)
    second.table.data._db_for_partition(1).delete(b"ann")
    second.put("ben", 1)
    monkeypatch.setattr(peers, "TIMEOUT", aiohttp.ClientTimeout(total=30))
    yield first, second


def know(worker: Worker, *others: Any) -> None:
    """Tell a worker who else there is."""
    changelog = worker.table.changelog_topic_name
    own = str(worker.app.conf.canonical_url)
    worker.app.assignor.changelog_distribution = {own: {changelog: [0]}} | {
        str(other).rstrip("/"): {changelog: [n]} for n, other in enumerate(others, 1)
    }


def test_any_worker_answers_for_any_user(two: tuple[Worker, Worker]):
    first, second = two

    async def visit(ask: Ask) -> None:
        async with TestServer(second.site) as other:
            know(first, other.make_url(""))
            status, text, _ = await ask("/users/ben")
            found = strict(text)
            assert status == 200
            assert (found["user"], found["worker"], found["answered_by"]) == (
                "ben",
                "second",
                "first",
            )
            status, text, _ = await ask("/users/ben", BROWSER)
            assert status == 200
            assert "Worker first asked worker second" in Page(text).text
            assert (await ask("/users/ann"))[0] == 200
            assert (await ask("/users/nobody"))[0] == 404
            assert (await ask("/users/ben", **{FORWARDED: "1"}))[0] == 404, "asked by another: own users only"

    browse(first.site, visit)


@pytest.mark.parametrize("odd", ODD, ids=ascii)
def test_any_id_reaches_the_other_worker(two: tuple[Worker, Worker], odd: str):
    first, second = two
    second.put(odd, 1)

    async def visit(ask: Ask) -> None:
        async with TestServer(second.site) as other:
            know(first, other.make_url(""))
            status, text, _ = await ask(f"/users?id={quote(odd, safe='')}")
            assert status == 200
            assert strict(text)["user"] == odd
            assert strict(text)["worker"] == "second"

    browse(first.site, visit)


def test_two_workers_that_do_not_know_a_user_ask_each_other_once(two: tuple[Worker, Worker]):
    first, second = two
    asked = []

    @web.middleware
    async def count(request: web.Request, handler: Any) -> Any:
        asked.append(request.headers.get(FORWARDED))
        return await handler(request)

    async def visit(ask: Ask) -> None:
        async with TestServer(second.site) as other:
            know(first, other.make_url(""))
            know(second, "http://127.0.0.1:1")
            assert (await ask("/users/nobody"))[0] == 404

    second.site.middlewares.insert(0, count)
    browse(first.site, visit)
    assert asked == ["1"]


async def silence(request: web.Request) -> web.Response:
    """A worker that hangs."""
    await asyncio.sleep(300)
    return web.Response()


def test_the_first_to_know_a_user_answers(two: tuple[Worker, Worker]):
    first, second = two

    async def visit(ask: Ask) -> None:
        hangs = web.Application()
        hangs.router.add_get("/users", silence)
        async with TestServer(second.site) as other, TestServer(hangs, shutdown_timeout=0) as hanging:
            know(first, hanging.make_url(""), other.make_url(""), "http://127.0.0.1:1")
            status, text, _ = await asyncio.wait_for(ask("/users/ben"), 20)  # before TIMEOUT
            assert status == 200
            assert strict(text)["worker"] == "second"

    browse(first.site, visit)


def test_a_worker_that_does_not_answer_makes_a_503_not_a_404(two: tuple[Worker, Worker], monkeypatch):
    monkeypatch.setattr(peers, "TIMEOUT", aiohttp.ClientTimeout(total=0.5))
    first, second = two
    gone = "http://127.0.0.1:1"

    async def visit(ask: Ask) -> None:
        hangs = web.Application()
        hangs.router.add_get("/users", silence)
        async with TestServer(second.site) as other, TestServer(hangs, shutdown_timeout=0) as hanging:
            know(first, other.make_url(""), gone, hanging.make_url(""))
            status, text, headers = await ask("/users/nobody")
            detail = strict(text)["detail"]
            assert status == 503
            assert headers["Retry-After"] == "2"
            assert f"{gone} (no connection)" in detail
            assert "(no answer)" in detail
            assert "10 s" in detail
            status, text, _ = await ask("/users/nobody", BROWSER)
            assert status == 503
            assert gone in text
            second.app.rebalancing = True
            know(first, other.make_url(""))
            assert (await ask("/users/ben"))[0] == 503, "restoring: it cannot know"

    browse(first.site, visit)


# Lag and users


class Ends:
    """Stands for Faust's consumer and its thread: assigned partitions, their starts and ends in Kafka."""

    def __init__(
        self, ends: dict[int, int], starts: dict[int, int], committed: dict[int, int | None]
    ) -> None:
        self.tps = {p: TP("events", p) for p in ends}
        self.ends, self.starts, self.asked = ends, starts, 0
        self._committed_offset = {self.tps[p]: offset for p, offset in committed.items()}
        self._thread, self.delay_s = self, 0.0

    def assignment(self) -> set[TP]:
        return {*self.tps.values(), TP("freshet-serving-users-changelog", 0)}

    def _ensure_consumer(self) -> "Ends":
        return self

    async def end_offsets(self, tps: Any) -> dict[TP, int]:
        self.asked += 1
        await asyncio.sleep(self.delay_s)
        return {tp: self.ends[tp.partition] for tp in tps}

    async def beginning_offsets(self, tps: Any) -> dict[TP, int]:
        return {tp: self.starts[tp.partition] for tp in tps}


def test_lag_is_what_kafka_has_and_the_worker_has_not_served(tmp_path, monkeypatch):
    monkeypatch.setattr("streams.monitor.lag.FRESH_S", 0.0)
    monkeypatch.setattr("streams.monitor.lag.PATIENCE_S", 30)
    worker = Worker(tmp_path / "data")
    consumer = Ends({0: 10, 1: 10, 2: 10, 3: 7}, {0: 0, 1: 0, 2: 0, 3: 7}, {0: 10, 1: 4, 2: 4, 3: None})
    worker.app.consumer = consumer
    worker.serving.positions = {2: 9}

    async def run() -> None:
        consumer.thread_loop = asyncio.get_running_loop()
        lag = Lag(worker.serving)
        assert await lag.now() == {0: 0, 1: 6, 2: 1, 3: 0}, (
            "committed, or served since; 3 is empty, never committed"
        )
        worker.serving.positions = dict(consumer.ends)
        assert await lag.now() == {0: 0, 1: 0, 2: 0, 3: 0}
        consumer.ends[1] = 1_000
        assert await lag.now() == {0: 0, 1: 990, 2: 0, 3: 0}, "also when nothing is fetched any more"
        del consumer.tps[0], consumer.ends[0]
        assert await lag.now() == {1: 990, 2: 0, 3: 0}

    asyncio.run(run())


def test_a_broker_that_does_not_answer_holds_no_page_up(tmp_path, monkeypatch):
    monkeypatch.setattr("streams.monitor.lag.PATIENCE_S", 20)
    worker = Worker(tmp_path / "data")
    worker.app.consumer = consumer = Ends({0: 5}, {0: 0}, {0: 5})

    async def run() -> None:
        consumer.thread_loop = asyncio.get_running_loop()
        lag = Lag(worker.serving)
        assert await lag.now() == {0: 0}
        monkeypatch.setattr("streams.monitor.lag.PATIENCE_S", 0.05)
        lag._asked, consumer.delay_s = -10.0, 300
        pages = asyncio.gather(*(lag.now() for _ in range(20)))
        assert await asyncio.wait_for(pages, 20) == [{0: 0}] * 20
        assert consumer.asked == 2, "twenty pages ask once"

    asyncio.run(run())


async def settled(counted: census.UserCount) -> int | None:
    """The users, once they are counted."""
    for _ in range(1000):
        if counted.users() is not None:
            break
        await asyncio.sleep(0.005)
    return counted.users()


def test_users_are_counted_not_estimated(tmp_path, monkeypatch):
    monkeypatch.setattr(census, "SLICE", 7)
    worker = Worker(tmp_path / "data")
    for _ in range(30):  # RocksDB's estimate counts every write
        for n in range(40):
            worker.put(f"u{n}")
    worker.serving._writer._pending[0] = {b"u1": b"known", b"new": b"not stored yet"}
    worker.serving.new_users[0] = 5

    async def run() -> None:
        counted = census.UserCount(worker.serving)
        assert counted.users() is None
        assert await settled(counted) == 42, "ann, u0 to u39, and the one not stored yet"
        worker.serving.new_users[0] += 3
        assert counted.users() == 45
        worker.put("from another worker")
        await worker.app.on_partitions_revoked.send(set())
        assert await settled(counted) == 42, "and what was not stored is another worker's to serve again"
        worker.put("restored after a count that began too early")
        await worker.app.on_rebalance_complete.send()
        assert await settled(counted) == 43
        worker.app.rebalancing = True
        assert counted.users() is None

    asyncio.run(run())


def test_what_waits_for_its_turn_to_be_written_is_read_and_counted(tmp_path):
    worker = Worker(tmp_path / "data")

    async def run() -> None:
        writer = BatchWriter(worker.app, worker.serving.table, depth=0)  # its turn never comes
        writing = asyncio.create_task(writer.write(None, None, {0: {b"waits": b"value"}}, {}, {}))
        await asyncio.sleep(0)
        assert (writer.get(0, b"waits"), writer.unsaved(0)) == (b"value", [b"waits"])
        writing.cancel()

    asyncio.run(run())


# Prometheus


def samples(text: str) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """name ▶ labels ▶ value"""
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation
        assert family.type != "untyped"
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def test_prometheus_reads_the_same_figures(tmp_path):
    worker = Worker(tmp_path / "data")
    worker.learn()
    worker.serving.metrics.add(
        Counts(accepted=5, duplicates=2, late=1, replayed=3, recommendations=4, predictions=3,
               recommended_hits=2, popular_hits=1, dead_letters={"empty": 6}),
        [1, 3, 700, 99_999_999],
    )  # fmt: skip
    status, text, headers = get(worker, "/metrics", "text/plain")
    assert status == 200
    assert headers["Content-Type"].startswith("text/plain")
    found = samples(text)
    assert found["freshet_events_total"] == {
        (("outcome", "accepted"),): 5, (("outcome", "duplicate"),): 2, (("outcome", "late"),): 1,
        (("outcome", "replayed"),): 3,
    }  # fmt: skip
    assert found["freshet_recommendations_total"] == {(): 4}
    assert found["freshet_predictions_total"] == {(): 3}
    assert found["freshet_hits_total"] == {(("by", "recommended"),): 2, (("by", "popularity"),): 1}
    assert found["freshet_dead_letters_total"] == {(("reason", r),): 6.0 * (r == "empty") for r in REASONS}
    ages = found["freshet_event_age_seconds_bucket"]
    assert ages[(("le", "0.003"),)] == 2
    assert ages[(("le", "60.0"),)] == 3
    assert ages[(("le", "+Inf"),)] == 4
    assert found["freshet_event_age_seconds_count"] == {(): 4}
    assert found["freshet_event_age_seconds_sum"][()] == pytest.approx(100_000.703)
    assert found["freshet_model_checkpoint"] == {(): 3}
    assert found["freshet_model_items"] == {(): 12}
    assert 0.5 <= found["freshet_model_age_seconds"][()] < 60
    assert found["freshet_ready"] == {(): 1}
    assert "process_resident_memory_bytes" in found
    labels = {name for by in found.values() for key in by for name, _ in key}
    assert labels <= {"outcome", "by", "reason", "le", "partition"}, "no series by user or item"


def test_what_is_not_known_has_no_sample(tmp_path):
    worker = Worker(tmp_path / "data")
    read = asyncio.run(worker.readings.now())
    gauges = {name: value for name, value in read.gauges.items() if name != "users"} | {"lag:3": 8}
    read = replace(read, gauges=gauges)
    found = samples(exposition(serving_metrics(read), "")[0].decode())
    assert "freshet_users" not in found
    assert "freshet_model_age_seconds" not in found
    assert found["freshet_lag_events"] == {(("partition", "3"),): 8}
    openmetrics, content_type = exposition(serving_metrics(read), "application/openmetrics-text")
    assert content_type.startswith("application/openmetrics-text")
    assert openmetrics.endswith(b"# EOF\n")


# Learner


class Learning:
    """A learner as the pages see it."""

    def __init__(
        self, active: bool, checkpoint: Checkpoint | None = None, waiting_for: tuple[str, ...] = ()
    ) -> None:
        self.active, self.checkpoint, self.began = active, checkpoint or Checkpoint(), Checkpoint()
        self.waiting_for = list(waiting_for)
        self.lag, self.items, self.quality = 4, 12, None
        self.half_lives_ms = {"trending": 7_200_000.0}


def learner(folder: Path, learning: Learning) -> web.Application:
    """The site of a learner."""
    settings = Settings(data_dir=folder)
    app = make_app(topics.LEARNING_APP, settings)
    learner_pages.install(app, learning, LearnerSampler(app, learning, settings), settings)
    app.web.init_server()
    return app.web.web_app


def test_the_pages_of_a_learner_that_learns(tmp_path):
    checkpoint = Checkpoint(
        number=9, time=int(time.time() * 1000) - 100, rows=30, examples=200, repeated=5, unusable=1
    )
    site = learner(tmp_path, Learning(True, checkpoint))

    async def visit(ask: Ask) -> None:
        found = strict((await ask("/"))[1])
        assert 100 <= found.pop("publish_age_ms") < 60_000
        assert found == {
            "state": "active", "checkpoint": 9, "examples": 200, "repeated": 5, "unusable": 1, "lag": 4,
            "items": 12, "rows": 30, "half_lives_ms": {"trending": 7_200_000.0},
        }  # fmt: skip
        status, text, headers = await ask("/", BROWSER)
        assert status == 200
        assert "learns" in text
        assert headers["Content-Security-ServingPolicy"]
        assert "trending 2 h" in Page(text).text
        assert (await ask("/.json", BROWSER))[2]["Content-Type"] == "application/json"
        for path in ("/health/live", "/health/ready"):
            assert (await ask(path))[0] == 200
        found = samples((await ask("/metrics"))[1])
        assert found["freshet_learner_active"] == {(): 1}
        assert found["freshet_examples_total"] == {(): 200}
        assert found["freshet_examples_repeated_total"] == {(): 5}
        assert found["freshet_learner_lag_examples"] == {(): 4}
        assert found["freshet_model_checkpoint"] == {(): 9}
        assert found["freshet_model_items"] == {(): 12}
        for path in ("/users/ann", "/router/", "/table/", "/nothing"):
            assert (await ask(path))[0] == 404
        assert (await ask("/", method="POST"))[0] == 405

    browse(site, visit)


def test_the_pages_of_a_learner_that_stands_by(tmp_path):
    site = learner(tmp_path, Learning(False))

    async def visit(ask: Ask) -> None:
        found = strict((await ask("/"))[1])
        assert found.pop("state") == "standby"
        assert set(found.values()) == {None}
        assert "takes over" in (await ask("/", BROWSER))[1]
        ready = {"ready": True, "state": "standby", "waiting_for": []}
        assert strict((await ask("/health/ready"))[1]) == ready
        found = samples((await ask("/metrics"))[1])
        assert found["freshet_learner_active"] == {(): 0}
        assert "freshet_examples_total" not in found

    browse(site, visit)


def test_a_learner_that_still_reads_the_model_is_not_ready(tmp_path):
    learning = Learning(False, waiting_for=("the published model is being read",))
    site = learner(tmp_path, learning)

    async def visit(ask: Ask) -> None:
        status, text, _ = await ask("/health/ready")
        assert status == 503
        assert strict(text) == {
            "ready": False,
            "state": "starting",
            "waiting_for": ["the published model is being read"],
        }
        assert "is being read" in (await ask("/health/ready", BROWSER))[1]
        found = strict((await ask("/"))[1])
        assert found.pop("state") == "starting"
        assert set(found.values()) == {None}
        assert (await ask("/health/live"))[0] == 200
        learning.active, learning.waiting_for = True, []
        assert (await ask("/health/ready"))[0] == 200

    browse(site, visit)


def test_a_learner_that_published_nothing_yet(tmp_path):
    site = learner(tmp_path, Learning(True))

    async def visit(ask: Ask) -> None:
        assert strict((await ask("/"))[1])["publish_age_ms"] is None
        assert (await ask("/", BROWSER))[0] == 200

    browse(site, visit)


# Rendering


def test_everything_in_a_template_is_escaped():
    data = {"status": 404, "error": "<b>", "detail": "'\"&<i>"}
    text = render(
        "problem", data, site="<u>", menu={"/<s>": "<s>"}, path="/", refresh_s=0, paused=False, json="/x?a=<&"
    )
    assert not {tag for tag, _ in Page(text).elements} & {"b", "i", "u", "s"}
    assert "<b>" in Page(text).text
    assert "'\"&<i>" in Page(text).text
