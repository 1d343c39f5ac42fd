"""From ranks to figures: overall, by window, by segment, over time, each difference with its interval."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.core import Example
from models.evaluation.bootstrap import interval, resampled_means
from models.evaluation.facts import Facts, Flags
from models.evaluation.metrics import Quality, Values, fading_means, gains, hits, reciprocal_ranks
from models.evaluation.run import Outcome, Result

NEW_USER, LIGHT_USER = 5, 20
"""Events before: fewer is a new user, fewer than the second a light one, else a heavy one."""
NEW_ITEM = 10
"""Examples learnt: fewer is a new item."""
POINTS = 200
"""Of a line over time, at the most."""
FADING = 20
"""The fading window is this part of the predictions, at least 100 of them."""

METRICS = {"recall": hits, "mrr": reciprocal_ranks, "ndcg": gains}


def segments(examples: Sequence[Example], facts: Facts, result: Result) -> dict[str, Flags]:
    """Which predictions belong to which segment, by name."""
    scored, item = result.scored, result.item_events
    user = facts.user_events[scored]
    again, repeat = facts.again[scored], facts.repeat[scored]
    found = {
        "user: new": user < NEW_USER,
        "user: light": (user >= NEW_USER) & (user < LIGHT_USER),
        "user: heavy": user >= LIGHT_USER,
        "item: not learnt yet": item == 0,
        "item: new": (item > 0) & (item < NEW_ITEM),
        "item: known": item >= NEW_ITEM,
        "target: latest item": repeat,
        "target: repeat": again & ~repeat,
        "target: novel": ~again,
    }
    types = np.array([examples[n].type for n in scored.tolist()], dtype=object)
    found |= {f"type: {name}": types == name for name in sorted(set(types.tolist()))}
    return {name: flags for name, flags in found.items() if flags.any()}


def summarise(
    result: Result, examples: Sequence[Example], facts: Facts, ks: Sequence[int], seed: int
) -> dict[str, Any]:
    """All figures of a run, ready for JSON; the first k of `ks` is the main one."""
    k, scored = ks[0], result.scored
    users = facts.users[scored]
    names = list(result.outcomes)
    columns = np.stack(
        [metric(o.ranks, k) for o in result.outcomes.values() for metric in METRICS.values()], axis=1
    )
    means = resampled_means(users, columns, seed)
    parts = segments(examples, facts, result)
    found: dict[str, Any] = {
        "predictions": len(scored),
        "users": len(np.unique(users)),
        "learnt": result.learnt,
        "items": result.items,
        "seconds": round(result.seconds, 2),
        "at": k,
        "recommenders": {},
    }
    for n, (name, outcome) in enumerate(result.outcomes.items()):
        mine = {
            metric: [round(end, 5) for end in interval(means[:, n * len(METRICS) + m])]
            for m, metric in enumerate(METRICS)
        }
        entry = _figures(outcome, ks, mine, result)
        entry["segments"] = {part: _short(outcome.ranks[flags], k) for part, flags in parts.items()}
        if n:
            ahead = means[:, : len(METRICS)] - means[:, n * len(METRICS) : (n + 1) * len(METRICS)]
            base = Quality.of(result.outcomes[names[0]].ranks, k)
            this = Quality.of(outcome.ranks, k)
            entry[f"{names[0]} is better by"] = {
                metric: {
                    "mean": round(getattr(base, metric) - getattr(this, metric), 5),
                    "interval": [round(end, 5) for end in interval(ahead[:, m])],
                }
                for m, metric in enumerate(METRICS)
            }
        found["recommenders"][name] = entry
    found["over_time"] = over_time(result, facts, k)
    return found


def _figures(
    outcome: Outcome, ks: Sequence[int], intervals: Mapping[str, list[float]], result: Result
) -> dict[str, Any]:
    entry: dict[str, Any] = {}
    for k in ks:
        quality = Quality.of(outcome.ranks, k)
        for metric in (*METRICS, "f1"):
            entry[f"{metric}@{k}"] = round(getattr(quality, metric), 5)
    entry["intervals"] = {f"{metric}@{ks[0]}": ends for metric, ends in intervals.items()}
    windows = np.unique(result.windows)
    if len(windows) > 1:
        by_window = {
            int(window): _short(outcome.ranks[result.windows == window], ks[0]) for window in windows
        }
        entry["mean over windows"] = {
            f"{metric}@{ks[0]}": round(float(np.mean([w[metric] for w in by_window.values()])), 5)
            for metric in METRICS
        }
        entry["windows"] = by_window
    entry |= {name: round(value, 5) for name, value in outcome.lists.items()}
    if outcome.calibration is not None:
        entry["calibration"] = outcome.calibration
    entry["propose_us"] = round(1e6 * outcome.propose_s / max(len(outcome.ranks), 1), 1)
    entry["learn_us"] = round(1e6 * outcome.learn_s / max(result.learnt, 1), 1)
    entry["model_bytes"] = outcome.bytes
    return entry


def _short(ranks: NDArray[np.int32], k: int) -> dict[str, float]:
    quality = Quality.of(ranks, k)
    return {"count": len(ranks)} | {metric: round(getattr(quality, metric), 5) for metric in METRICS}


def over_time(result: Result, facts: Facts, k: int) -> dict[str, Any]:
    """Recall@k and MRR@k in a fading window, at up to `POINTS` times, for each recommender."""
    n = len(result.scored)
    window = max(n / FADING, 100.0)
    first = min(window / 10, (n - 1) / 2)  # a mean of fewer says nothing, and stretches the axis
    at = np.unique(np.linspace(first, n - 1, min(n, POINTS)).astype(np.int64)) if n else np.zeros(0, np.int64)

    def line(values: Values) -> list[float]:
        return [round(float(v), 5) for v in fading_means(values, window)[at]]

    return {
        "time": facts.times[result.scored[at]].tolist(),
        "fading_window": round(window),
        "recall": {name: line(hits(o.ranks, k)) for name, o in result.outcomes.items()},
        "mrr": {name: line(reciprocal_ranks(o.ranks, k)) for name, o in result.outcomes.items()},
    }
