"""The catalog on a real broker: what is withdrawn is gone within a second, and what is new has a row."""

import random
import threading
import time
from collections.abc import Iterator

import pytest
from confluent_kafka import Producer

from streams.catalog_messages import CatalogItem, encode_item
from streams.event_messages import Event
from streams.kafka.client import producer_config
from streams.messages import DeadLetter, decode_recommendation, encode, now_ms
from tests.broker.cluster import Cluster, wait_for

pytestmark = pytest.mark.timeout(600)
"""The first test pays for the kernels, which three processes compile at once on a fresh clone."""

STARTED_S = 280
PATIENCE_MS = 10_000
"""How long a withdrawn item may be listed here, where other tests run; docs/results.md has it measured."""
LIST = 20


class CatalogProducer:
    """Publishes items and withdrawals, and keeps Kafka's time of the last record of each item, ms."""

    def __init__(self, cluster: Cluster) -> None:
        self._topic = cluster.settings.topic("catalog")
        self._producer = Producer(producer_config(cluster.settings, **{"linger.ms": 1}))
        self.times: dict[str, int] = {}

    def put(self, item: CatalogItem) -> None:
        """Publish an item."""
        self.produce(item.item.encode(), encode_item(item))

    def withdraw(self, item: str) -> None:
        """Publish that an item is withdrawn."""
        self.produce(item.encode(), None)

    def produce(self, key: bytes, value: bytes | None) -> None:
        """Publish any record."""
        self._producer.produce(self._topic, value, key, on_delivery=self._delivered)
        self._producer.poll(0)

    def flush(self) -> None:
        """Wait until Kafka has everything."""
        self._producer.flush()

    def _delivered(self, error, message) -> None:
        assert error is None
        self.times[message.key().decode()] = message.timestamp()[1]


def visits(per_s: int, items: list[str], stop: threading.Event) -> Iterator[Event]:
    """Views of now, until `stop` is set."""
    rng, start, number = random.Random(1), time.monotonic(), 0
    while not stop.is_set():
        if (wait := start + number / per_s - time.monotonic()) > 0:
            time.sleep(wait)
        user, item = f"u{rng.randrange(500)}", items[int(len(items) * rng.random() ** 3)]
        yield Event(event_id=f"e{number}", user=user, type="view", item=item, time=now_ms())
        number += 1


def violations(cluster: Cluster, gone: dict[str, int], within_ms: int) -> tuple[int, list[str]]:
    """Recommendations, and each item that was in one `within_ms` after it was `gone` (Kafka's time, ms)."""
    found, count = [], 0
    for message in cluster.read("recommendations"):
        written = message.timestamp()[1]
        listed = [entry.item for entry in decode_recommendation(message.value()).items]
        count += 1
        too_late = [item for item in listed if written - gone.get(item, written) > within_ms]
        found += [f"{item}: {written - gone[item]} ms" for item in too_late]
    return count, found


def withdraw_under_load(
    cluster: Cluster, items: int, withdrawn: int, per_s: int, seconds: float, within_ms: int
) -> tuple[int, int, list[str]]:
    """Withdraw items evenly while events come, one of two workers killed in between.

    Returns the events, the recommendations and the violations.
    """
    workers = [cluster.start("worker", name) for name in ("first", "second")]
    learner = cluster.start("learner")
    for process in (*workers, learner):
        wait_for(process.ready, "ready", STARTED_S)
    catalog, names = CatalogProducer(cluster), [f"i{n}" for n in range(items)]
    for name in names:
        catalog.put(CatalogItem(item=name, title=f"Item {name}"))
    catalog.flush()
    stop, sent = threading.Event(), [0]

    def visit() -> None:
        for event in visits(per_s, names, stop):
            cluster.produce(encode(event), event.user.encode())
            sent[0] += 1

    visitor = threading.Thread(target=visit)
    visitor.start()
    try:
        time.sleep(seconds / 4)
        order = random.Random(2).sample(names, withdrawn)
        began = time.monotonic()
        for n, name in enumerate(order):
            if (wait := began + seconds * n / withdrawn - time.monotonic()) > 0:
                time.sleep(wait)
            catalog.withdraw(name)
            if n == withdrawn // 3:
                workers[0].kill()
            if n == withdrawn // 2:
                workers[0] = cluster.start("worker", "first")
        catalog.flush()
        time.sleep(within_ms / 1000 + 2)  # lists after the last one
    finally:
        stop.set()
        visitor.join()
    cluster.flush()
    wait_for(lambda: cluster.lag() == 0, "all served")
    count, found = violations(cluster, {name: catalog.times[name] for name in order}, within_ms)
    return sent[0], count, found


def test_what_is_withdrawn_is_gone_though_a_worker_is_killed(kafka, tmp_path):
    with Cluster(kafka.brokers, tmp_path) as cluster:
        events, lists, found = withdraw_under_load(
            cluster, 300, 200, per_s=100, seconds=8, within_ms=PATIENCE_MS
        )
        assert lists >= events
        assert found == []
        last = [decode_recommendation(m.value()) for m in cluster.read("recommendations", latest=20)]
        assert {len(recommendation.items) for recommendation in last} == {LIST}, "others fill the list"


def test_an_item_of_the_catalog_has_a_row_before_its_first_event(kafka, tmp_path):
    with Cluster(kafka.brokers, tmp_path) as cluster:
        worker, learner = cluster.start("worker"), cluster.start("learner")
        for process in (worker, learner):
            wait_for(process.ready, "ready", STARTED_S)
        catalog = CatalogProducer(cluster)
        for item in (
            CatalogItem(item="new", title="A new one"),
            CatalogItem(item="sold out", available=False),
            CatalogItem(item="past", until=5),
            CatalogItem(item="to come", since=now_ms() + 3_600_000),
        ):
            catalog.put(item)
        catalog.produce(b"bad", b'{"item":"bad","price":-1}')
        catalog.flush()
        wait_for(lambda: cluster.model().items.row("new") >= 0, "a row")
        wait_for(lambda: fresh_list(cluster) == ["new"], "its list")

        (letter,) = [DeadLetter.from_headers(m.headers()) for m in cluster.read("dead-letter")]
        assert (letter.topic, letter.reason) == (cluster.settings.topic("catalog"), "out-of-range")

        worker.kill()
        catalog.put(CatalogItem(item="sold out", title="Back again"))
        catalog.withdraw("new")
        catalog.flush()
        worker = cluster.start("worker")
        wait_for(worker.ready, "ready", STARTED_S)
        assert fresh_list(cluster) == ["sold out"]


def fresh_list(cluster: Cluster) -> list[str]:
    """The list that a view gets now of an item that the shop does not have."""
    event = Event(event_id=f"e{time.monotonic_ns()}", user="ann", type="view", item="unlisted", time=now_ms())

    def listed() -> list[list[str]]:
        read = (decode_recommendation(message.value()) for message in cluster.read("recommendations"))
        return [[entry.item for entry in r.items] for r in read if r.event_id == event.event_id]

    cluster.publish([event])
    return wait_for(listed, "an answer")[0]
