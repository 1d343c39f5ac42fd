"""Progressive validation on the stream: how good lists are, measured before each example is learnt.

Blum, Kalai & Langford 1999, "Beating the hold-out: bounds for k-fold and progressive cross-validation".
For one example in `every`, the learner has several recommenders make the list: the current model, each
generator and ranker alone, a replica that is refreshed seldom, what is popular.  And for every example it
measures the list that the user was really shown, by the model as old as it was.

All counts have names, so that those of several processes and periods add up:

    quality:NAME|SEGMENT|COUNT  predictions, hits, reciprocal_ranks, gains at `K`
    lift:NAME|COUNT             predictions; difference: the sum of the differences of hits, now − NAME;
                                squares: the sum of their squares

Cost: about 0.2 ms for each measured example and recommender that computes features.  Memory: one model for
each replica.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from zlib import crc32

import numpy as np

from models.core import Example, Rows
from models.evaluation.beyond_accuracy import ItemProfiles, ListMetrics
from models.evaluation.comparison import Comparison
from models.evaluation.evaluated import EvaluatedRecommender, query_before
from models.evaluation.example_columns import Mask
from models.evaluation.metrics import Quality
from models.evaluation.replicas import DelayedReplica, distribute
from models.evaluation.segments import LIGHT_USER, NEW_ITEM, NEW_USER
from models.recommender import AT_ONCE

K = 10
NOW, SHOWN, FROZEN = "now", "shown", "frozen"
"""Names of the first recommender, of the lists that users were shown, and of the delayed replica."""
SEGMENTED = {NOW, SHOWN, FROZEN, "popularity"}
"""Recommenders that are also measured by segment: for all of them it would be too many counts."""
LISTS = 2_000
"""Lists that coverage and the other metrics beyond accuracy are computed over."""
VALUES = 20
"""Different values of a segment at most; further ones count as `other`."""


class LiveQuality:
    """Counts since the process started; the first of `recommenders` is the current model."""

    def __init__(
        self,
        recommenders: Sequence[EvaluatedRecommender],
        replicas: Sequence[DelayedReplica] = (),
        every: int = 50,
        context_key: str = "device",
        alone: Sequence[str] = (),
    ) -> None:
        """Start with empty counts.

        replicas: the delayed replicas whose recommenders are among `recommenders`.
        every: one example in `every` is measured with all recommenders.
        context_key: the context whose values are segments.
        alone: generators of the current model that are measured by themselves, too.
        """
        self.totals: dict[str, float] = defaultdict(float)
        self.lists: dict[str, float] = {}
        """Metrics beyond accuracy of the latest `LISTS` lists of the first recommender: see `ListMetrics`."""
        self.replicas = replicas
        self.time = 0
        """Event time of the latest example, ms."""
        self._recommenders, self._alone = list(recommenders), list(alone)
        self._every, self._context_key = every, context_key.partition("+")[0]
        self._model = recommenders[0].model
        self._profiles = ItemProfiles(self._model.items.capacity)
        self._list_metrics = ListMetrics(self._model.items.capacity)
        self._listed = 0
        self._predictable = 0
        self._values: dict[str, set[str]] = defaultdict(set)

    def observe(self, examples: Sequence[Example]) -> None:
        """Measure examples that the model has not learnt yet."""
        predictable = [example for example in examples if example.history]
        shown_ranks = [example.shown.position + 1 if example.shown else 0 for example in predictable]
        segments = [self._segments(example) for example in predictable]
        self._count(SHOWN, shown_ranks, segments)
        chosen = slice(-self._predictable % self._every, None, self._every)
        self._predictable += len(predictable)
        if predictable[chosen]:
            self._compare(predictable[chosen], segments[chosen])

    def learnt(self, examples: Sequence[Example]) -> None:
        """Take note of examples that the model has learnt."""
        rows = np.array(self._model.items.rows(example.item for example in examples), np.int32)
        users = np.array([crc32(example.user.encode()) for example in examples], np.uint64)
        self._profiles.add(rows, users)
        self.time = max([self.time, *(example.time for example in examples)])

    def published(self, rows: Mapping[bytes, bytes | None]) -> None:
        """Take note of published rows; replicas that are due apply them."""
        distribute(rows, self.replicas, self.time)

    def counts(self) -> dict[str, float]:
        """A copy of the totals, which other threads may take while this one counts."""
        return dict(self.totals)  # one step of the interpreter: a loop over them would see keys come

    def gauges(self) -> dict[str, float]:
        """Values that do not add up: metrics of the latest lists, and how far replicas are behind, ms."""
        ages = {r.name: self.time - r.refreshed for r in self.replicas if r.refreshed is not None}
        return {f"lists:{name}": value for name, value in self.lists.items()} | {
            f"twin_age_ms:{name}": float(max(age, 0)) for name, age in ages.items()
        }

    def _compare(self, examples: Sequence[Example], segments: Sequence[Sequence[str]]) -> None:
        queries = [query_before(example) for example in examples]
        items = [example.item for example in examples]
        found: dict[str, list[Rows]] = defaultdict(list)
        lists: list[Rows] = []
        for at in range(0, len(examples), AT_ONCE):
            part = slice(at, at + AT_ONCE)
            comparisons: dict[int, Comparison] = {}
            for name, model, recommender, *_ in self._recommenders:
                if id(model) not in comparisons:
                    comparisons[id(model)] = Comparison(model, queries[part], items[part], K)
                listed, target_ranks = comparisons[id(model)].rank(recommender)
                found[name].append(target_ranks)
                if name == NOW:
                    lists.append(listed)
            for name in self._alone:
                found[name].append(comparisons[id(self._model)].alone(name))
        hits: dict[str, Mask] = {}
        for name, parts in found.items():
            target_ranks = np.concatenate(parts)
            hits[name] = target_ranks > 0
            self._count(name, target_ranks.tolist(), segments)
        targets = np.array(self._model.items.rows(items), np.int32)
        self._measure_lists(np.concatenate(lists), targets)
        for name in list(hits)[1:]:
            difference = hits[NOW].astype(np.float64) - hits[name]
            for count, value in (
                ("predictions", len(examples)),
                ("difference", float(difference.sum())),
                ("squares", float((difference**2).sum())),
            ):
                self.totals[f"lift:{name}|{count}"] += value

    def _count(self, name: str, target_ranks: Sequence[int], segments: Sequence[Sequence[str]]) -> None:
        by_segment: dict[str, Quality] = defaultdict(lambda: Quality(K))
        for rank, of_example in zip(target_ranks, segments, strict=True):
            by_segment["all"].add(rank)
            if name in SEGMENTED:
                for segment in of_example:
                    by_segment[segment].add(rank)
        for segment, quality in by_segment.items():
            for count, value in (
                ("predictions", quality.count),
                ("hits", quality.hits),
                ("reciprocal_ranks", quality.reciprocal_ranks),
                ("gains", quality.gains),
            ):
                if value:
                    self.totals[f"quality:{name}|{segment}|{count}"] += value

    def _segments(self, example: Example) -> list[str]:
        size = len(example.history)
        row = self._model.items.row(example.item)
        events = int(self._profiles.events[row]) if row >= 0 else 0
        segments = [
            f"user {'new' if size < NEW_USER else 'light' if size < LIGHT_USER else 'heavy'}",
            f"item {'unknown' if row < 0 else 'new' if events < NEW_ITEM else 'known'}",
            f"type {self._bounded('type', example.type)}",
            "repeat" if example.item in example.history else "novel",
        ]
        if (value := example.context.get(self._context_key)) is not None:
            segments.append(f"{self._context_key} {self._bounded(self._context_key, str(value))}")
        return segments

    def _bounded(self, segment: str, value: str) -> str:
        """The value, or `other` beyond the first `VALUES` of them: events may bring any number."""
        known = self._values[segment]
        if value not in known:
            if len(known) >= VALUES:
                return "other"
            known.add(value)
        return value.replace("|", " ")

    def _measure_lists(self, rows: Rows, targets: Rows) -> None:
        self._list_metrics.add(rows, targets, self._profiles)
        self._listed += len(rows)
        if self._listed >= LISTS:
            self.lists = self._list_metrics.result(len(self._model.items))
            self._list_metrics, self._listed = ListMetrics(self._model.items.capacity), 0


def by_recommender(totals: Mapping[str, float]) -> dict[str, dict[str, dict[str, float]]]:
    """The `quality:` counts of `LiveQuality.totals` by recommender, segment and count.

    >>> by_recommender({"quality:now|all|hits": 1, "quality:now|all|predictions": 4})["now"]["all"]["hits"]
    1
    """
    nested: dict[str, dict[str, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for key, value in totals.items():
        if key.startswith("quality:"):
            name, segment, count = key.removeprefix("quality:").rsplit("|", 2)
            nested[name][segment][count] = value
    return nested
