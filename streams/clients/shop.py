"""A simulated shop, for the demo and for tests: users with tastes, items that go together, a trend.

What a visitor wants next depends on the item that they view, their taste and the current trend; trends
change, new items arrive and others are sold out for a while, so what was learnt an hour ago is worth little.
The recommendations have no
influence on what visitors want: that is drawn before a visitor looks at them.

    >>> shop = Shop(random.Random(1))
    >>> shop.event(time=1_700_000_000_000).type
    'view'
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import accumulate

from streams.catalog_messages import CatalogItem
from streams.event_messages import Event
from streams.messages import Recommendation

CATEGORIES = ("boots", "tents", "stoves", "ropes", "maps", "packs", "lamps", "jackets", "bikes", "kayaks")
GO_TOGETHER = 6
"""Number of items that go together with an item."""
WANTED = 3
"""Number of items that a visitor would click now."""
TREND_ITEMS = 12
P_LEAVE, P_CART, P_PURCHASE, P_LOOK = 0.06, 0.08, 0.4, 0.5
"""Probabilities of leaving, of putting the viewed item into the cart, of buying an item of the cart, and of
looking at the recommendations."""
ADJECTIVES = ("light", "green", "warm", "old", "folding", "alpine", "blue", "small", "sturdy", "quiet")
STOCK, RESTOCK_S = 4, 20.0
"""Pieces of an item in stock, and the time after which a sold-out item is in stock again, seconds."""
TRIES = 3
"""Other items that a visitor thinks of instead of one that is sold out."""
NOTHING: Mapping[str, Recommendation] = {}


@dataclass
class Visitor:
    """A user in the shop."""

    user: str
    taste: tuple[str, ...]
    """The categories that the user likes."""
    viewing: str | None = None
    cart: list[str] = field(default_factory=list)


class Shop:
    """Draws one event at a time; all randomness comes from `rng`, all times from the caller."""

    def __init__(
        self,
        rng: random.Random,
        *,
        items: int = 800,
        users: int = 2000,
        visitors: int = 100,
        trend_s: float = 60,
        new_item_s: float = 10,
    ) -> None:
        """items: at the start; one more every `new_item_s` of event time.  users: of whom `visitors` are in
        the shop at any time.  trend_s: how long a trend lasts, seconds of event time.
        """
        self.rng, self.users, self.trend_s, self.new_item_s = rng, users, trend_s, new_item_s
        self.shelves: dict[str, list[str]] = {category: [] for category in CATEGORIES}
        """Items by category, most popular first."""
        self.next_items: dict[str, list[str]] = {}
        """Items that go together with an item, likeliest first."""
        self.trend: list[str] = []
        """Items in demand with all visitors now, likeliest first."""
        self.changed: list[CatalogItem] = []
        """Items whose record changed, for whoever publishes the catalog to take."""
        self._sold: dict[str, int] = {}
        """Pieces sold of each item since it was in stock again."""
        self._restock: dict[str, float] = {}
        """When each sold-out item is in stock again, seconds of event time; in this order."""
        self._events = 0
        self._trend_ends = self._next_item_at = 0.0
        for _ in range(items):
            self._new_item()
        for category in CATEGORIES:
            for item in self.shelves[category]:
                self._set_next(item, category)
        self._visitors = [self._enter() for _ in range(visitors)]

    def event(self, time: int, recommended: Mapping[str, Recommendation] = NOTHING) -> Event:
        """The next event, at `time` (ms, never less than before).

        recommended: the current recommendation by user.
        """
        self._advance(time / 1000)
        n = self.rng.randrange(len(self._visitors))
        if self.rng.random() < P_LEAVE:
            self._visitors[n] = self._enter()
        visitor = self._visitors[n]
        if visitor.cart and self.rng.random() < P_PURCHASE:
            item = visitor.cart.pop()
            self._sell(item, time / 1000)
            return self._event(visitor, "purchase", item, time)
        if visitor.viewing and visitor.viewing not in visitor.cart and self.rng.random() < P_CART:
            visitor.cart.append(visitor.viewing)
            return self._event(visitor, "cart", visitor.viewing, time)
        wanted = [self._draw_in_stock(visitor) for _ in range(WANTED)]  # before the visitor looks
        looks = self.rng.random() < P_LOOK
        shown = recommended.get(visitor.user) if looks else None
        clicked = next((r.item for r in shown.items if r.item in wanted), None) if shown else None
        visitor.viewing = clicked or wanted[0]
        if shown and clicked:
            return self._event(visitor, "click", clicked, time, shown.recommendation_id)
        return self._event(visitor, "view", wanted[0], time)

    def _sell(self, item: str, now: float) -> None:
        self._sold[item] = self._sold.get(item, 0) + 1
        if self._sold[item] >= STOCK and item not in self._restock:
            self._restock[item] = now + RESTOCK_S
            self.changed.append(_record(item, available=False))

    def _event(self, visitor: Visitor, type: str, item: str, time: int, source: str | None = None) -> Event:
        self._events += 1
        return Event(
            event_id=f"shop-{self._events}",
            user=visitor.user,
            type=type,
            item=item,
            time=time,
            value=_price(item) if type == "purchase" else None,
            recommendation_id=source,
        )

    def _draw_in_stock(self, visitor: Visitor) -> str:
        """An item that the visitor would click now; hardly ever one that is sold out."""
        item = self._draw_wanted(visitor)
        for _ in range(TRIES):
            if item not in self._restock:
                break
            item = self._draw_wanted(visitor)
        return item

    def _draw_wanted(self, visitor: Visitor) -> str:
        """An item that the visitor would click now."""
        draw = self.rng.random()
        if visitor.viewing and draw < 0.7:
            return self._skewed(self.next_items[visitor.viewing])
        if draw < 0.8:
            return self._skewed(self.trend)
        return self._skewed(self.shelves[self.rng.choice(visitor.taste)])

    def _skewed(self, items: list[str]) -> str:
        """One of these, with probabilities in proportion to 1 / rank."""
        return self.rng.choices(items, cum_weights=_ZIPF[: len(items)])[0]

    def _advance(self, now: float) -> None:
        if now >= self._trend_ends:  # a new trend, and a tenth of the items go together with others
            self._trend_ends = now + self.trend_s
            items = sorted(self.next_items)
            self.trend = self.rng.sample(items, TREND_ITEMS)
            for item in self.rng.sample(items, len(items) // 10):
                new = self.rng.choice(items)
                if new != item:
                    self.next_items[item] = [new, *self.next_items[item]][:GO_TOGETHER]
        for item in [item for item, at in self._restock.items() if now >= at]:
            del self._restock[item], self._sold[item]
            self.changed.append(_record(item))
        if now >= self._next_item_at:
            self._next_item_at = now + self.new_item_s
            item = self._new_item()
            self._set_next(item, item.split("-")[0])
            self.trend = [item, *self.trend[:-1]]  # new items are in the shop window

    def _new_item(self) -> str:
        category = self.rng.choice(CATEGORIES)
        shelf = self.shelves[category]
        item = f"{category}-{len(shelf) + 1}"
        shelf.append(item)
        self.changed.append(_record(item))
        return item

    def _set_next(self, item: str, category: str) -> None:
        """Mostly items of its own category, which people compare; the last two are of others."""
        others = self.rng.choices(CATEGORIES, k=2)
        near = self.rng.choices(self.shelves[category], k=GO_TOGETHER - 2)
        items = near + [self._skewed(self.shelves[c]) for c in others]
        self.next_items[item] = [other for other in items if other != item] or near[:1]

    def _enter(self) -> Visitor:
        user = self.rng.randrange(self.users)
        taste = random.Random(user).sample(CATEGORIES, 2)  # the same at every visit
        return Visitor(f"user-{user}", tuple(taste))


def _record(item: str, available: bool = True) -> CatalogItem:
    category, _, number = item.rpartition("-")
    first, second = random.Random(item).sample(ADJECTIVES, 2)
    return CatalogItem(
        item=item,
        title=f"{first.capitalize()}, {second} {category} no. {number}",
        categories=[f"outdoor/{category}"],
        price=_price(item),
        currency="EUR",
        available=available,
        tags=[first, second],
    )


def _price(item: str) -> float:
    return round(5 + 200 * random.Random(item).random(), 2)


_ZIPF = list(accumulate(1 / rank for rank in range(1, 100_001)))
