"""Protocols: in which order a log is predicted and learnt.  Each is a sequence of steps; all else is shared.

A step predicts some examples with the model as it is, and then learns some as one micro-batch.  So nothing
is learnt before it is predicted, and the size of the micro-batches is how old the model gets while it serves:
the ranker learns from proposals made before its micro-batch is learnt, so that it trains in the condition
in which it serves.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from models.evaluation.facts import Flags, Numbers


class Step(NamedTuple):
    """Examples by their place in the log: first `scored` are predicted, then `learnt` are learnt."""

    scored: Numbers
    learnt: Numbers
    window: int = 0


class Pace(NamedTuple):
    """How often the model learns."""

    delay_ms: int
    """Event time that a micro-batch spans at most: the age of the model when its last event is predicted."""
    most: int
    """Examples in one, at most: for clocks so coarse that many events share a time."""


NOTHING = np.zeros(0, np.int64)
FIRST_PIECES = 8
"""Micro-batches of a first window, so that the ranker of the second has learnt something."""


def prequential(times: Numbers, scored: Flags, warm_up: int, pace: Pace) -> Iterator[Step]:
    """Every example is predicted, then learnt; the first `warm_up` only teach.

    Gama, Sebastião & Rodrigues 2009, "Issues in evaluation of stream learning algorithms"; for recommenders
    Vinagre, Jorge & Gama 2014, "Evaluation of recommender systems in streaming environments".
    """
    everything = np.arange(len(times))
    yield from _teach(everything[:warm_up], times, pace)
    yield from _test_then_learn(everything[warm_up:], times, scored, pace)


def windows(
    times: Numbers, window_of: Numbers, scored: Flags, frozen: bool, pace: Pace | None
) -> Iterator[Step]:
    """Learn window i, predict window i + 1, for all i; the model goes on from window to window.

    frozen: a window is predicted as a whole before it is learnt; else learnt while it is predicted.
    pace: None: a window is one micro-batch (if frozen), but the first, which is only learnt: a ranker learns
    from what the model proposes before a micro-batch, and before the first that is nothing.

    Mi, Lin & Faltings 2020, "ADER: adaptively distilled exemplar replay towards continual learning for
    session-based recommendation"; de Souza Pereira Moreira et al. 2021, "Transformers4Rec".
    """
    order = np.argsort(window_of, kind="stable")
    bounds = np.flatnonzero(np.diff(window_of[order])) + 1
    for number, part in enumerate(np.split(order, bounds)):
        first, window = number == 0, int(window_of[part[0]]) if len(part) else 0
        if pace is None and first:
            for piece in np.array_split(part, min(FIRST_PIECES, len(part))):
                yield Step(NOTHING, piece, window)
        elif pace is None:
            yield Step(part[scored[part]], part, window)
        elif first:
            yield from _teach(part, times, pace, window)
        elif frozen:
            yield Step(part[scored[part]], NOTHING, window)
            yield from _teach(part, times, pace, window)
        else:
            yield from _test_then_learn(part, times, scored, pace, window)


def holdout(
    times: Numbers, train: Flags, test: Flags, scored: Flags, frozen: bool, pace: Pace
) -> Iterator[Step]:
    """Learn the examples of `train`, predict those of `test`; neither: not used at all."""
    yield from _teach(np.flatnonzero(train), times, pace)
    part = np.flatnonzero(test)
    if frozen:
        yield Step(part[scored[part]], NOTHING)
    else:
        yield from _test_then_learn(part, times, scored, pace)


def _teach(part: Numbers, times: Numbers, pace: Pace, window: int = 0) -> Iterator[Step]:
    for batch in micro_batches(part, times, pace):
        yield Step(NOTHING, batch, window)


def _test_then_learn(
    part: Numbers, times: Numbers, scored: Flags, pace: Pace, window: int = 0
) -> Iterator[Step]:
    for batch in micro_batches(part, times, pace):
        yield Step(batch[scored[batch]], batch, window)


def micro_batches(part: Numbers, times: Numbers, pace: Pace) -> Iterator[Numbers]:
    """Cut examples (places in the log, in order) into runs of less than `delay_ms`, at least one each.

    >>> [b.tolist() for b in micro_batches(np.arange(5), np.array([0, 5, 10, 11, 30]), Pace(10, 99))]
    [[0, 1], [2, 3], [4]]
    """
    clock = np.maximum.accumulate(times[part]) if len(part) else NOTHING  # late events are no reason to cut
    start = 0
    while start < len(part):
        end = int(np.searchsorted(clock, clock[start] + max(pace.delay_ms, 1)))
        end = min(max(end, start + 1), start + pace.most)
        yield part[start:end]
        start = end
