"""The steps of an evaluation, from its options and its log.  Pure."""

from collections.abc import Iterator, Sequence
from itertools import takewhile

import numpy as np
from numpy.typing import NDArray

from models.core import Example
from models.evaluation import protocols
from models.evaluation.example_columns import (
    ExampleColumns,
    Integers,
    Mask,
    first_windows,
    last_in_window,
    later_events,
)
from models.evaluation.protocols import Pace, Step
from streams.offline.examples import LabelledExamples
from streams.offline.options import BadOptions, EvaluationOptions, duration_ms

PREDICTING_DELAY, PREDICTING_BATCH = "1s", 100
LEARNING_DELAY, LEARNING_BATCH = "1d", 20_000
"""Span and examples of a micro-batch, at most, while predicting and while only learning: the defaults of
`--model-delay` and `--batch`."""


def plan(options: EvaluationOptions, log: LabelledExamples, columns: ExampleColumns) -> Iterator[Step]:
    """The steps of the protocol on these examples.  `BadOptions` where the options do not fit the log."""
    predicted = _predicted(options, log.examples, columns)
    if options.protocol == "prequential":
        warm_up = _warm_up(options.warm_up, len(log.examples))
        return protocols.prequential(columns.times, predicted, warm_up, _predicting_pace(options))
    if options.protocol == "windows":
        return _plan_windows(options, log, columns, predicted)
    return _plan_holdout(options, log, columns, predicted)


def _predicted(options: EvaluationOptions, examples: Sequence[Example], columns: ExampleColumns) -> Mask:
    """Which examples may be predicted under any protocol."""
    n = len(examples)
    predicted = np.ones(n, np.bool_)
    if options.types:
        predicted &= np.fromiter((e.type in options.types for e in examples), np.bool_, n)
        if not predicted.any():
            raise BadOptions(
                f"--types {','.join(sorted(options.types))}: no example has such a type;"
                f" expected any of {', '.join(sorted({e.type for e in examples}))}"
            )
    if options.skip_first:
        predicted &= np.fromiter((bool(e.history) for e in examples), np.bool_, n)
    if options.skip_repeats:
        predicted &= ~columns.repeats_latest
    return predicted


def _plan_windows(
    options: EvaluationOptions, log: LabelledExamples, columns: ExampleColumns, predicted: Mask
) -> Iterator[Step]:
    window_of = _windows(options, log, columns.times)
    first, last = options.windows or (0, int(window_of.max()))
    predicted = predicted & (first <= window_of) & (window_of <= last)
    predicted &= _targets(options, columns, window_of)
    predicted &= _seen(options, log.examples, columns, window_of)
    if not predicted[window_of > 0].any():
        raise BadOptions(
            f"no predictions in windows {first} to {last}: the number of windows in the log is"
            f" {window_of.max() + 1}, counted from 0, and window 0 is only learnt"
        )
    frozen = options.state == "frozen"
    pace = None
    if not frozen:
        pace = _predicting_pace(options)
    elif options.model_delay or options.batch:
        pace = _learning_pace(options)
    steps = protocols.windows(columns.times, window_of, predicted, frozen, pace)
    return takewhile(lambda step: step.window <= last, steps)


def _plan_holdout(
    options: EvaluationOptions, log: LabelledExamples, columns: ExampleColumns, predicted: Mask
) -> Iterator[Step]:
    part_of = _parts(options, log, columns)
    train = np.isin(part_of, sorted(options.learn))
    test = part_of == options.part
    if not test.any():
        raise BadOptions(f"unknown --part {options.part}: expected one of {', '.join(sorted(set(part_of)))}")
    order = np.where(test, 1, np.where(train, 0, 2))
    predicted = predicted & _targets(options, columns, order)
    predicted &= _seen(options, log.examples, columns, order)
    frozen = options.state == "frozen"
    pace = _learning_pace(options) if frozen else _predicting_pace(options)
    return protocols.holdout(columns.times, train, test, predicted, frozen, pace)


def _predicting_pace(options: EvaluationOptions) -> Pace:
    return _pace(options, PREDICTING_DELAY, PREDICTING_BATCH)


def _learning_pace(options: EvaluationOptions) -> Pace:
    return _pace(options, LEARNING_DELAY, LEARNING_BATCH)


def _pace(options: EvaluationOptions, delay: str, batch: int) -> Pace:
    delay = delay if options.model_delay is None else options.model_delay
    return Pace(duration_ms(delay), options.batch or batch)


def _warm_up(text: str, n: int) -> int:
    """Examples that are only learnt, of n: `10%` of them, or their number."""
    return int(float(text[:-1]) / 100 * n) if text.endswith("%") else int(text)


def _windows(options: EvaluationOptions, log: LabelledExamples, times: Integers) -> Integers:
    """Window of each example, int64[n]: by time, or by the label in order of appearance."""
    if options.label is None:
        span = duration_ms(options.window)
        windows: Integers = (times - times.min()) // max(span, 1)
        return windows
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(label, len(numbers)) for label in log.labels], np.int64)


def _parts(options: EvaluationOptions, log: LabelledExamples, columns: ExampleColumns) -> NDArray[np.str_]:
    """Part of each example, str[n]: train, valid or test, or the label."""
    n = len(log.examples)
    if options.protocol == "leave-one-out":
        later = later_events(columns.users)
        return np.where(later == 0, "test", np.where(later == 1, "valid", "train"))
    if options.label is not None:
        return np.array(log.labels)
    shares = np.cumsum([int(share) for share in options.split.split("/")])
    if shares[-1] <= 0:
        raise BadOptions(
            f"invalid --split {options.split}: expected shares of train, valid and test, such as 80/10/10"
        )
    numbers = np.searchsorted(shares / shares[-1] * n, np.arange(n), side="right").clip(0, 2)
    part_of: NDArray[np.str_] = np.array(["train", "valid", "test"])[numbers]
    return part_of


def _targets(options: EvaluationOptions, columns: ExampleColumns, windows: Integers) -> Mask:
    if options.target == "every":
        return np.ones(len(windows), np.bool_)
    return last_in_window(columns.sessions, windows)


def _seen(
    options: EvaluationOptions, examples: Sequence[Example], columns: ExampleColumns, windows: Integers
) -> Mask:
    """Whether an earlier window has the item, and one before it in the session, as in ADER's test sets."""
    if not options.drop_unseen:
        return np.ones(len(windows), np.bool_)
    first = first_windows(columns.items, windows)
    seen = first[columns.items] < windows
    first_of = {e.item: int(first[item]) for e, item in zip(examples, columns.items.tolist(), strict=True)}
    for n in np.flatnonzero(seen).tolist():
        window = int(windows[n])
        seen[n] = any(first_of.get(item, window) < window for item in examples[n].history)
    return seen
