"""From ranks to metrics: overall, by window, by segment, over time, and each difference with its interval."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.core import Example
from models.evaluation.bootstrap import percentile_interval, resampled_means
from models.evaluation.example_columns import ExampleColumns
from models.evaluation.metrics import Quality, Values, fading_means, gains, hits, reciprocal_ranks
from models.evaluation.run import RecommenderResult, RunResult
from models.evaluation.segments import segments

POINTS = 200
"""Points of a line over time, at most."""
FADING = 20
"""The fading window is this part of the predictions, at least 100 of them."""

METRICS = {"recall": hits, "mrr": reciprocal_ranks, "ndcg": gains}


def summarise(
    result: RunResult, examples: Sequence[Example], columns: ExampleColumns, ks: Sequence[int], seed: int
) -> dict[str, Any]:
    """All metrics of a run, ready for JSON; the first k of `ks` is the one of intervals and segments.

    seed: of the resamples that the intervals are computed from.
    """
    k = ks[0]
    users = columns.users[result.predicted]
    names = list(result.recommenders)
    values = np.stack(
        [metric(r.ranks, k) for r in result.recommenders.values() for metric in METRICS.values()], axis=1
    )
    means = resampled_means(users, values, seed)
    masks = segments(examples, columns, result)
    summary: dict[str, Any] = {
        "predictions": len(result.predicted),
        "users": len(np.unique(users)),
        "learnt": result.learnt,
        "items": result.items,
        "seconds": round(result.seconds, 2),
        "at": k,
        "recommenders": {},
    }
    first = Quality.of(result.recommenders[names[0]].ranks, k)
    first_means = means[:, : len(METRICS)]
    for n, (name, measured) in enumerate(result.recommenders.items()):
        own_means = means[:, n * len(METRICS) : (n + 1) * len(METRICS)]
        intervals = {metric: _interval(own_means[:, m]) for m, metric in enumerate(METRICS)}
        entry = _metrics(measured, ks, intervals, result)
        entry["segments"] = {part: _short(measured.ranks[mask], k) for part, mask in masks.items()}
        if n:
            quality = Quality.of(measured.ranks, k)
            entry[f"{names[0]} is better by"] = {
                metric: {
                    "mean": round(getattr(first, metric) - getattr(quality, metric), 5),
                    "interval": _interval(first_means[:, m] - own_means[:, m]),
                }
                for m, metric in enumerate(METRICS)
            }
        summary["recommenders"][name] = entry
    summary["over_time"] = over_time(result, columns, k)
    return summary


def _interval(means: Values) -> list[float]:
    return [round(end, 5) for end in percentile_interval(means)]


def _metrics(
    measured: RecommenderResult,
    ks: Sequence[int],
    intervals: Mapping[str, list[float]],
    result: RunResult,
) -> dict[str, Any]:
    entry: dict[str, Any] = {}
    for k in ks:
        quality = Quality.of(measured.ranks, k)
        for metric in (*METRICS, "f1"):
            entry[f"{metric}@{k}"] = round(getattr(quality, metric), 5)
    entry["intervals"] = {f"{metric}@{ks[0]}": ends for metric, ends in intervals.items()}
    windows = np.unique(result.windows)
    if len(windows) > 1:
        by_window = {
            int(window): _short(measured.ranks[result.windows == window], ks[0]) for window in windows
        }
        entry["mean over windows"] = {
            f"{metric}@{ks[0]}": round(float(np.mean([w[metric] for w in by_window.values()])), 5)
            for metric in METRICS
        }
        entry["windows"] = by_window
    entry |= {name: round(value, 5) for name, value in measured.lists.items()}
    if measured.catalog is not None:
        entry["catalog"] = measured.catalog
    if measured.calibration is not None:
        entry["calibration"] = measured.calibration
    entry["propose_us"] = round(1e6 * measured.propose_s / max(len(measured.ranks), 1), 1)
    entry["learn_us"] = round(1e6 * measured.learn_s / max(result.learnt, 1), 1)
    entry["model_bytes"] = measured.model_bytes
    return entry


def _short(ranks: NDArray[np.int32], k: int) -> dict[str, float]:
    quality = Quality.of(ranks, k)
    return {"count": len(ranks)} | {metric: round(getattr(quality, metric), 5) for metric in METRICS}


def over_time(result: RunResult, columns: ExampleColumns, k: int) -> dict[str, Any]:
    """Recall@k and MRR@k in a fading window, at up to `POINTS` times, for each recommender."""
    n = len(result.predicted)
    window = max(n / FADING, 100.0)
    start = min(window / 10, (n - 1) / 2)  # a mean of fewer says nothing, and stretches the axis
    at = np.unique(np.linspace(start, n - 1, min(n, POINTS)).astype(np.int64)) if n else np.zeros(0, np.int64)

    def line(values: Values) -> list[float]:
        return [round(float(v), 5) for v in fading_means(values, window)[at]]

    return {
        "time": columns.times[result.predicted[at]].tolist(),
        "fading_window": round(window),
        "recall": {name: line(hits(r.ranks, k)) for name, r in result.recommenders.items()},
        "mrr": {name: line(reciprocal_ranks(r.ranks, k)) for name, r in result.recommenders.items()},
    }
