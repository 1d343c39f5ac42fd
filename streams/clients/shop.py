"""A simulated shop, for the demo and for tests: users with tastes, items that go together, a trend.

What a visitor wants next depends on the item in front of them, their taste and what is the rage just
now; the rage moves, and new items arrive, so what was learnt an hour ago is worth little.  It is honest:
what would please is drawn first, and only then does the visitor look at the recommendations.

    >>> shop = Shop(random.Random(1))
    >>> shop.event(time=1_700_000_000_000).type
    'view'
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import accumulate

from streams.messages import Event, Recommendation

CATEGORIES = ("boots", "tents", "stoves", "ropes", "maps", "packs", "lamps", "jackets", "bikes", "kayaks")
GO_TOGETHER = 6
"""Items that people go to from an item, likeliest first."""
WANTED = 3
"""Items that would please a visitor now."""
P_LEAVE, P_CART, P_PURCHASE, P_LOOK = 0.06, 0.08, 0.4, 0.5
"""Of leaving, putting what is viewed into the cart, buying it then, looking at what is recommended."""
NOTHING: Mapping[str, Recommendation] = {}


@dataclass
class Visitor:
    """A user who is in the shop."""

    user: str
    taste: tuple[str, ...]
    """Categories."""
    viewing: str | None = None
    cart: list[str] = field(default_factory=list)


class Shop:
    """Draws one event at a time; all randomness is `rng`'s, all time is the caller's."""

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
        """items: at the start; one more every `new_item_s`.  visitors: in the shop at any one time, of
        so many users.  trend_s: how long a rage lasts, seconds of event time.
        """
        self.rng, self.users, self.trend_s, self.new_item_s = rng, users, trend_s, new_item_s
        self.shelves: dict[str, list[str]] = {category: [] for category in CATEGORIES}
        """Most popular first."""
        self.next_items: dict[str, list[str]] = {}
        """What goes together with an item, likeliest first."""
        self.rage: list[str] = []
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

        recommended: user ▶ what they are shown now, if they look.
        """
        self._move_on(time / 1000)
        n = self.rng.randrange(len(self._visitors))
        if self.rng.random() < P_LEAVE:
            self._visitors[n] = self._enter()
        visitor = self._visitors[n]
        if visitor.cart and self.rng.random() < P_PURCHASE:
            return self._event(visitor, "purchase", visitor.cart.pop(), time)
        if visitor.viewing and visitor.viewing not in visitor.cart and self.rng.random() < P_CART:
            visitor.cart.append(visitor.viewing)
            return self._event(visitor, "cart", visitor.viewing, time)
        wanted = [self._want(visitor) for _ in range(WANTED)]  # before looking at what is recommended
        looks = self.rng.random() < P_LOOK
        shown = recommended.get(visitor.user) if looks else None
        clicked = next((r.item for r in shown.items if r.item in wanted), None) if shown else None
        visitor.viewing = clicked or wanted[0]
        if shown and clicked:
            return self._event(visitor, "click", clicked, time, shown.recommendation_id)
        return self._event(visitor, "view", wanted[0], time)

    def _event(self, visitor: Visitor, type: str, item: str, time: int, source: str | None = None) -> Event:
        self._events += 1
        return Event(
            event_id=f"shop-{self._events}",
            user=visitor.user,
            type=type,
            item=item,
            time=time,
            value=round(5 + 200 * random.Random(item).random(), 2)
            if type == "purchase"
            else None,  # its price
            recommendation_id=source,
        )

    def _want(self, visitor: Visitor) -> str:
        """An item that would please the visitor now."""
        draw = self.rng.random()
        if visitor.viewing and draw < 0.7:
            return self._skewed(self.next_items[visitor.viewing])
        if draw < 0.8:
            return self._skewed(self.rage)
        return self._skewed(self.shelves[self.rng.choice(visitor.taste)])

    def _skewed(self, items: list[str]) -> str:
        """One of these, the first ones much likelier: 1 / rank."""
        weights = _ZIPF[: len(items)]
        return self.rng.choices(items, cum_weights=weights)[0]

    def _move_on(self, now: float) -> None:
        if now >= self._trend_ends:  # the rage moves, and a tenth of what goes together
            self._trend_ends = now + self.trend_s
            items = sorted(self.next_items)
            self.rage = self.rng.sample(items, 12)
            for item in self.rng.sample(items, len(items) // 10):
                new = self.rng.choice(items)
                if new != item:
                    self.next_items[item] = [new, *self.next_items[item]][:GO_TOGETHER]
        if now >= self._next_item_at:
            self._next_item_at = now + self.new_item_s
            item = self._new_item()
            self._set_next(item, item.split("-")[0])
            self.rage = [item, *self.rage[:-1]]  # what is new is in the window

    def _new_item(self) -> str:
        category = self.rng.choice(CATEGORIES)
        shelf = self.shelves[category]
        item = f"{category}-{len(shelf) + 1}"
        shelf.append(item)
        return item

    def _set_next(self, item: str, category: str) -> None:
        """Mostly of its own category: people compare; the last two are what one needs with it."""
        others = self.rng.choices(CATEGORIES, k=2)
        near = self.rng.choices(self.shelves[category], k=GO_TOGETHER - 2)
        found = near + [self._skewed(self.shelves[c]) for c in others]
        self.next_items[item] = [other for other in found if other != item] or near[:1]

    def _enter(self) -> Visitor:
        user = self.rng.randrange(self.users)
        taste = random.Random(user).sample(CATEGORIES, 2)  # the same whenever they come
        return Visitor(f"user-{user}", tuple(taste))


_ZIPF = list(accumulate(1 / rank for rank in range(1, 100_001)))
