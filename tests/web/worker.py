"""A serving worker without Kafka, and what the tests of its pages ask it.  Real apps, stores and models."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer
from prometheus_client.parser import text_string_to_metric_families
from yarl import URL

from models.catalog import encode as encode_columns
from models.checkpoint import Checkpoint
from models.core import Example
from models.model import Model
from streams import topics
from streams.catalog_messages import CatalogItem, encode_item
from streams.kafka.catalog_store import CatalogStore
from streams.messages import SettingChange, decode_change, encode
from streams.monitor.heartbeats import ProcessStatus
from streams.monitor.item_map import ItemMap
from streams.monitor.sample import ServingSampler
from streams.runtime.faust_app import make_app
from streams.runtime.live_settings import LiveSettings
from streams.runtime.serving import Serving
from streams.settings import Settings
from streams.step.users import User, encode_user
from streams.step.writes import Counts, Outputs, Writes
from streams.web.routes import attach_serving_pages
from tests.models.arrays import put

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
HOUR = 3_600_000
NOW = 1_800_000_000_000
TOKEN = "sesame, open"
ODD = [
    "<script>alert(1)</script>", "'\"><img src=x onerror=alert(1)>", "😀" * 62, "a/b/c", "/", "a.json",
    ".json", "..", ".", "a b+c%2F?id=1&y#z;", "line\nbreak", "\u202egnp.exe", " ", "%", "%41", "ü/..//é",
    "x" * 256, "nul\x00", "\x1b[2J\x9b31mred",
]  # fmt: skip
"""Ids that a careless page would mistake for something else."""


class LoopbackStatus(ProcessStatus):
    """Process status without Kafka: what is written is read at once."""

    def __init__(self, settings: Settings, kind: str) -> None:
        super().__init__(settings, kind)
        self._follower._caught_up.set()

    def _write(self, key: str, value: bytes | None) -> None:
        self._receive(key.encode(), value, 0, 0)


class LoopbackSettings(LiveSettings):
    """Live settings without Kafka: what is published is read and applied at once, and kept."""

    def __init__(self, configured: Settings, apply: Any) -> None:
        super().__init__(configured, apply)
        self.published: list[SettingChange] = []

    async def publish(self, change: SettingChange) -> bool:
        self.published.append(change)
        await self._apply_record(change.setting, decode_change(encode(change)))
        return True


class Worker:
    """A serving worker without Kafka: its app, its store with the user ann, a model without items."""

    def __init__(self, folder: Path, name: str = "w", partition: int = 0, **settings: Any) -> None:
        self.settings = Settings(
            data_dir=folder, worker_id=name, partitions=4, max_items=200, list_length=5, **settings
        )
        self.app = make_app(topics.SERVING_APP, self.settings, chunk_topics=("events",))
        raw = {"key_type": bytes, "value_type": bytes, "partitions": 4}
        self.table = self.app.Table("users", options=dict(topics.ROCKSDB), **raw)
        self.serving = Serving(self.app, self.table, self.settings)
        self.sampler = ServingSampler(self.app, self.serving)
        self.status = LoopbackStatus(self.settings, "serving")
        self.live_settings = LoopbackSettings(self.settings, self.serving.use)
        self.item_map = ItemMap(self.serving.model)
        attach_serving_pages(
            self.app, self.serving, self.status, self.sampler, self.live_settings, self.item_map
        )
        self.site = self.app.web.web_app
        self.app.web.init_server()
        self.app.conf.tabledir.mkdir(parents=True)
        self.put("ann", partition)
        self.serving.replica._caught_up.set()
        self.serving.catalog._follower._caught_up.set()
        self.app.tables.recovery.completed.set()

    def put(self, user_id: str, partition: int = 0, record: User | None = None) -> None:
        """Store a user who saw a, then clicked b."""
        record = record or User(
            7, 2, ("a", "b"), ("view", "click"), (NOW - HOUR, NOW), None, NOW, 2, NOW, session_size=1
        )
        self.table.store(partition, {user_id.encode(): encode_user(record)}, 0)

    def send_heartbeat(self) -> None:
        """Send a heartbeat, as the worker does every few seconds."""
        asyncio.run(self.status.send(self.sampler.take))

    def know(self, *others: Any) -> None:
        """Tell the worker the URLs of the other workers."""
        changelog = self.table.changelog_topic_name
        own = str(self.app.conf.canonical_url)
        self.app.assignor.changelog_distribution = {own: {changelog: [0]}} | {
            str(other).rstrip("/"): {changelog: [n]} for n, other in enumerate(others, 1)
        }

    def notify(self, writes: Writes) -> None:
        """Notify the subscribers of the step, as if it had served."""
        self.serving._notify([], writes)

    def learn(self) -> None:
        """Have the model learn sessions a -> b -> c ..., twelve items round and round."""
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

    def list_items(self, *items: CatalogItem) -> CatalogStore:
        """Have the worker know these items of the catalog, as if it had read the topic; to be closed."""
        catalog, model = self.serving.catalog, self.serving.model
        store = CatalogStore(self.settings.data_dir / "catalog", "", 9)
        store.write({i.item.encode(): (encode_columns(i.entry()), encode_item(i)) for i in items}, 5)
        catalog._store, catalog.in_use, catalog.size = store, True, len(items)
        model.catalog.begin()
        for item in items:
            if (row := model.items.row(item.item)) >= 0:
                put(model.catalog, row, item.entry())
        return store


def writes(
    counts: Counts | None = None,
    ages_ms: Sequence[int] = (),
    new_users: dict[int, int] | None = None,
    outputs: Outputs | None = None,
) -> Writes:
    """What a step writes, as far as a test wants it."""
    return Writes({}, outputs or {}, new_users or {}, counts or Counts(), list(ages_ms))


Ask = Callable[..., Awaitable[tuple[int, str, Any]]]
"""ask(path, accept, method, data, **headers) -> status, text, headers."""


def browse(site: web.Application, visit: Callable[[Ask], Awaitable[Any]]) -> Any:
    """Serve the site and run `visit(ask)`."""

    async def run() -> Any:
        async with TestServer(_copy(site)) as server, aiohttp.ClientSession() as session:

            async def ask(
                path: str, accept: str = "*/*", method: str = "GET", data: Any = None, **headers: str
            ) -> Any:
                url = URL(str(server.make_url("")).rstrip("/") + path, encoded=True)
                headers = {"Accept": accept, **headers}
                async with session.request(method, url, headers=headers, data=data) as response:
                    return response.status, await response.text(), response.headers

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
    """Status, text and headers of one page."""
    return browse(worker.site, lambda ask: ask(path, accept, **more))


def get_json(worker: Worker, path: str, accept: str = "*/*") -> Any:
    """One page as JSON, checked: no NaN, no Infinity."""
    _, text, headers = get(worker, path, accept)
    assert headers["Content-Type"] == "application/json"
    return strict(text)


def post(worker: Worker, path: str, body: Any, token: str | None = TOKEN, accept: str = "*/*") -> Any:
    """Status and JSON (or text) of a POST; a dict goes as JSON, text as a form."""
    as_json = isinstance(body, dict)
    headers = {"Content-Type": "application/json" if as_json else "application/x-www-form-urlencoded"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    data = json.dumps(body) if as_json else body

    async def visit(ask: Ask) -> Any:
        status, text, answered = await ask(path, accept, "POST", data=data, **headers)
        return status, strict(text) if "json" in answered["Content-Type"] else text

    return browse(worker.site, visit)


def samples(text: str) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Value by name and labels, of an exposition for Prometheus."""
    values: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation
        assert family.type != "untyped"
        for sample in family.samples:
            values.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return values


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
