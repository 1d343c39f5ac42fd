"""Evaluation protocols: in which order a log is predicted and learnt.  Each is a sequence of steps.

A step predicts some examples with the model as it is, and then learns some as one micro-batch.  So nothing
is learnt before it is predicted, and the size of the micro-batches is how old the model gets while it serves:
the ranker learns from proposals made before its micro-batch is learnt, so that it trains in the condition
in which it serves.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from models.evaluation.example_columns import Integers, Mask


class Step(NamedTuple):
    """Examples to predict and then examples to learn, by their places in the log."""

    predicted: Integers
    learnt: Integers
    window: int = 0


class Pace(NamedTuple):
    """How often the model learns: after a span of event time or a number of examples, whichever is first."""

    delay_ms: int
    """Event time that a micro-batch spans at most: the age of the model when its last event is predicted."""
    max_examples: int
    """Examples of a micro-batch at most: for clocks so coarse that many events share a time."""


NOTHING = np.zeros(0, np.int64)
FIRST_PIECES = 8
"""Micro-batches of a first window, so that the ranker of the second has learnt something."""


def prequential(times: Integers, predicted: Mask, warm_up: int, pace: Pace) -> Iterator[Step]:
    """Predict every example, then learn it; the first `warm_up` examples are only learnt.

    Gama, Sebastião & Rodrigues 2009, "Issues in evaluation of stream learning algorithms"; for recommenders
    Vinagre, Jorge & Gama 2014, "Evaluation of recommender systems in streaming environments".
    """
    places = np.arange(len(times))
    yield from _learn(places[:warm_up], times, pace)
    yield from _test_then_learn(places[warm_up:], times, predicted, pace)


def windows(
    times: Integers, window_of: Integers, predicted: Mask, frozen: bool, pace: Pace | None
) -> Iterator[Step]:
    """Learn window i, predict window i + 1, for all i, with one model that is never reset.

    frozen: a window is predicted as a whole before it is learnt; otherwise learnt while it is predicted.
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
            yield Step(part[predicted[part]], part, window)
        elif first:
            yield from _learn(part, times, pace, window)
        elif frozen:
            yield Step(part[predicted[part]], NOTHING, window)
            yield from _learn(part, times, pace, window)
        else:
            yield from _test_then_learn(part, times, predicted, pace, window)


def holdout(
    times: Integers, train: Mask, test: Mask, predicted: Mask, frozen: bool, pace: Pace
) -> Iterator[Step]:
    """Learn the examples of `train`, then predict those of `test`; examples of neither are not used.

    frozen: the examples of `test` are not learnt; otherwise each is learnt after it is predicted.
    """
    yield from _learn(np.flatnonzero(train), times, pace)
    part = np.flatnonzero(test)
    if frozen:
        yield Step(part[predicted[part]], NOTHING)
    else:
        yield from _test_then_learn(part, times, predicted, pace)


def _learn(part: Integers, times: Integers, pace: Pace, window: int = 0) -> Iterator[Step]:
    for batch in micro_batches(part, times, pace):
        yield Step(NOTHING, batch, window)


def _test_then_learn(
    part: Integers, times: Integers, predicted: Mask, pace: Pace, window: int = 0
) -> Iterator[Step]:
    for batch in micro_batches(part, times, pace):
        yield Step(batch[predicted[batch]], batch, window)


def micro_batches(part: Integers, times: Integers, pace: Pace) -> Iterator[Integers]:
    """Cut examples (places in the log, in order) into micro-batches of less than `delay_ms`, never empty.

    >>> [b.tolist() for b in micro_batches(np.arange(5), np.array([0, 5, 10, 11, 30]), Pace(10, 99))]
    [[0, 1], [2, 3], [4]]
    """
    clock = np.maximum.accumulate(times[part]) if len(part) else NOTHING  # late events are no reason to cut
    start = 0
    while start < len(part):
        end = int(np.searchsorted(clock, clock[start] + max(pace.delay_ms, 1)))
        end = min(max(end, start + 1), start + pace.max_examples)
        yield part[start:end]
        start = end
