"""What the page /quality says: how good the lists are, from what the learner counted.  Pure.

The counts and their names are those of `models.evaluation.live`; they add up over processes and time.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from models.evaluation.intervals import mean_interval, wilson_interval
from models.evaluation.live import FROZEN, NOW, SEGMENTED, SHOWN, K, by_recommender
from streams.monitor.history import SPANS, Heartbeat, Point, add_up, labelled, slots

WORDS = {
    NOW: "The model now",
    SHOWN: "What users were shown",
    FROZEN: "Frozen twin",
    "blend": "Fixed blend",
    "popularity": "What is popular",
}
"""Who is named first, in this order; the rest are generators, by their figures."""
COMPARED = (FROZEN, "popularity", "blend")
"""Over whom the lift is told."""
FADING = 0.9
"""Of a slot's weight, from one to the next: the plots show a fading mean (Gama et al. 2013)."""
TYPE = "type "
"""Segments of this name are event types."""
Counts = Mapping[str, float]


def quality(heartbeats: Iterable[Heartbeat], points: Iterable[Point], span: str) -> dict[str, Any]:
    """The page; the same whichever worker is asked."""
    counts = add_up(points)
    found = by_recommender(counts)
    gauges = _gauges(heartbeats)
    in_parts = [who for who in WORDS if who in SEGMENTED and who in found]
    segments = sorted({segment for who in in_parts for segment in found[who]} - {"all"})
    return {
        "range": span,
        "ranges": list(SPANS),
        "k": K,
        "labels": WORDS,
        "recommenders": [{"name": who} | _figures(found[who]["all"]) for who in _ordered(found)],
        "lifts": [_lift(who, counts) for who in COMPARED if f"lift:{who}|predictions" in counts],
        "taken": _taken(found.get(SHOWN, {}), counts.get("recommendations", 0)),
        "segments": [
            {
                "name": segment,
                "recommenders": {w: _figures(found[w][segment]) for w in in_parts if segment in found[w]},
            }
            for segment in segments
        ],
        "lists": labelled(gauges, "lists"),
        "twin_age_ms": labelled(gauges, "twin_age_ms").get(FROZEN),
    }


def plots(points: Sequence[Point], span: str, now: int) -> dict[str, Any]:
    """Fading means over time, as `/plots.json` has its lines."""
    by_time = {point.time: point.counts for point in points}
    times = list(slots(SPANS[span], now))
    named = {name for counts in by_time.values() for name in counts}
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
                        "values": _faded(times, by_time, before, plot.won, plot.lost),
                    }
                    for label, before in plot.lines(named)
                ],
            }
            for plot in _PLOTS
        ],
    }


class _Plot(NamedTuple):
    """A fading mean; `lines`: label of each, and what the names of its counts begin with."""

    name: str
    title: str
    unit: str
    lines: Callable[[Collection[str]], list[tuple[str, str]]]
    won: str
    """The count that speaks for it."""
    lost: str = ""
    """... and against."""


def _all(named: Collection[str]) -> list[tuple[str, str]]:
    """A line for everybody who made lists."""
    begin, end = "quality:", "|all|predictions"
    found = {name[len(begin) : -len(end)] for name in named if name.startswith(begin) and name.endswith(end)}
    ordered = [who for who in WORDS if who in found] + sorted(found - WORDS.keys())
    return [(WORDS.get(who, who), f"{begin}{who}|all|") for who in ordered]


def _lifts(named: Collection[str]) -> list[tuple[str, str]]:
    """A line for everybody who is compared with."""
    found = [who for who in COMPARED if f"lift:{who}|predictions" in named]
    return [(f"over {WORDS[who].lower()}", f"lift:{who}|") for who in found]


_PLOTS = (
    _Plot("lift", f"Lift: recall@{K} of the model now, less that of", "points", _lifts, "won", "lost"),
    _Plot("recall", f"Recall@{K}", "%", _all, "hits"),
    _Plot("mrr", f"MRR@{K}", "%", _all, "reciprocal_ranks"),
    _Plot("ndcg", f"NDCG@{K}", "%", _all, "gains"),
)


def _faded(
    times: Iterable[int], by_time: Mapping[int, Counts], before: str, won: str, lost: str
) -> list[float | None]:
    """The share of the predictions at each time, in hundredths; None where nobody said anything."""
    for_it, against_it, all_of_it = (before + what for what in (won, lost, "predictions"))
    total = count = 0.0
    values: list[float | None] = []
    for time in times:
        counts = by_time.get(time, {})
        total = FADING * total + counts.get(for_it, 0) - counts.get(against_it, 0)
        count = FADING * count + counts.get(all_of_it, 0)
        values.append(round(100 * total / count, 2) if time in by_time and count >= 1 else None)
    return values


def _taken(shown: Mapping[str, Counts], lists: float) -> dict[str, Any]:
    """What came of the lists that were sent: by the type of the event that took an item from its user's list.

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
            for segment, sums in sorted(shown.items(), key=lambda part: -part[1].get("hits", 0))
            if segment.startswith(TYPE)
        ],
    }


def _figures(sums: Counts) -> dict[str, float]:
    """Of one recommender in one segment."""
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


def _lift(who: str, counts: Counts) -> dict[str, Any]:
    """By how much more often the model as it is now has what came, than another had."""
    count, won, lost = (counts.get(f"lift:{who}|{what}", 0) for what in ("predictions", "won", "lost"))
    low, high = mean_interval(won - lost, won + lost, count)
    lift = (won - lost) / count if count else 0.0
    return {"over": who, "predictions": count, "lift": lift, "low": low, "high": high}


def _ordered(found: Mapping[str, Mapping[str, Counts]]) -> list[str]:
    rest = sorted(found.keys() - WORDS.keys(), key=lambda who: -_figures(found[who]["all"])["recall"])
    return [who for who in WORDS if who in found] + rest


def _gauges(heartbeats: Iterable[Heartbeat]) -> Mapping[str, float]:
    """Of the learner that learns."""
    for one in heartbeats:
        if one.alive and one.row.gauges.get("learner_active"):
            return one.row.gauges
    return {}
