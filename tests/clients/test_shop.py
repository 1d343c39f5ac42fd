"""The simulated shop: repeats itself, is honest, and has something to learn that goes stale."""

import random
from collections import Counter, defaultdict

from streams import event_messages, messages
from streams.catalog_messages import decode_item, encode_item
from streams.clients.shop import NOTHING, Shop
from streams.messages import Recommendation, Recommended

START = 1_700_000_000_000


def events(seed: int, n: int, step_ms: int = 5, recommended=NOTHING):
    shop = Shop(random.Random(seed))
    return [shop.event(START + i * step_ms, recommended) for i in range(n)]


class EveryUser(dict):
    """Everybody is shown the same list."""

    def __init__(self, *items: str) -> None:
        self.slate = Recommendation(
            recommendation_id="r", user="", time=0, event_id="", event_type="",
            items=[Recommended(item, 1.0, "") for item in items], checkpoint=0, age_ms=0, model_age_ms=None,
        )  # fmt: skip

    def get(self, user, default=None):
        return self.slate


def test_the_same_seed_gives_the_same_events_and_another_gives_others():
    assert events(1, 500) == events(1, 500)
    assert events(1, 500) != events(2, 500)


def test_every_event_can_be_published():
    shop = events(1, 3000)
    assert all(event_messages.decode_event(messages.encode(e)) == e for e in shop)
    assert {e.type for e in shop} == {"view", "cart", "purchase"}
    assert len({e.event_id for e in shop}) == 3000


def test_a_purchase_follows_its_cart_and_has_a_value():
    carts = Counter()
    for e in events(1, 5000):
        if e.type == "cart":
            carts[e.user, e.item] += 1
        if e.type == "purchase":
            carts[e.user, e.item] -= 1
            assert e.value > 0
    assert min(carts.values()) >= 0


def test_an_irrelevant_list_changes_nothing():
    assert events(1, 2000, recommended=EveryUser("no-such-item")) == events(1, 2000)


def test_a_relevant_list_is_clicked():
    popular = [item for item, _ in Counter(e.item for e in events(1, 5000)).most_common(50)]
    clicks = [e for e in events(1, 5000, recommended=EveryUser(*popular)) if e.type == "click"]
    assert len(clicks) > 200
    assert {e.recommendation_id for e in clicks} == {"r"}
    assert {e.item for e in clicks} <= set(popular)


def _hits(shop, forget_after: int | None) -> float:
    """Share of views among the 20 likeliest after the view before, counted online."""
    after, last, hits, views = defaultdict(Counter), {}, 0, 0
    for n, e in enumerate(e for e in shop if e.type == "view"):
        if before := last.get(e.user):
            views += n > 20_000
            hits += n > 20_000 and e.item in dict(after[before].most_common(20))
            if forget_after is None or n < forget_after:
                after[before][e.item] += 1
        last[e.user] = e.item
    return hits / views


def test_there_is_something_to_learn_and_it_goes_stale():
    shop = events(1, 60_000, step_ms=20)  # 20 minutes: 20 rages, 120 new items
    fresh, stale = _hits(shop, None), _hits(shop, forget_after=10_000)
    popular = {item for item, _ in Counter(e.item for e in shop).most_common(20)}
    assert fresh > 0.4
    assert fresh > stale + 0.05
    assert fresh > 2 * sum(e.item in popular for e in shop) / len(shop)


def test_new_items_arrive():
    shop = events(1, 20_000, step_ms=20)
    early, late = ({e.item for e in part} for part in (shop[:10_000], shop[10_000:]))
    assert len(late - early) > 10


def test_its_catalog_has_every_item_and_what_is_sold_out():
    shop, catalog, sold_out = Shop(random.Random(1)), {}, set()
    for n in range(20_000):
        event = shop.event(START + 5 * n)
        for item in shop.changed:
            assert decode_item(item.item.encode(), encode_item(item)) == item
            catalog[item.item] = item
            sold_out |= set() if item.available else {item.item}
        shop.changed.clear()
        assert event.item in catalog
    now = {item.item for item in catalog.values() if not item.available}
    assert len(sold_out) > len(now) > 0, "some are in stock again"
    assert len(catalog) > 800, "there are new ones"
    assert len({item.title for item in catalog.values()}) == len(catalog)
