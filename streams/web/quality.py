"""What the page /quality says: how good the lists are, from what the learner counted.  Pure.

The counts and their names are those of `models.evaluation.live`; they add up over processes and time.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from models.evaluation import intervals
from models.evaluation.live import FROZEN, NOW, SEGMENTED, SHOWN, K, parted
from streams.history import SPANS, Point, Said, add_up, labelled, slots

FIRST = (NOW, SHOWN, FROZEN, "blend", "popularity")
"""In this order; the rest by their figures."""
FADING = 0.9
"""Of a slot's weight, from one to the next: the plots show a fading mean (Gama et al. 2013)."""
Counts = Mapping[str, float]


def quality(said: Iterable[Said], points: Iterable[Point], span: str) -> dict[str, Any]:
    """The page; the same whichever worker is asked."""
    counts = add_up(points)
    found = parted(counts)
    gauges = _gauges(said)
    in_parts = [who for who in FIRST if who in SEGMENTED and who in found]
    segments = sorted({segment for who in in_parts for segment in found[who]} - {"all"})
    return {
        "range": span,
        "ranges": list(SPANS),
        "k": K,
        "recommenders": [{"name": who} | _figures(found[who]["all"]) for who in _ordered(found)],
        "lifts": [
            _lift(who, counts)
            for who in (FROZEN, "popularity", "blend")
            if f"lift:{who}|predictions" in counts
        ],
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
    by_time = {point.time: parted(point.counts) for point in points}
    times = list(slots(SPANS[span], now))
    faded: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    columns: dict[str, list[dict[str, float]]] = {name: [] for name, _ in _PLOTTED}
    for time in times:
        for sums in faded.values():
            for what in sums:
                sums[what] *= FADING
        for who, segments in by_time.get(time, {}).items():
            for what, value in segments.get("all", {}).items():
                faded[who][what] += value
        for name, what in _PLOTTED:
            columns[name].append(
                {
                    who: round(100 * sums[what] / sums["predictions"], 2)
                    for who, sums in faded.items()
                    if time in by_time and sums["predictions"] >= 1
                }
            )
    return {
        "range": span,
        "step_s": SPANS[span].step_ms // 1000,
        "times": [time // 1000 for time in times],
        "plots": [
            {"name": name, "title": f"{name}@{K}", "unit": "%", "lines": _lines(columns[name])}
            for name, _ in _PLOTTED
        ],
    }


_PLOTTED = (("Recall", "hits"), ("MRR", "reciprocal_ranks"), ("NDCG", "gains"))


def _lines(column: Sequence[Mapping[str, float]]) -> list[dict[str, Any]]:
    names = dict.fromkeys(who for lines in column for who in lines)
    ordered = [who for who in FIRST if who in names] + [who for who in names if who not in FIRST]
    return [{"label": who, "values": [lines.get(who) for lines in column]} for who in ordered]


def _figures(sums: Counts) -> dict[str, float]:
    """Of one recommender in one segment."""
    count, hits = sums.get("predictions", 0), sums.get("hits", 0)
    low, high = intervals.share(hits, count)
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
    count, total, squares = (
        counts.get(f"lift:{who}|{what}", 0) for what in ("predictions", "difference", "squares")
    )
    low, high = intervals.mean(total, squares, count)
    lift = total / count if count else 0.0
    return {"over": who, "predictions": count, "lift": lift, "low": low, "high": high}


def _ordered(found: Mapping[str, Mapping[str, Counts]]) -> list[str]:
    rest = sorted(found.keys() - set(FIRST), key=lambda who: -_figures(found[who]["all"])["recall"])
    return [who for who in FIRST if who in found] + rest


def _gauges(said: Iterable[Said]) -> Mapping[str, float]:
    """Of the learner that learns."""
    for one in said:
        if one.alive and one.row.gauges.get("learner_active"):
            return one.row.gauges
    return {}
