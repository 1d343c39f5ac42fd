"""The rules of a shop, in the order of its settings, and the table of all rules."""

import inspect
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from models.catalog import Catalog
from models.core import Floats, QueryBatch, Rows
from models.kernels.jit import Array, kernel
from models.ranking.best import PINNED, Best, best
from models.ranking.pool import Pool
from models.rerank.boost import Boost, Bury
from models.rerank.diversity import Diversity
from models.rerank.drops import Drops
from models.rerank.hidden import Adult, Hidden
from models.rerank.item_data import ItemData
from models.rerank.limit import AtMost, one_of_group
from models.rerank.novelty import Novelty
from models.rerank.pin import Pin
from models.rerank.price import PriceBand
from models.rerank.seen import NotBought, NotRecent


@runtime_checkable
class Dropping(Protocol):
    """A rule that leaves items out of ranked lists; it keeps no state."""

    def acts(self, catalog: Catalog) -> bool:
        """Whether it can drop anything."""

    def apply(self, rows: Rows, dropped: Rows, number: int, queries: QueryBatch, data: ItemData) -> None:
        """Set `dropped`, int32[n, m], to `number` where an item must not be listed.

        `rows`, int32[n, m], are best first, padded with -1; what an earlier rule dropped is not 0, does not
        count and stays.
        """


@runtime_checkable
class Weighing(Protocol):
    """A rule that changes the scores of candidates before they are sorted."""

    def weigh(self, rows: Rows, scores: Floats, queries: QueryBatch, data: ItemData) -> None:
        """Change `scores`, float32[n, m], in place; above 0 they stay above 0."""


@runtime_checkable
class Pinning(Protocol):
    """A rule that puts items at the top."""

    def pinned(self, queries: QueryBatch, data: ItemData) -> Rows:
        """Rows that come first, int32[n, any]; -1 where there is none."""


@runtime_checkable
class Choosing(Protocol):
    """A rule that chooses a list from a longer ranked one."""

    def choose(self, ranked: Best, k: int, data: ItemData) -> Best:
        """The k items of each list that are chosen."""


Rule = Dropping | Weighing | Pinning | Choosing

RULES: dict[str, Callable[..., Rule]] = {
    "one-of-group": one_of_group,
    "not-bought": NotBought,
    "not-recent": NotRecent,
    "at-most": AtMost,
    "hidden": Hidden,
    "adult": Adult,
    "price-band": PriceBand,
    "boost": Boost,
    "bury": Bury,
    "pin": Pin,
    "novelty": Novelty,
    "diversity": Diversity,
}
"""Constructor by name; its arguments are the parameters in the settings."""
AHEAD = 3
"""Candidates that are sorted, at first, for each item of a list."""
NAME = "rule"
"""Key of a rule's name in the settings, beside its parameters."""


def make_rule(setting: Mapping[str, Any]) -> tuple[str, Rule]:
    """Name and rule of a setting, such as {"rule": "not-recent", "last": 3}.

    `ValueError` says what is wrong with the setting.

    >>> make_rule({"rule": "at-most", "of": "brand"})[0]
    'at-most'
    >>> make_rule({"rule": "at-most", "brand": 2})
    Traceback (most recent call last):
    ...
    ValueError: at-most has no parameter brand: it has of, n
    """
    name = setting.get(NAME)
    if name not in RULES:
        raise ValueError(f"unknown rule {name!r}: known are {', '.join(RULES)}")
    parameters = {key: value for key, value in setting.items() if key != NAME}
    known = inspect.signature(RULES[name]).parameters
    if unknown := sorted(parameters.keys() - known.keys()):
        has = f"it has {', '.join(known)}" if known else "it has none"
        raise ValueError(f"{name} has no parameter {', '.join(unknown)}: {has}")
    try:
        return name, RULES[name](**parameters)
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{name}: {error}") from None


class Rules:
    """Applies rules to ranked lists, and counts what each drops.

    First those that weigh change the scores, then the pinned items come to the top, then others drop, one
    after the other, and at last those that choose do; among its like, each acts in the order of the settings.

    Parameters
    ----------
    settings
        The rules in their order, each as `make_rule` takes it.

    Examples
    --------
    >>> from models.small_batches import query_batch
    >>> rules = Rules([{"rule": "not-recent", "last": 1}])
    >>> rows = np.array([[7, 8, 9]], np.int32)
    >>> rules.dropped_by(rows, query_batch([[8]]), ItemData.empty(10)).tolist()
    [[0, 1, 0]]
    """

    def __init__(self, settings: Sequence[Mapping[str, Any]] = ()) -> None:
        rules = [make_rule(setting) for setting in settings]
        self._dropping = [(name, rule) for name, rule in rules if isinstance(rule, Dropping)]
        self._weighing = [rule for _, rule in rules if isinstance(rule, Weighing)]
        self._pinning = [rule for _, rule in rules if isinstance(rule, Pinning)]
        self._choosing = [rule for _, rule in rules if isinstance(rule, Choosing)]
        self._drops = Drops(len(self._dropping))
        self._lock = threading.Lock()

    def act(self, catalog: Catalog) -> bool:
        """Whether any rule can change a list."""
        return bool(self._weighing or self._pinning or self._choosing) or self.drop(catalog)

    def drop(self, catalog: Catalog) -> bool:
        """Whether any rule can drop anything."""
        return any(rule.acts(catalog) for _, rule in self._dropping)

    @property
    def dropped(self) -> dict[str, int]:
        """Items that each rule dropped so far from lists in which they would have been, by its name."""
        return self._by_name(self._drops.by_rule)

    def dropped_of(self, row: int) -> dict[str, int]:
        """Lists from which each rule dropped this item, of late, by its name; without those that did not."""
        counts = self._by_name(self._drops.of_item(row))
        return {name: count for name, count in counts.items() if count}

    def _by_name(self, by_rule: Sequence[int]) -> dict[str, int]:
        counts = dict.fromkeys((name for name, _ in self._dropping), 0)
        for (name, _), count in zip(self._dropping, by_rule, strict=True):
            counts[name] += count
        return counts

    def best(
        self,
        pool: Pool,
        scores: Floats,
        queries: QueryBatch,
        data: ItemData,
        k: int,
        excluded: Rows,
        offered: NDArray[np.bool_],
    ) -> Best:
        """The k best by `scores`, float32[n, m], which may be changed, that no rule drops.

        `excluded`, int32[n, any] padded with -1, may not be pinned, nor what is not `offered`,
        bool[capacity].  Sorting all candidates costs more than all rules: mostly the first are enough.
        """
        for rule in self._weighing:
            rule.weigh(pool.rows, scores, queries, data)
        pinned = self._pinned(queries, data, excluded, offered)
        if pinned.shape[1]:
            scores[(pool.rows[:, :, None] == pinned[:, None]).any(-1)] = 0
        length, width = (AHEAD * k if self._choosing else k), scores.shape[1]
        shape = len(scores), length
        lists = Best(np.empty(shape, np.int32), np.empty(shape, np.float64), np.empty(shape, np.int16))
        for sorted_width in (min(AHEAD * k, width), width):
            ranked, looked_at = best(pool, scores, sorted_width), np.empty(len(scores), np.int32)
            complete = ranked.rows[:, -1] < 0
            ranked = _on_top(pinned, ranked)
            dropped = self.dropped_by(ranked.rows, queries, data)
            _first(*ranked, dropped, *lists, looked_at)
            if ((lists.rows[:, k - 1] >= 0) | complete).all():
                break
        if self._dropping:
            with self._lock:
                self._drops.add(ranked.rows, dropped, looked_at)
        for chooser in self._choosing:
            lists = chooser.choose(lists, k, data)
        return lists

    def _pinned(
        self, queries: QueryBatch, data: ItemData, excluded: Rows, offered: NDArray[np.bool_]
    ) -> Rows:
        """Rows that come first, each once, int32[n, any], padded with -1."""
        if not self._pinning:
            return np.zeros((len(queries.history), 0), np.int32)
        rows = np.concatenate([rule.pinned(queries, data) for rule in self._pinning], axis=1)
        first = np.arange(rows.shape[1])
        earlier = (rows[:, :, None] == rows[:, None]) & (first[:, None] > first)
        left_out = ~offered[rows] | (rows[:, :, None] == excluded[:, None]).any(-1) | earlier.any(-1)
        rows[left_out] = -1
        return np.take_along_axis(rows, np.argsort(rows < 0, axis=1, kind="stable"), 1)

    def dropped_by(self, rows: Rows, queries: QueryBatch, data: ItemData) -> Rows:
        """Which rule drops each item of ranked lists, int32[n, m]: 0: none, 1: the first that drops."""
        dropped = np.zeros(rows.shape, np.int32)
        for number, (_, rule) in enumerate(self._dropping, 1):
            if rule.acts(data.catalog):
                rule.apply(rows, dropped, number, queries, data)
        return dropped


def _on_top(pinned: Rows, ranked: Best) -> Best:
    """The ranked lists with the pinned items before them, which score as high as the best."""
    if not pinned.shape[1]:
        return ranked
    top = np.maximum(ranked.scores[:, :1], 1e-6)
    rows = np.concatenate([pinned, ranked.rows], axis=1)
    scores = np.concatenate([np.where(pinned >= 0, top, 0.0), ranked.scores], axis=1)
    codes = np.concatenate([np.where(pinned >= 0, np.int16(PINNED), np.int16(-1)), ranked.codes], axis=1)
    order = np.argsort(rows < 0, axis=1, kind="stable")
    return Best(*(np.take_along_axis(part, order, 1) for part in (rows, scores, codes)))


@kernel
def _first(
    rows: Array,
    scores: Array,
    codes: Array,
    dropped: Array,
    out_rows: Array,
    out_scores: Array,
    out_codes: Array,
    looked_at: Array,
) -> None:
    k = out_rows.shape[1]
    for n in range(len(rows)):
        size, looked_at[n] = 0, 0
        for j in range(rows.shape[1]):
            if rows[n, j] < 0 or size == k:
                break
            looked_at[n] = j + 1
            if dropped[n, j]:
                continue
            out_rows[n, size], out_scores[n, size] = rows[n, j], scores[n, j]
            out_codes[n, size] = codes[n, j]
            size += 1
        out_rows[n, size:], out_scores[n, size:], out_codes[n, size:] = -1, 0, -1
