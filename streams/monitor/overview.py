"""What the overview says of the whole cluster, from what every process said of itself.  Pure; times are ms.

Rates and ages are of the latest ten seconds, counts of the span that was asked for.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from streams.monitor.counts import Histogram
from streams.monitor.history import SPANS, WINDOW_MS, Heartbeat, Point, add_up, labelled, total

QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
OUTCOMES = ("accepted", "duplicates", "late", "replayed")


def overview(heartbeats: Iterable[Heartbeat], points: Iterable[Point], span: str) -> dict[str, Any]:
    """The cluster at a glance; the same whichever worker is asked."""
    serving = [one for one in heartbeats if one.row.process and one.row.process.kind == "serving"]
    learning = [one for one in heartbeats if one.row.process and one.row.process.kind == "learning"]
    alive = [one for one in serving if one.alive]
    latest: dict[str, float] = {}
    for one in alive:
        for name, count in one.row.counts.items():
            latest[name] = latest.get(name, 0) + count
    counts = add_up(points)
    return {
        "range": span,
        "ranges": list(SPANS),
        "events_per_s": per_s(events(latest)),
        "recommendations_per_s": per_s(latest.get("recommendations", 0)),
        "age_ms": quantiles(latest),
        "model": _model(alive),
        "learner": _learner([one for one in learning if one.alive]),
        "hits": {
            "predictions": counts.get("predictions", 0),
            "recommended": counts.get("recommended_hits", 0),
            "popularity": counts.get("popular_hits", 0),
        },
        "counts": {name: counts.get(name, 0) for name in (*OUTCOMES, "recommendations", "rebalances")}
        | {"dead_letters": total(counts, "dead_letter"), "users": _sum(alive, "users")},
        "dead_letters": labelled(counts, "dead_letter"),
        "lag": _lag(alive),
        "memory_bytes": _sum((*alive, *learning), "memory_bytes"),
        "disk_bytes": _sum((*alive, *learning), "disk_bytes"),
        "processes": [process(one) for one in (*serving, *learning)],
    }


def process(one: Heartbeat) -> dict[str, Any]:
    """One process, dead or alive."""
    about, gauges = one.row.process, one.row.gauges
    assert about is not None  # a row `now` says it
    state = "silent" if not one.alive else "ready" if about.ready else "starting"
    if state == "ready" and about.kind == "learning":
        state = "learns" if gauges.get("learner_active") else "stands by"
    return {
        "name": one.process.partition("/")[2],
        "kind": about.kind,
        "url": about.url,
        "state": state,
        "waiting_for": about.waiting_for,
        "silent_s": round(one.silent_s, 1),
        "uptime_s": round((one.row.until - about.started) / 1000, 1),
        "partitions": about.partitions,
        "events_per_s": per_s(events(one.row.counts)),
        "lag": sum(labelled(gauges, "lag").values()) + gauges.get("learner_lag", 0),
        "checkpoint": gauges.get("model_checkpoint"),
        "memory_bytes": gauges.get("memory_bytes"),
        "disk_bytes": gauges.get("disk_bytes"),
    }


def events(counts: Mapping[str, float]) -> float:
    """Everything that came in, whatever became of it."""
    return sum(counts.get(name, 0) for name in OUTCOMES) + total(counts, "dead_letter")


def per_s(count: float) -> float:
    """Of the latest window."""
    return round(count * 1000 / WINDOW_MS, 2)


def quantiles(counts: Mapping[str, float]) -> dict[str, float | None]:
    """Of the ages among the counts."""
    ages = Histogram.of(counts)
    return {name: ages.quantile(share) for name, share in QUANTILES.items()}


def _model(alive: list[Heartbeat]) -> dict[str, Any]:
    """What is recommended from: the newest checkpoint, and the oldest age that a worker has."""

    def most(name: str) -> float | None:
        return max((one.row.gauges[name] for one in alive if name in one.row.gauges), default=None)

    return {
        "checkpoint": int(most("model_checkpoint") or 0),
        "age_ms": most("model_age_ms"),
        "items": int(most("model_items") or 0),
        "torn": int(most("model_torn") or 0),
    }


def _learner(alive: list[Heartbeat]) -> dict[str, Any] | None:
    """The one that learns; None where none does."""
    for one in alive:
        gauges = one.row.gauges
        if gauges.get("learner_active"):
            return {
                "name": one.process.partition("/")[2],
                "checkpoint": int(gauges.get("model_checkpoint", 0)),
                "publish_age_ms": gauges.get("model_age_ms"),
                "lag": int(gauges.get("learner_lag", 0)),
                "examples_per_s": per_s(one.row.counts.get("examples", 0)),
            }
    return None


def _lag(alive: list[Heartbeat]) -> dict[str, int]:
    """Partition ▶ events not served yet; who spoke last knows."""
    found: dict[str, int] = {}
    for one in sorted(alive, key=lambda one: one.row.until):
        found |= {partition: int(lag) for partition, lag in labelled(one.row.gauges, "lag").items()}
    return {partition: found[partition] for partition in sorted(found, key=int)}


def _sum(several: Iterable[Heartbeat], gauge: str) -> int | None:
    """None until all of the living know."""
    values = [one.row.gauges.get(gauge) for one in several if one.alive]
    return None if not values or None in values else int(sum(v for v in values if v is not None))
