"""Run a protocol: predict, measure, learn, step after step, for any number of recommenders side by side."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.core import Example, Query, Rows
from models.evaluation.beyond_accuracy import ItemProfiles, ListMetrics
from models.evaluation.calibration import Reliability
from models.evaluation.catalog_metrics import CatalogMetrics
from models.evaluation.evaluated import EvaluatedRecommender, query_before
from models.evaluation.example_columns import Integers
from models.evaluation.exclusions import Exclusion
from models.evaluation.listed_items import ListedItems
from models.evaluation.metrics import Quality, ranks
from models.evaluation.protocols import Step
from models.evaluation.replicas import DelayedReplica, refresh_due
from models.model import Model

MAX_QUERIES = 1000
"""Queries answered at a time, at most: bounds memory, changes no list."""


NO_CATALOG = ListedItems({})


class RecommenderResult(NamedTuple):
    """The measurements of one recommender."""

    ranks: Rows
    """int32[predictions]: rank of each target, in the order of the predictions; 0: not in the list."""
    lists: dict[str, float]
    """Metrics beyond accuracy, by name."""
    catalog: dict[str, Any] | None
    """Metrics by what the catalog says of the items, by name; None without a catalog."""
    calibration: dict[str, Any] | None
    """Calibration of scores that are probabilities, else None."""
    propose_s: float
    """Time spent on predictions."""
    learn_s: float
    """Time that its model spent learning."""
    model_bytes: int
    """Size of its model, as it is published."""


class RunResult(NamedTuple):
    """What a run returns."""

    predicted: Integers
    """int64[predictions]: places of the predicted examples in the log, in the order of the predictions."""
    windows: Integers
    """int64[predictions]: window of each."""
    item_events: Integers
    """int64[predictions]: examples of the target's item that were learnt before."""
    recommenders: dict[str, RecommenderResult]
    """Results by the recommender's name, in their order."""
    learnt: int
    """Number of examples learnt."""
    items: int
    """Items known at the end."""
    seconds: float


Progress = Callable[[Quality, int, float], None]
"""Called after each part of a step with the first recommender's quality so far, the number of examples
learnt, and the share of all predicting and learning that is done, 0 to 1."""


class _Measurements:
    """What is measured of one recommender while a protocol runs."""

    def __init__(self, evaluated: EvaluatedRecommender) -> None:
        self.model, self._evaluated = evaluated.model, evaluated
        self._ranks: list[Rows] = []
        self._lists = ListMetrics(evaluated.model.items.capacity)
        self._by_catalog = CatalogMetrics(evaluated.model.catalog)
        self._reliability = Reliability() if evaluated.probabilities else None
        self._propose_s = 0.0

    def predict(
        self, queries: Sequence[Query], items: Sequence[str], excluded: Rows, k: int, profiles: ItemProfiles
    ) -> Rows:
        """Make the lists and measure them; returns the ranks of the target items."""
        start = perf_counter()
        evaluated = self._evaluated
        asked = self.model.queries([evaluated.view(query) for query in queries])
        best = evaluated.recommender.rank(asked, excluded, k + 1, evaluated.where)
        self._propose_s += perf_counter() - start
        targets = np.array(self.model.items.rows(items), np.int32)
        self._ranks.append(ranks(best.rows, best.scores, targets, k))
        self._lists.add(best.rows[:, :k], targets, profiles)
        self._by_catalog.add(best.rows[:, :k])
        if self._reliability is not None:
            self._reliability.add(best.rows[:, :k], best.scores[:, :k], targets)
        return self._ranks[-1]

    def result(
        self, items: int, names: Mapping[int, str], learn_s: float, model_bytes: int
    ) -> RecommenderResult:
        """All measurements, where `items` items are known, and categories have `names` by their codes."""
        return RecommenderResult(
            _concatenated(self._ranks, np.int32),
            self._lists.result(items),
            self._by_catalog.result(self._lists.listed, names),
            None if self._reliability is None else self._reliability.result(),
            self._propose_s,
            learn_s,
            model_bytes,
        )


class _Learner:
    """A model that learns, and what that costs."""

    def __init__(self, model: Model) -> None:
        self.model, self.seconds = model, 0.0
        self._sizes: dict[bytes, int] = {}

    def learn(self, batch: Sequence[Example]) -> None:
        """Learn one micro-batch."""
        start = perf_counter()
        self.model.learn(batch)
        self.seconds += perf_counter() - start

    def published(self, rows: Mapping[bytes, bytes | None]) -> None:
        """Count the bytes of rows that would be on the model topic."""
        self._sizes.update({key: len(key) + len(value or b"") for key, value in rows.items()})

    def size(self) -> int:
        """Bytes of the full model, as it is published."""
        self.published(self.model.dump_touched())
        return sum(self._sizes.values())


def run(
    examples: Sequence[Example],
    users: Integers,
    steps: Iterable[Step],
    recommenders: Sequence[EvaluatedRecommender],
    replicas: Sequence[DelayedReplica],
    exclude: Exclusion,
    k: int,
    show: Progress = lambda *_: None,
    listed: ListedItems = NO_CATALOG,
) -> RunResult:
    """Predict and learn the examples, step by step, and measure lists of k items.

    users: the number of each example's user, int64[n].
    steps: all of them are computed before the first is taken, so that `show` can say how much is done.
    recommenders: those to measure; the first is the one that the others are compared with.
    replicas: replicas of the first recommender's model, refreshed when they are due; their recommenders are
        among `recommenders`.
    listed: the catalog of the shop.
    """
    live = recommenders[0].model
    replica_models = [replica.model for replica in replicas]
    learners = {id(r.model): _Learner(r.model) for r in recommenders if r.model not in replica_models}
    measurements = [_Measurements(recommender) for recommender in recommenders]
    profiles = ItemProfiles(live.items.capacity)
    predicted: list[Integers] = []
    windows: list[Integers] = []
    item_events: list[Integers] = []
    quality, learnt, start = Quality(k), 0, perf_counter()
    steps = list(steps)
    models = {id(r.model): r.model for r in recommenders}.values()
    for learner in learners.values():
        listed.reserve(learner.model)
    work = sum(len(step.predicted) + len(step.learnt) for step in steps)
    for step in steps:
        if len(step.predicted):
            now = examples[step.predicted[0]].time
            learners[id(live)].published(refresh_due(live, replicas, now))
            for model in models:
                listed.advance(model, now)
        for first in range(0, len(step.predicted), MAX_QUERIES):
            part = step.predicted[first : first + MAX_QUERIES]
            queries = [query_before(examples[n]) for n in part.tolist()]
            items = [examples[n].item for n in part.tolist()]
            rows = np.array(live.items.rows(items), np.int32)
            item_events.append(np.where(rows >= 0, profiles.events[rows], 0))
            windows.append(np.full(len(part), step.window))
            predicted.append(part)
            for measured in measurements:
                target_ranks = measured.predict(queries, items, exclude(measured.model, part), k, profiles)
                if measured is measurements[0]:
                    quality += Quality.of(target_ranks, k)
            show(quality, learnt, (quality.count + learnt) / work)
        if len(step.learnt):
            batch = [examples[n] for n in step.learnt.tolist()]
            for learner in learners.values():
                learner.learn(batch)
            rows = np.array(live.items.rows(example.item for example in batch), np.int32)
            profiles.add(rows, users[step.learnt].astype(np.uint64))
            learnt += len(batch)
            show(quality, learnt, (quality.count + learnt) / work)
    seconds = perf_counter() - start
    sizes = {model_id: learner.size() for model_id, learner in learners.items()}
    results = {}
    for recommender, measured in zip(recommenders, measurements, strict=True):
        model_id = id(recommender.model if id(recommender.model) in learners else live)
        results[recommender.name] = measured.result(
            len(live.items), listed.category_names, learners[model_id].seconds, sizes[model_id]
        )
    return RunResult(
        _concatenated(predicted, np.int64),
        _concatenated(windows, np.int64),
        _concatenated(item_events, np.int64),
        results,
        learnt,
        len(live.items),
        seconds,
    )


def _concatenated(parts: list[NDArray[Any]], dtype: type) -> NDArray[Any]:
    return np.concatenate(parts) if parts else np.zeros(0, dtype)
