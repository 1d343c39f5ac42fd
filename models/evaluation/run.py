"""Run a protocol: predict, measure, learn, step after step, for any number of recommenders side by side."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from time import perf_counter
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from models.core import HISTORY, Example, Query, QueryBatch, Rows
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

    def rank(self, queries: QueryBatch, excluded: Rows, k: int) -> Best:
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


Progress = Callable[[Quality, int, float], None]
"""Called after each part of a step: the first contender's quality so far, examples learnt, and how much
of all predicting and learning is done, 0 to 1."""


def before(one: Example) -> Query:
    """What a request just before the event would be answered from, were the example not known."""
    return Query(one.history, one.session_size or HISTORY, one.time, one.context)


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


class _Tally:
    """What is kept of one contender while it runs."""

    def __init__(self, contender: Contender) -> None:
        self.contender = contender
        self.ranks: list[Rows] = []
        self.lists = ListSums(contender.model.items.capacity)
        self.reliability = Reliability() if contender.probabilities else None
        self.propose_s = 0.0

    def predict(
        self, asked: Sequence[Query], items: Sequence[str], excluded: Rows, k: int, audience: Audience
    ) -> Rows:
        """Make the lists and measure them; returns the ranks of what came."""
        model = self.contender.model
        clock = perf_counter()
        best = self.contender.recommender.rank(model.queries(asked), excluded, k + 1)
        self.propose_s += perf_counter() - clock
        targets = np.array(model.items.rows(items), np.int32)
        self.ranks.append(ranks(best.rows, best.scores, targets, k))
        self.lists.add(best.rows[:, :k], targets, audience)
        if self.reliability is not None:
            self.reliability.add(best.rows[:, :k], best.scores[:, :k], targets)
        return self.ranks[-1]

    def outcome(self, items: int, learn_s: float, size: int) -> Outcome:
        """All of it."""
        return Outcome(
            _joined(self.ranks, np.int32),
            self.lists.result(items),
            None if self.reliability is None else self.reliability.result(),
            self.propose_s,
            learn_s,
            size,
        )


class _Learner:
    """A model that learns, and what that costs."""

    def __init__(self, model: Model) -> None:
        self.model, self.seconds = model, 0.0
        self._sizes: dict[bytes, int] = {}

    def learn(self, batch: Sequence[Example]) -> None:
        """One micro-batch."""
        clock = perf_counter()
        self.model.learn(batch)
        self.seconds += perf_counter() - clock

    def published(self, rows: Mapping[bytes, bytes | None]) -> None:
        """Count the bytes of what would be on the topic."""
        self._sizes.update({key: len(key) + len(value or b"") for key, value in rows.items()})

    def size(self) -> int:
        """Bytes of the whole model, as it is published."""
        self.published(self.model.dump_touched())
        return sum(self._sizes.values())


def run(
    examples: Sequence[Example],
    users: Numbers,
    steps: Iterable[Step],
    contenders: Sequence[Contender],
    twins: Sequence[Twin],
    exclude: Exclude,
    k: int,
    show: Progress = lambda *_: None,
) -> Result:
    """Predict and learn.

    users: the number of each example's user.
    steps: all of them are made before the first is taken, so that `show` can say how much is done.
    twins: replicas of the first contender's model, refreshed when they are due; contenders, too.
    """
    live = contenders[0].model
    replicas = [twin.model for twin in twins]
    learners = {id(c.model): _Learner(c.model) for c in contenders if c.model not in replicas}
    tallies = [_Tally(contender) for contender in contenders]
    audience = Audience(live.items.capacity)
    scored: list[Numbers] = []
    windows: list[Numbers] = []
    item_events: list[Numbers] = []
    quality, learnt, began = Quality(k), 0, perf_counter()
    steps = list(steps)
    work = sum(len(step.scored) + len(step.learnt) for step in steps)
    for step in steps:
        if len(step.scored):
            learners[id(live)].published(refresh(live, twins, examples[step.scored[0]].time))
        for start in range(0, len(step.scored), AT_ONCE):
            part = step.scored[start : start + AT_ONCE]
            asked = [before(examples[n]) for n in part.tolist()]
            items = [examples[n].item for n in part.tolist()]
            rows = np.array(live.items.rows(items), np.int32)
            item_events.append(np.where(rows >= 0, audience.events[rows], 0))
            windows.append(np.full(len(part), step.window))
            scored.append(part)
            for tally in tallies:
                found = tally.predict(asked, items, exclude(tally.contender.model, part), k, audience)
                if tally is tallies[0]:
                    quality += Quality.of(found, k)
            show(quality, learnt, (quality.count + learnt) / work)
        if len(step.learnt):
            batch = [examples[n] for n in step.learnt.tolist()]
            for learner in learners.values():
                learner.learn(batch)
            rows = np.array(live.items.rows(one.item for one in batch), np.int32)
            audience.learn(rows, users[step.learnt].astype(np.uint64))
            learnt += len(batch)
            show(quality, learnt, (quality.count + learnt) / work)
    seconds = perf_counter() - began
    sizes = {which: learner.size() for which, learner in learners.items()}
    outcomes = {}
    for contender, tally in zip(contenders, tallies, strict=True):
        which = id(contender.model if id(contender.model) in learners else live)
        outcomes[contender.name] = tally.outcome(len(live.items), learners[which].seconds, sizes[which])
    return Result(
        _joined(scored, np.int64),
        _joined(windows, np.int64),
        _joined(item_events, np.int64),
        outcomes,
        learnt,
        len(live.items),
        seconds,
    )


def _joined(parts: list[NDArray[Any]], dtype: type) -> NDArray[Any]:
    return np.concatenate(parts) if parts else np.zeros(0, dtype)
