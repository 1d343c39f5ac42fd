"""From the options of an evaluation and a log to the steps of its protocol.  Pure."""

from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import NamedTuple

import numpy as np

from models.core import Example
from models.evaluation import protocols
from models.evaluation.facts import Facts, Flags, Numbers, first_windows, from_the_end, last_in_window
from models.evaluation.protocols import Pace, Step
from streams.offline.options import DAY_MS, SECOND_MS, BadPlan, Options, duration_ms

PREQUENTIAL_BATCH, TEACHING_BATCH = 100, 20_000
"""Examples in a micro-batch at most, while predicting and while only learning, where not given."""


class Taken(NamedTuple):
    """What a log teaches."""

    examples: list[Example]
    labels: list[str]
    """The window or part of each, as the log says it; empty where it does not."""


def plan(options: Options, taken: Taken, about: Facts) -> Iterator[Step]:
    """The steps of the protocol on these examples.  `BadPlan` where they do not fit."""
    scored = _scored(options, taken.examples, about)
    if options.protocol == "prequential":
        warm_up = _warm_up(options.warm_up, len(taken.examples))
        pace = _pace(options, SECOND_MS, PREQUENTIAL_BATCH)
        return protocols.prequential(about.times, scored, warm_up, pace)
    if options.protocol == "windows":
        return _plan_windows(options, taken, about, scored)
    return _plan_holdout(options, taken, about, scored)


def _scored(options: Options, examples: Sequence[Example], about: Facts) -> Flags:
    """Which examples may be predicted, whatever the protocol."""
    n = len(examples)
    scored = np.ones(n, np.bool_)
    if options.types:
        scored &= np.fromiter((e.type in options.types for e in examples), np.bool_, n)
        if not scored.any():
            raise BadPlan(f"no event of type {', '.join(sorted(options.types))} teaches")
    if options.skip_first:
        scored &= np.fromiter((bool(e.history) for e in examples), np.bool_, n)
    if options.skip_repeats:
        scored &= ~about.repeat
    return scored


def _plan_windows(options: Options, taken: Taken, about: Facts, scored: Flags) -> Iterator[Step]:
    window_of = _windows(options, taken, about.times)
    first, last = options.windows or (0, int(window_of.max()))
    scored = scored & (first <= window_of) & (window_of <= last)
    scored &= _targets(options, about, window_of) & _seen(options, taken.examples, about, window_of)
    if not scored[window_of > 0].any():
        raise BadPlan(
            f"nothing is to be predicted in windows {first} to {last}: the log has {window_of.max() + 1},"
            " counted from 0, and the first is only learnt"
        )
    frozen = options.state == "frozen"
    pace = None
    if not frozen:
        pace = _pace(options, SECOND_MS, PREQUENTIAL_BATCH)
    elif options.model_delay or options.batch:
        pace = _pace(options, DAY_MS, TEACHING_BATCH)
    steps = protocols.windows(about.times, window_of, scored, frozen, pace)
    return takewhile(lambda step: step.window <= last, steps)


def _plan_holdout(options: Options, taken: Taken, about: Facts, scored: Flags) -> Iterator[Step]:
    part_of = _parts(options, taken, about)
    train = np.isin(part_of, sorted(options.learn))
    test = part_of == options.part
    if not test.any():
        raise BadPlan(f"no event is of the part {options.part}: there are {', '.join(sorted(set(part_of)))}")
    number = np.where(test, 1, np.where(train, 0, 2))
    scored = scored & _targets(options, about, number) & _seen(options, taken.examples, about, number)
    frozen = options.state == "frozen"
    pace = _pace(options, DAY_MS, TEACHING_BATCH) if frozen else _pace(options, SECOND_MS, PREQUENTIAL_BATCH)
    return protocols.holdout(about.times, train, test, scored, frozen, pace)


def _pace(options: Options, delay_ms: int, most: int) -> Pace:
    delay = duration_ms(options.model_delay) if options.model_delay is not None else delay_ms
    return Pace(delay, options.batch or most)


def _warm_up(text: str, n: int) -> int:
    """`10%` of the examples, or their number."""
    return int(float(text[:-1]) / 100 * n) if text.endswith("%") else int(text)


def _windows(options: Options, taken: Taken, times: Numbers) -> Numbers:
    """int64[n]: the window of each example: of time, or as the column says, in order of appearance."""
    if options.label is None:
        span = duration_ms(options.window)
        return (times - times.min()) // max(span, 1)
    number: dict[str, int] = {}
    return np.array([number.setdefault(text, len(number)) for text in taken.labels], np.int64)


def _parts(options: Options, taken: Taken, about: Facts) -> np.ndarray:
    """The part of each example: train, valid, test, or whatever the column says."""
    n = len(taken.examples)
    if options.protocol == "leave-one-out":
        after = from_the_end(about.users)
        return np.where(after == 0, "test", np.where(after == 1, "valid", "train"))
    if options.label is not None:
        return np.array(taken.labels)
    shares = np.cumsum([int(share) for share in options.split.split("/")])
    if shares[-1] <= 0:
        raise BadPlan(f"--split {options.split}: shares of train, valid and test: 80/10/10")
    return np.array(["train", "valid", "test"])[
        np.searchsorted(shares / shares[-1] * n, np.arange(n), side="right").clip(0, 2)
    ]


def _targets(options: Options, about: Facts, windows: Numbers) -> Flags:
    if options.target == "every":
        return np.ones(len(windows), np.bool_)
    return last_in_window(about.sessions, windows)


def _seen(options: Options, examples: Sequence[Example], about: Facts, windows: Numbers) -> Flags:
    """Whether an earlier window has the item, and one before it in the session, as ADER's test sets ask."""
    if not options.drop_unseen:
        return np.ones(len(windows), np.bool_)
    first = first_windows(about.items, windows)
    known = first[about.items] < windows
    first_of = {one.item: int(first[item]) for one, item in zip(examples, about.items.tolist(), strict=True)}
    for n in np.flatnonzero(known).tolist():
        window = int(windows[n])
        known[n] = any(first_of.get(item, window) < window for item in examples[n].history)
    return known
