"""Evaluate on a log: the stream's own steps, without the stream.

    log ▶ arrivals ▶ accept ▶ examples     streams.publish, streams.accept: as published and as served
    examples ▶ predict ▶ learn             models.evaluation: the learner's `Model.learn`, the worker's lists

The log is one partition, read into memory as examples: about 0.5 kB an event.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from models.core import Example
from models.evaluation import protocols
from models.evaluation.facts import Facts, Flags, Numbers, facts, first_windows, from_the_end, last_in_window
from models.evaluation.protocols import Pace, Step
from models.evaluation.replicas import Twin
from models.evaluation.run import Contender, Exclude, Progress, Result, latest, nothing, run, seen
from models.evaluation.summary import summarise
from models.recommender import Recommender
from models.registry import RANKERS
from streams.accept import accept, example
from streams.messages import Event
from streams.model import make_model, make_recommender
from streams.protocol import DAY_MS, SECOND_MS, BadPlan, Options, duration_ms
from streams.publish import schedule
from streams.serve import Policy
from streams.settings import Settings
from streams.users import User

PREQUENTIAL_BATCH, TEACHING_BATCH = 100, 20_000
"""Examples in a micro-batch at most, while predicting and while only learning, where not given."""


class Taken(NamedTuple):
    """What a log teaches."""

    examples: list[Example]
    labels: list[str]
    """The window or part of each, as the log says it; empty where it does not."""


def take(log: Iterable[Event], policy: Policy, options: Options) -> Iterator[tuple[Example, str]]:
    """The examples that a worker would make of this log, and the label of each."""
    label = options.label
    users: dict[str, User] = {}
    for offset, due in enumerate(schedule(_picked(log, options))):
        event, arrived = due.event, due.arrival
        assert arrived is not None  # a log is not live
        user, _, accepted = accept(users.get(event.user, User()), event, offset, arrived, policy)
        users[event.user] = user
        if accepted is not None and (one := example(accepted, user)) is not None:
            yield one, str(one.context.pop(label, "")) if label else ""


def _picked(log: Iterable[Event], options: Options) -> Iterator[Event]:
    latest: dict[str, str | None] = {}
    for event in islice(log, options.limit):
        if options.min_value is not None and (event.value is None or event.value < options.min_value):
            continue
        if options.drop_reloads:
            if latest.get(event.user) == event.item:
                continue
            latest[event.user] = event.item
        yield event


def plan(options: Options, taken: Taken, about: Facts) -> Iterator[Step]:
    """The steps of the protocol on these examples.  `BadPlan` where they do not fit."""
    examples, n = taken.examples, len(taken.examples)
    scored = np.ones(n, np.bool_)
    if options.types:
        scored &= np.fromiter((e.type in options.types for e in examples), np.bool_, n)
        if not scored.any():
            raise BadPlan(f"no event of type {', '.join(sorted(options.types))} teaches")
    if options.skip_first:
        scored &= np.fromiter((bool(e.history) for e in examples), np.bool_, n)
    if options.skip_repeats:
        scored &= ~about.repeat
    if options.protocol == "prequential":
        if options.target == "last":
            raise BadPlan("--target last: for windows and holdout; a stream does not know the last event")
        pace = _pace(options, SECOND_MS, PREQUENTIAL_BATCH)
        return protocols.prequential(about.times, scored, _warm_up(options.warm_up, n), pace)
    if options.protocol == "windows":
        window_of = _windows(options, taken, about.times)
        if options.windows:
            first, last = options.windows
            scored &= window_of >= first
            scored &= window_of <= last
        scored &= _targets(options, about, window_of) & _seen(options, examples, about, window_of)
        if options.state == "frozen":
            pace = _pace(options, 0, TEACHING_BATCH) if options.model_delay else None
            steps = protocols.windows(about.times, window_of, scored, True, pace)
        else:
            pace = _pace(options, SECOND_MS, PREQUENTIAL_BATCH)
            steps = protocols.windows(about.times, window_of, scored, False, pace)
        return _until(steps, options.windows[1]) if options.windows else steps
    part_of = _parts(options, taken, about)
    train = np.isin(part_of, sorted(options.learn))
    test = part_of == options.part
    if not test.any():
        raise BadPlan(f"no event is of the part {options.part}: there are {', '.join(sorted(set(part_of)))}")
    number = np.where(test, 1, np.where(train, 0, 2))
    scored &= _targets(options, about, number) & _seen(options, examples, about, number)
    frozen = options.state == "frozen"
    pace = _pace(options, DAY_MS if frozen else SECOND_MS, TEACHING_BATCH if frozen else PREQUENTIAL_BATCH)
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


def _until(steps: Iterator[Step], last: int) -> Iterator[Step]:
    for step in steps:
        if step.window > last:
            return
        yield step


def contenders(options: Options, settings: Settings) -> tuple[list[Contender], list[Twin]]:
    """Who is evaluated side by side; the first is the settings' recommender."""
    weights = settings.generators
    rankers = [name for name in RANKERS if name != settings.ranker] if "rankers" in options.compare else []
    model = make_model(settings, rankers)
    learnt = settings.ranker != "blend"
    found = [Contender("all", model, make_recommender(settings, model), learnt)]
    twins = []
    for every in options.refresh:
        replica = make_model(settings)
        twins.append(Twin(f"refresh {every}", replica, None if every == "never" else duration_ms(every)))
        found.append(Contender(twins[-1].name, replica, make_recommender(settings, replica), learnt))
    for name in rankers:
        recommender = Recommender(model, weights, name)
        found.append(Contender(f"ranker {name}", model, recommender, name != "blend"))
    if "generators" in options.compare:
        found += [Contender(name, model, Recommender(model, {name: 1.0})) for name in weights]
    for name in options.without:
        if name not in weights:
            raise BadPlan(f"--without {name}: there are {', '.join(weights)}")
        less = replace_generators(settings, {n: w for n, w in weights.items() if n != name})
        other = make_model(less)
        found.append(Contender(f"without {name}", other, make_recommender(less, other), learnt))
    return found, twins


def replace_generators(settings: Settings, generators: Mapping[str, float]) -> Settings:
    """The same settings with these generators."""
    return settings.model_copy(update={"generators": dict(generators)})


def excluding(options: Options, examples: Sequence[Example]) -> Exclude:
    """What the lists leave out."""
    return {"latest": latest, "seen": seen, "nothing": lambda _: nothing}[options.exclude](examples)


def evaluate(
    options: Options, settings: Settings, taken: Taken, show: Progress = lambda *_: None
) -> dict[str, Any]:
    """All figures, ready for JSON.  `BadPlan` where the options do not fit the log."""
    about = facts(taken.examples)
    result = measure(options, settings, taken, about, show)
    return summarise(result, taken.examples, about, options.ks, settings.seed)


def measure(options: Options, settings: Settings, taken: Taken, about: Facts, show: Progress) -> Result:
    """Run the protocol."""
    if not taken.examples:
        raise BadPlan("no event of the log teaches: are the weights of its types 0?")
    found, twins = contenders(options, settings)
    steps = plan(options, taken, about)
    exclude = excluding(options, taken.examples)
    result = run(taken.examples, about.users, steps, found, twins, exclude, max(options.ks), show)
    if not len(result.scored):
        raise BadPlan("nothing was predicted: the options leave no event")
    return result


def weigh(settings: Settings, weights: str | None) -> Settings:
    """The settings with weights of event types, `click=1,*=0`; `*` is every other type.  `ValueError`."""
    if not weights:
        return settings
    given = {}
    for part in weights.split(","):
        name, _, weight = part.partition("=")
        given[name.strip()] = float(weight)
    others = given.pop("*", None)
    if others is None:
        update: dict[str, Any] = {"event_weights": settings.event_weights | given}
    else:
        update = {"event_weights": given, "unknown_event_weight": others}
    return settings.model_copy(update=update)


def text(found: dict[str, Any]) -> str:
    """The figures as tables for a terminal."""
    k = found["at"]
    lines = [
        f"{found['predictions']:,} predictions for {found['users']:,} users;"
        f" {found['learnt']:,} events learnt, {found['items']:,} items; {found['seconds']:.0f} s",
        "",
    ]
    entries = found["recommenders"]
    head = ["", f"recall@{k}", "95 %", f"MRR@{k}", "95 %", f"NDCG@{k}", f"F1@{k}", "propose µs", "learn µs"]
    lines += _table(head, [_quality(name, entry, k) for name, entry in entries.items()])
    first = next(iter(entries.values()))
    if "mean over windows" in first:
        lines += ["", f"mean over {len(first['windows'])} windows"]
        rows = [
            [name, *(f"{entry['mean over windows'][f'{m}@{k}']:.4f}" for m in ("recall", "mrr", "ndcg"))]
            for name, entry in entries.items()
        ]
        lines += _table(["", f"recall@{k}", f"MRR@{k}", f"NDCG@{k}"], rows)
    better = [(name, key, e) for name, e in entries.items() for key in e if key.endswith("is better by")]
    if better:
        lines += ["", better[0][1]]
        rows = [[f"than {name}", *_difference(e[key])] for name, key, e in better]
        lines += _table(["", f"recall@{k}", "95 %", f"MRR@{k}", "95 %", f"NDCG@{k}", "95 %"], rows)
    lines += ["", "lists"]
    about = ("coverage", "gini", "novelty", "diversity", "popularity_bias")
    rows = [
        [name, *(f"{entry[a]:.3f}" for a in about), f"{entry['model_bytes'] / 1e6:.1f}"]
        for name, entry in entries.items()
    ]
    lines += _table(["", "coverage", "Gini", "novelty, bits", "diversity", "pop. bias", "model, MB"], rows)
    lines += ["", f"recall@{k} / MRR@{k} by segment"]
    rows = [
        [
            part,
            f"{figures['count']:,}",
            *(_pair(entry["segments"][part]) for entry in entries.values()),
        ]
        for part, figures in first["segments"].items()
    ]
    lines += _table(["", "predictions", *entries], rows)
    return "\n".join(lines)


def _quality(name: str, entry: Mapping[str, Any], k: int) -> list[str]:
    return [
        name,
        f"{entry[f'recall@{k}']:.4f}",
        _ends(entry["intervals"][f"recall@{k}"]),
        f"{entry[f'mrr@{k}']:.4f}",
        _ends(entry["intervals"][f"mrr@{k}"]),
        f"{entry[f'ndcg@{k}']:.4f}",
        f"{entry[f'f1@{k}']:.4f}",
        f"{entry['propose_us']:.0f}",
        f"{entry['learn_us']:.1f}",
    ]


def _difference(by: Mapping[str, Any]) -> list[str]:
    return [text for one in by.values() for text in (f"{one['mean']:+.4f}", _ends(one["interval"]))]


def _ends(interval: Sequence[float]) -> str:
    return f"{interval[0]:.4f} to {interval[1]:.4f}"


def _pair(figures: Mapping[str, float]) -> str:
    return f"{figures['recall']:.4f} / {figures['mrr']:.4f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[c]) for row in (head, *rows)) for c in range(len(head))]
    return [
        "  ".join(
            cell.ljust(w) if c == 0 else cell.rjust(w)
            for c, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in (head, *rows)
    ]
