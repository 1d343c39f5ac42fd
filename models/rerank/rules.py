"""The rules of a shop, in the order of its settings, and the table of all rules."""

import inspect
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from models.catalog import Catalog
from models.core import Floats, QueryBatch, Rows
from models.kernels.jit import Array, kernel
from models.ranking.best import Best, best
from models.ranking.pool import Pool
from models.rerank.limit import AtMost, one_of_group
from models.rerank.seen import NotBought, NotRecent


class Rule(Protocol):
    """Leaves items out of ranked lists; it keeps no state."""

    def apply(self, rows: Rows, dropped: Rows, number: int, queries: QueryBatch, catalog: Catalog) -> None:
        """Set `dropped`, int32[n, m], to `number` where an item must not be listed.

        `rows`, int32[n, m], are best first, padded with -1; what an earlier rule dropped is not 0, does not
        count and stays.
        """


RULES: dict[str, Callable[..., Rule]] = {
    "one-of-group": one_of_group,
    "not-bought": NotBought,
    "not-recent": NotRecent,
    "at-most": AtMost,
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
    """Applies rules one after the other, and counts what each drops.

    Parameters
    ----------
    settings
        The rules in their order, each as `make_rule` takes it.

    Examples
    --------
    >>> from models.small_batches import query_batch
    >>> rules = Rules([{"rule": "not-recent", "last": 1}])
    >>> rows = np.array([[7, 8, 9]], np.int32)
    >>> rules.dropped_by(rows, query_batch([[8]]), Catalog(10)).tolist()
    [[0, 1, 0]]
    """

    def __init__(self, settings: Sequence[Mapping[str, Any]] = ()) -> None:
        rules = [make_rule(setting) for setting in settings]
        self.names = [name for name, _ in rules]
        """Name of each rule, in their order."""
        self._rules = [rule for _, rule in rules]
        self._by_catalog_alone = all(isinstance(rule, AtMost) for rule in self._rules)
        self._counts = np.zeros(len(rules) + 1, np.int64)
        self._lock = threading.Lock()

    def act(self, catalog: Catalog) -> bool:
        """Whether any rule can drop anything."""
        return bool(self._rules) and (catalog.in_use or not self._by_catalog_alone)

    @property
    def dropped(self) -> dict[str, int]:
        """Items that each rule dropped so far from lists in which they would have been, by its name."""
        counts = dict.fromkeys(self.names, 0)
        for name, count in zip(self.names, self._counts[1:].tolist(), strict=True):
            counts[name] += count
        return counts

    def best(self, pool: Pool, scores: Floats, queries: QueryBatch, catalog: Catalog, k: int) -> Best:
        """The k best by `scores`, float32[n, m], that no rule drops; as `models.ranking.best.best`.

        Sorting all candidates costs more than all rules: mostly the first ones are enough.
        """
        shape, width = (len(scores), k), scores.shape[1]
        lists = Best(np.empty(shape, np.int32), np.empty(shape, np.float64), np.empty(shape, np.int16))
        for sorted_width in (min(AHEAD * k, width), width):
            ranked, counts = best(pool, scores, sorted_width), np.zeros_like(self._counts)
            _first(*ranked, self.dropped_by(ranked.rows, queries, catalog), *lists, counts)
            if ((lists.rows[:, -1] >= 0) | (ranked.rows[:, -1] < 0)).all():
                break
        with self._lock:
            self._counts += counts
        return lists

    def dropped_by(self, rows: Rows, queries: QueryBatch, catalog: Catalog) -> Rows:
        """Which rule drops each item of ranked lists, int32[n, m]: 0: none, 1: the first."""
        dropped = np.zeros(rows.shape, np.int32)
        for number, rule in enumerate(self._rules, 1):
            rule.apply(rows, dropped, number, queries, catalog)
        return dropped


@kernel
def _first(
    rows: Array,
    scores: Array,
    codes: Array,
    dropped: Array,
    out_rows: Array,
    out_scores: Array,
    out_codes: Array,
    counts: Array,
) -> None:
    k = out_rows.shape[1]
    for n in range(len(rows)):
        size = 0
        for j in range(rows.shape[1]):
            if rows[n, j] < 0 or size == k:
                break
            if dropped[n, j]:
                counts[dropped[n, j]] += 1
                continue
            out_rows[n, size], out_scores[n, size] = rows[n, j], scores[n, j]
            out_codes[n, size] = codes[n, j]
            size += 1
        out_rows[n, size:], out_scores[n, size:], out_codes[n, size:] = -1, 0, -1
