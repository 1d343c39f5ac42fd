"""Placements, aliases and hidden items on a real broker with two workers, of which one is killed."""

import random
from collections import defaultdict

import pytest

from streams.catalog_messages import CatalogItem
from streams.event_messages import Event, Where
from streams.messages import decode_example, decode_recommendation, now_ms
from streams.step.serve import recommendation_key
from tests.broker.cluster import Cluster, wait_for
from tests.broker.test_catalog import STARTED_S, CatalogProducer

pytestmark = pytest.mark.timeout(600)

PLACEMENTS = {
    "product": {"start": "item", "answers": ["view"], "list_length": 4},
    "brand": {"where": {"price": {"to": 50}}},
}
ITEMS, VISITORS, K = 60, 40, 5


class Shop:
    """Publishes events with ids of its own, of now."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster, self._number = cluster, 0

    def publish(self, user: str, type: str, item: str | None = None, **fields) -> Event:
        self._number += 1
        event = Event(
            event_id=f"e{self._number}",
            user=user,
            type=type,
            item=item,
            time=now_ms() + self._number,
            **fields,
        )
        self._cluster.publish([event])
        return event


def test_histories_move_and_hidden_items_stay_away_though_a_worker_is_killed(kafka, tmp_path):
    with Cluster(kafka.brokers, tmp_path, placements=PLACEMENTS) as cluster:
        workers = [cluster.start("worker", name) for name in ("first", "second")]
        for process in (*workers, cluster.start("learner")):
            wait_for(process.ready, "ready", STARTED_S)
        catalog, shop, rng = CatalogProducer(cluster), Shop(cluster), random.Random(5)
        for n in range(ITEMS):
            catalog.put(CatalogItem(item=f"i{n}", title=f"Item {n}", brand=f"b{n % 3}", price=float(n)))
        catalog.flush()
        did: dict[str, list[str]] = defaultdict(list)
        hidden: dict[str, set[str]] = defaultdict(set)
        for n in range(VISITORS):
            user, visitor = f"user-{n % 10}", f"visitor-{n}"
            for _ in range(3):
                item = f"i{rng.randrange(ITEMS)}"
                shop.publish(visitor, "view", item)
                did[user].append(item)
            gone = f"i{rng.randrange(ITEMS)}"
            shop.publish(visitor, "hide", gone)
            hidden[user].add(gone)
            shop.publish(visitor, "alias", alias=user)
            if n == VISITORS // 3:
                workers[0].kill()
            if n == VISITORS // 2:
                workers[0] = cluster.start("worker", "first")
        wait_for(workers[0].ready, "ready again", STARTED_S)
        wait_for(lambda: cluster.lag() == 0, "all served")
        wait_for(lambda: merges(cluster) >= VISITORS and cluster.lag() == 0, "all moved")
        last = {user: shop.publish(user, "view", "i0") for user in did}
        where = Where(brand=["b1", "b2"])
        asked = [shop.publish(user, "request", placement="brand", where=where, k=K) for user in did]
        wait_for(lambda: cluster.lag() == 0, "all served")
        examples = {e.user: e for e in (decode_example(m.value()) for m in cluster.read("examples"))}
        answers = {}
        for message in cluster.read("recommendations"):
            answer = decode_recommendation(message.value())
            assert message.key() == recommendation_key(answer.user.encode(), answer.placement)
            answers[answer.event_id, answer.placement] = answer, message.partition()
        for user, items in did.items():
            assert sorted(examples[user].history) == sorted(items), "each event once"
            default, product = (answers[last[user].event_id, name] for name in ("", "product"))
            assert default[1] == product[1], "in the user's partition"
            assert len(product[0].items) == 4
            for answer, _ in (default, product):
                assert not hidden[user] & {entry.item for entry in answer.items}
        for event in asked:
            answer, _ = answers[event.event_id, "brand"]
            listed = [int(entry.item[1:]) for entry in answer.items]
            assert len(set(listed)) == K
            assert all(row % 3 in (1, 2) and row <= 50 for row in listed)


def merges(cluster: Cluster) -> int:
    """Merges on the topic, each counted once."""
    values = [m.value() for m in cluster.read("events")]
    return len({value for value in values if b'"type":"merge"' in value})
