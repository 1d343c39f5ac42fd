"""Run a protocol: predict, measure, learn, step after step, for any number of recommenders side by side."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from time import perf_counter
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from models.core import HISTORY, Asked, Example, Queries, Rows
from models.evaluation.calibration import Reliability
from models.evaluation.facts import Numbers
from models.evaluation.lists import Audience, ListSums
from models.evaluation.metrics import Quality, ranks
from models.evaluation.protocols import Step
from models.evaluation.replicas import Twin, refresh
from models.model import Model
from models.ranking.best import Best

AT_ONCE = 1000
"""Predictions made at once, at most: bounds memory, changes no list."""

Exclude = Callable[[Model, Numbers], Rows]
"""The rows to leave out of the lists for these examples: int32[n, any], -1 pads."""


class Ranks(Protocol):
    """What is measured of a recommender."""

    def rank(self, queries: Queries, excluded: Rows, k: int) -> Best:
        """See `models.recommender.Recommender`."""


class Contender(NamedTuple):
    """One of those side by side; several may share a model, which then learns once."""

    name: str
    model: Model
    recommender: Ranks
    probabilities: bool = False
    """Whether its scores claim to be some."""


class Outcome(NamedTuple):
    """What became of one contender."""

    ranks: Rows
    """int32[predictions], in the order in which they were made; 0: not in the list."""
    lists: dict[str, float]
    calibration: dict[str, Any] | None
    """Of scores that claim to be probabilities."""
    propose_s: float
    learn_s: float
    """All of its model."""
    bytes: int
    """Of its model, as it is published."""


class Result(NamedTuple):
    """What a run gives."""

    scored: Numbers
    """int64[predictions]: which examples, in the order in which they were predicted."""
    windows: Numbers
    item_events: Numbers
    """int64[predictions]: how many examples of the item were learnt by then."""
    outcomes: dict[str, Outcome]
    learnt: int
    items: int
    seconds: float


Progress = Callable[[Quality, int], None]
"""Called after each part of a step: the first contender's quality so far, and examples learnt."""


def before(one: Example) -> Asked:
    """What a request just before the event would be answered from, were the example not known."""
    return Asked(one.history, one.session_size or HISTORY, one.time, one.context)


def latest(examples: Sequence[Example]) -> Exclude:
    """Leave out the user's latest item, as the stream does."""

    def rows(model: Model, which: Numbers) -> Rows:
        histories = (examples[n].history for n in which.tolist())
        return np.array(model.items.rows(h[-1] if h else "" for h in histories), np.int32)[:, None]

    return rows


def nothing(model: Model, which: Numbers) -> Rows:
    """Any item may be listed."""
    return np.zeros((len(which), 0), np.int32)


def seen(examples: Sequence[Example]) -> Exclude:
    """Leave out all that the user had before, however long ago."""
    places: dict[str, list[int]] = {}
    earlier = np.zeros(len(examples), np.int64)
    for n, one in enumerate(examples):
        mine = places.setdefault(one.user, [])
        earlier[n] = len(mine)
        mine.append(n)

    def rows(model: Model, which: Numbers) -> Rows:
        out = np.full((len(which), int(earlier[which].max(initial=0))), -1, np.int32)
        for at, n in enumerate(which.tolist()):
            mine = places[examples[n].user][: earlier[n]]
            out[at, : len(mine)] = model.items.rows(examples[place].item for place in mine)
        return out

    return rows


def run(
    examples: Sequence[Example],
    users: Numbers,
    steps: Iterable[Step],
    contenders: Sequence[Contender],
    twins: Sequence[Twin],
    exclude: Exclude,
    k: int,
    show: Progress = lambda quality, learnt: None,
) -> Result:
    """Predict and learn.

    users: the number of each example's user.
    twins: replicas of the first contender's model, refreshed when they are due.
    """
    live = contenders[0].model
    replicas = [twin.model for twin in twins]
    models = list({id(c.model): c.model for c in contenders if c.model not in replicas}.values())
    learn_s = {id(model): 0.0 for model in models}
    sizes: dict[int, dict[bytes, int]] = {id(model): {} for model in models}
    propose_s = dict.fromkeys((c.name for c in contenders), 0.0)
    found: dict[str, list[Rows]] = {c.name: [] for c in contenders}
    audience = Audience(live.items.capacity)
    lists = {c.name: ListSums(live.items.capacity) for c in contenders}
    reliability = {c.name: Reliability() for c in contenders if c.probabilities}
    scored: list[Numbers] = []
    windows: list[Numbers] = []
    item_events: list[Numbers] = []
    quality, learnt, began = Quality(k), 0, perf_counter()

    def published(model: Model, rows: Mapping[bytes, bytes | None]) -> None:
        sizes[id(model)].update({key: len(key) + len(value or b"") for key, value in rows.items()})

    for step in steps:
        if len(step.scored):
            published(live, refresh(live, twins, examples[step.scored[0]].time))
        for start in range(0, len(step.scored), AT_ONCE):
            part = step.scored[start : start + AT_ONCE]
            asked = [before(examples[n]) for n in part.tolist()]
            items = [examples[n].item for n in part.tolist()]
            for contender in contenders:
                clock = perf_counter()
                queries = contender.model.queries(asked)
                excluded = exclude(contender.model, part)
                best = contender.recommender.rank(queries, excluded, k + 1)
                propose_s[contender.name] += perf_counter() - clock
                targets = np.array(contender.model.items.rows(items), np.int32)
                found[contender.name].append(ranks(best.rows, best.scores, targets, k))
                lists[contender.name].add(best.rows[:, :k], targets, audience)
                if contender.probabilities:
                    reliability[contender.name].add(best.rows[:, :k], best.scores[:, :k], targets)
            quality += Quality.of(found[contenders[0].name][-1], k)
            show(quality, learnt)
            scored.append(part)
            rows = np.array(live.items.rows(items), np.int32)
            item_events.append(np.where(rows >= 0, audience.events[rows], 0))
            windows.append(np.full(len(part), step.window))
        if len(step.learnt):
            batch = [examples[n] for n in step.learnt.tolist()]
            for model in models:
                clock = perf_counter()
                model.learn(batch)
                learn_s[id(model)] += perf_counter() - clock
            rows = np.array(live.items.rows(one.item for one in batch), np.int32)
            audience.learn(rows, users[step.learnt].astype(np.uint64))
            learnt += len(batch)
            show(quality, learnt)
    seconds, items_known = perf_counter() - began, len(live.items)
    for model in models:
        published(model, model.dump_touched())
    return Result(
        _joined(scored, np.int64),
        _joined(windows, np.int64),
        _joined(item_events, np.int64),
        {
            c.name: Outcome(
                _joined(found[c.name], np.int32),
                lists[c.name].result(items_known),
                reliability[c.name].result() if c.probabilities else None,
                propose_s[c.name],
                learn_s.get(id(c.model), 0.0),
                sum(sizes.get(id(c.model), sizes[id(live)]).values()),
            )
            for c in contenders
        },
        learnt,
        items_known,
        seconds,
    )


def _joined(parts: list[NDArray[Any]], dtype: type) -> NDArray[Any]:
    return np.concatenate(parts) if parts else np.zeros(0, dtype)
