"""Quality of the recommendation lists, from what the learner counts.  Pure.

The counts and their names are those of `models.evaluation.live`; they add up over processes and time.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from models.evaluation.intervals import mean_interval, wilson_interval
from models.evaluation.live import FROZEN, NOW, SEGMENTED, SHOWN, K, by_recommender
from models.evaluation.segments import LIGHT_USER, NEW_ITEM, NEW_USER
from streams.monitor.history import SPANS, Heartbeat, Point, add_up, labelled, slots

LABELS = {
    NOW: "Current model",
    SHOWN: "Shown to users",
    FROZEN: "Frozen twin",
    "blend": "Fixed blend",
    "popularity": "Popularity",
}
"""Labels of the recommenders that come first, in this order; the other generators follow by recall."""
BASELINES = (FROZEN, "popularity", "blend")
"""Recommenders over which the lift of the current model is reported."""
FADING = 0.9
"""Weight of a slot relative to the next: the plots show a fading mean (Gama et al. 2013)."""
TYPE = "type "
"""Prefix of the segments that are event types."""

Counts = Mapping[str, float]


def quality(heartbeats: Iterable[Heartbeat], points: Iterable[Point], span: str) -> dict[str, Any]:
    """The measured quality; the same on every worker."""
    counts = add_up(points)
    recommenders = by_recommender(counts)
    gauges = _learner_gauges(heartbeats)
    segmented = [name for name in LABELS if name in SEGMENTED and name in recommenders]
    segments = sorted({segment for name in segmented for segment in recommenders[name]} - {"all"})
    return {
        "range": span,
        "ranges": list(SPANS),
        "k": K,
        "labels": LABELS,
        "recommenders": [
            {"name": name} | _metrics(recommenders[name]["all"]) for name in _ordered(recommenders)
        ],
        "lifts": [_lift(name, counts) for name in BASELINES if f"lift:{name}|predictions" in counts],
        "taken": _taken(recommenders.get(SHOWN, {}), counts.get("recommendations", 0)),
        "thresholds": {"new_user": NEW_USER, "light_user": LIGHT_USER, "new_item": NEW_ITEM},
        "segments": [
            {
                "name": segment,
                "recommenders": {
                    name: _metrics(recommenders[name][segment])
                    for name in segmented
                    if segment in recommenders[name]
                },
            }
            for segment in segments
        ],
        "rules": {name: int(count) for name, count in labelled(counts, "rule_dropped").items()},
        "lists": labelled(gauges, "lists"),
        "twin_age_ms": labelled(gauges, "twin_age_ms").get(FROZEN),
    }


def plots(points: Sequence[Point], span: str, now: int) -> dict[str, Any]:
    """Fading means over time, in the form of `/plots.json`."""
    by_time = {point.time: point.counts for point in points}
    times = list(slots(SPANS[span], now))
    names = {name for counts in by_time.values() for name in counts}
    return {
        "range": span,
        "step_s": SPANS[span].step_ms // 1000,
        "times": [time // 1000 for time in times],
        "plots": [
            {
                "name": plot.name,
                "title": plot.title,
                "unit": plot.unit,
                "lines": [
                    {
                        "label": label,
                        "values": _fading_mean(times, by_time, prefix, plot.added, plot.subtracted),
                    }
                    for label, prefix in plot.lines(names)
                ],
            }
            for plot in _PLOTS
        ],
    }


class _Plot(NamedTuple):
    """A plot of fading means; `lines` gives the label of each line and the prefix of its counts."""

    name: str
    title: str
    unit: str
    lines: Callable[[Collection[str]], list[tuple[str, str]]]
    added: str
    """The count that is added up."""
    subtracted: str = ""
    """The count that is subtracted from it, if any."""


def _recommenders(names: Collection[str]) -> list[tuple[str, str]]:
    """A line for each recommender."""
    prefix, suffix = "quality:", "|all|predictions"
    measured = {
        name[len(prefix) : -len(suffix)]
        for name in names
        if name.startswith(prefix) and name.endswith(suffix)
    }
    ordered = [name for name in LABELS if name in measured] + sorted(measured - LABELS.keys())
    return [(LABELS.get(name, name), f"{prefix}{name}|all|") for name in ordered]


def _baselines(names: Collection[str]) -> list[tuple[str, str]]:
    """A line for each baseline."""
    compared = [name for name in BASELINES if f"lift:{name}|predictions" in names]
    return [(f"over {LABELS[name].lower()}", f"lift:{name}|") for name in compared]


_PLOTS = (
    _Plot("lift", f"Lift: recall@{K} of the current model minus the baseline's", "points", _baselines,
          "won", "lost"),
    _Plot("recall", f"Recall@{K}", "%", _recommenders, "hits"),
    _Plot("mrr", f"MRR@{K}", "%", _recommenders, "reciprocal_ranks"),
    _Plot("ndcg", f"NDCG@{K}", "%", _recommenders, "gains"),
)  # fmt: skip


def _fading_mean(
    times: Iterable[int], by_time: Mapping[int, Counts], prefix: str, added: str, subtracted: str
) -> list[float | None]:
    """The fading mean over the predictions at each time, in hundredths; None where nothing was counted."""
    total = predictions = 0.0
    values: list[float | None] = []
    for time in times:
        counts = by_time.get(time, {})
        total = FADING * total + counts.get(prefix + added, 0) - counts.get(prefix + subtracted, 0)
        predictions = FADING * predictions + counts.get(prefix + "predictions", 0)
        values.append(round(100 * total / predictions, 2) if time in by_time and predictions >= 1 else None)
    return values


def _taken(shown: Mapping[str, Counts], lists: float) -> dict[str, Any]:
    """Conversion of the lists that were sent, by type of the event that took an item from its user's list.

    A user has one list until the next event brings another, so that no list is counted twice.
    """
    return {
        "lists": lists,
        "by_type": [
            {
                "type": segment.removeprefix(TYPE),
                "events": sums.get("predictions", 0),
                "taken": sums.get("hits", 0),
                "of_lists": sums.get("hits", 0) / lists if lists else 0.0,
            }
            for segment, sums in sorted(shown.items(), key=lambda entry: -entry[1].get("hits", 0))
            if segment.startswith(TYPE)
        ],
    }


def _metrics(sums: Counts) -> dict[str, float]:
    """Metrics of one recommender in one segment."""
    count, hits = sums.get("predictions", 0), sums.get("hits", 0)
    low, high = wilson_interval(hits, count)
    return {
        "predictions": count,
        "recall": hits / count if count else 0.0,
        "recall_low": low,
        "recall_high": high,
        "mrr": sums.get("reciprocal_ranks", 0) / count if count else 0.0,
        "ndcg": sums.get("gains", 0) / count if count else 0.0,
    }


def _lift(baseline: str, counts: Counts) -> dict[str, Any]:
    """Recall of the current model minus the baseline's, on the same predictions."""
    count, won, lost = (counts.get(f"lift:{baseline}|{what}", 0) for what in ("predictions", "won", "lost"))
    low, high = mean_interval(won - lost, won + lost, count)
    lift = (won - lost) / count if count else 0.0
    return {"over": baseline, "predictions": count, "lift": lift, "low": low, "high": high}


def _ordered(by_recommender: Mapping[str, Mapping[str, Counts]]) -> list[str]:
    rest = sorted(
        by_recommender.keys() - LABELS.keys(),
        key=lambda name: -_metrics(by_recommender[name]["all"])["recall"],
    )
    return [name for name in LABELS if name in by_recommender] + rest


def _learner_gauges(heartbeats: Iterable[Heartbeat]) -> Mapping[str, float]:
    """Gauges of the active learner."""
    for heartbeat in heartbeats:
        if heartbeat.alive and heartbeat.row.gauges.get("learner_active"):
            return heartbeat.row.gauges
    return {}
