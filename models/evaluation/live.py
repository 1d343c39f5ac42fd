"""Progressive validation on the stream: how good lists are, measured before each example is learnt.

Blum, Kalai & Langford 1999, "Beating the hold-out: bounds for k-fold and progressive cross-validation".
The learner asks, for one example in `every`, everybody who could have made the list: the model as it is
now, each generator and ranker by itself, a twin that is `age` behind, what everybody would be shown.  And for
every example it looks at what was really shown, with the model as old as it was.

All figures are counts with names, so that those of several processes and stretches of time add up:

    quality:WHO|SEGMENT|WHAT    predictions, hits, reciprocal ranks, gains at `K`
    lift:WHO|WHAT               predictions, and the sum of the differences of hits, now − WHO, and of squares

Cost: about 0.2 ms an example asked about, for each who has features to compute.  Memory: a model a twin.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from zlib import crc32

import numpy as np

from models.core import Example, Rows
from models.evaluation.facts import Flags
from models.evaluation.lists import Audience, ListSums
from models.evaluation.metrics import Quality, ranks
from models.evaluation.replicas import Twin, publish
from models.evaluation.run import Contender, before

K = 10
NOW, SHOWN, FROZEN = "now", "shown", "frozen"
"""The first contender; what users really had before them; and the twin that lags behind."""
SEGMENTED = {NOW, SHOWN, FROZEN, "popularity"}
"""Who is looked at in parts, too: all others would be too many counts."""
LISTS = 2_000
"""Lists that coverage and the like are computed over."""
VALUES = 20
"""Different values of a segment at most; the rest is `other`."""
NEW, LIGHT = 5, 20
"""Items of a user's history below which the user is called so."""
NEW_ITEM = 10
"""Events learnt of an item below which it is called so."""


class LiveQuality:
    """Counts, since it was made; `contenders`: the first is the model as it is now."""

    def __init__(
        self,
        contenders: Sequence[Contender],
        twins: Sequence[Twin] = (),
        every: int = 50,
        context_key: str = "device",
    ) -> None:
        """twins: contenders that are replicas; every: one example in so many is asked about."""
        self.totals: dict[str, float] = defaultdict(float)
        self.lists: dict[str, float] = {}
        """What the latest `LISTS` lists of now were like: see `ListSums`."""
        self.twins = twins
        self.time = 0
        """Event time of the latest example, ms."""
        self._contenders = list(contenders)
        self._every, self._context_key = every, context_key
        self._model = contenders[0].model
        self._audience = Audience(self._model.items.capacity)
        self._sums = ListSums(self._model.items.capacity)
        self._listed = 0
        self._seen = 0
        self._values: dict[str, set[str]] = defaultdict(set)

    def observe(self, examples: Sequence[Example]) -> None:
        """Measure examples that the model does not know yet."""
        useful = [one for one in examples if one.history]
        self._count(SHOWN, useful, [one.shown.position + 1 if one.shown else 0 for one in useful])
        chosen = useful[-self._seen % self._every :: self._every]
        self._seen += len(useful)
        if chosen:
            self._ask(chosen)

    def learnt(self, examples: Sequence[Example]) -> None:
        """Those examples are known now."""
        rows = np.array(self._model.items.rows(one.item for one in examples), np.int32)
        users = np.array([crc32(one.user.encode()) for one in examples], np.uint64)
        self._audience.learn(rows, users)
        self.time = max([self.time, *(one.time for one in examples)])

    def published(self, rows: Mapping[bytes, bytes | None]) -> None:
        """Those rows are public: twins that are due take them over."""
        publish(rows, self.twins, self.time)

    def gauges(self) -> dict[str, float]:
        """What does not add up: what the latest `LISTS` lists were like, and how far twins are behind, ms."""
        ages = {t.name: self.time - t.refreshed for t in self.twins if t.refreshed is not None}
        return {f"lists:{name}": value for name, value in self.lists.items()} | {
            f"twin_age_ms:{name}": float(max(age, 0)) for name, age in ages.items()
        }

    def _ask(self, chosen: Sequence[Example]) -> None:
        asked, items = [before(one) for one in chosen], [one.item for one in chosen]
        hits: dict[str, Flags] = {}
        for name, model, recommender, _ in self._contenders:
            latest = np.array(model.items.rows(one.history[-1] for one in chosen), np.int32)
            best = recommender.rank(model.queries(asked), latest[:, None], K + 1)
            targets = np.array(model.items.rows(items), np.int32)
            found = ranks(best.rows, best.scores, targets, K)
            hits[name] = found > 0
            self._count(name, chosen, found.tolist())
            if name == NOW:
                self._list(best.rows[:, :K], targets)
        for name in list(hits)[1:]:
            difference = hits[NOW].astype(np.float64) - hits[name]
            for what, value in (
                ("predictions", len(chosen)),
                ("difference", float(difference.sum())),
                ("squares", float((difference**2).sum())),
            ):
                self.totals[f"lift:{name}|{what}"] += value

    def _count(self, who: str, chosen: Sequence[Example], found: Sequence[int]) -> None:
        by_segment: dict[str, Quality] = defaultdict(lambda: Quality(K))
        for one, rank in zip(chosen, found, strict=True):
            by_segment["all"].add(rank)
            if who in SEGMENTED:
                for segment in self._segments(one):
                    by_segment[segment].add(rank)
        for segment, quality in by_segment.items():
            for what, value in (
                ("predictions", quality.count),
                ("hits", quality.hits),
                ("reciprocal_ranks", quality.reciprocal_ranks),
                ("gains", quality.gains),
            ):
                if value:
                    self.totals[f"quality:{who}|{segment}|{what}"] += value

    def _segments(self, one: Example) -> list[str]:
        had = len(one.history)
        row = self._model.items.row(one.item)
        events = int(self._audience.events[row]) if row >= 0 else 0
        found = [
            f"user {'new' if had < NEW else 'light' if had < LIGHT else 'heavy'}",
            f"item {'unknown' if row < 0 else 'new' if events < NEW_ITEM else 'known'}",
            f"type {self._value('type', one.type)}",
            "repeat" if one.item in one.history else "novel",
        ]
        if (value := one.context.get(self._context_key)) is not None:
            found.append(f"{self._context_key} {self._value(self._context_key, str(value))}")
        return found

    def _value(self, segment: str, value: str) -> str:
        """The value, as long as there are few: users choose them."""
        known = self._values[segment]
        if value not in known:
            if len(known) >= VALUES:
                return "other"
            known.add(value)
        return value.replace("|", " ")

    def _list(self, rows: Rows, targets: Rows) -> None:
        self._sums.add(rows, targets, self._audience)
        self._listed += len(rows)
        if self._listed >= LISTS:
            self.lists = self._sums.result(len(self._model.items))
            self._sums, self._listed = ListSums(self._model.items.capacity), 0


def parted(totals: Mapping[str, float]) -> dict[str, dict[str, dict[str, float]]]:
    """Who ▶ segment ▶ figures, of counts by name.

    >>> parted({"quality:now|all|hits": 1, "quality:now|all|predictions": 4})["now"]["all"]["hits"]
    1
    """
    found: dict[str, dict[str, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for name, value in totals.items():
        if name.startswith("quality:"):
            who, segment, what = name.removeprefix("quality:").rsplit("|", 2)
            found[who][segment][what] = value
    return found
