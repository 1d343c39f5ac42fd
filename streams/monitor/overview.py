"""The state of the whole cluster, from the heartbeats of all processes.  Pure; times are ms.

Rates and ages are of the last ten seconds, counts of the requested span.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from streams.kafka.repairs import KINDS
from streams.messages import Process
from streams.monitor.counts import Histogram
from streams.monitor.history import SPANS, WINDOW_MS, Heartbeat, Point, add_up, labelled, total

QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
LOST = ("lost_events", "lost_examples")
"""Counts, by partition, of records that were deleted before they were read."""
OUTCOMES = ("accepted", "duplicates", "late", "replayed")


def overview(heartbeats: Iterable[Heartbeat], points: Iterable[Point], span: str) -> dict[str, Any]:
    """The cluster at a glance; the same on every worker."""
    by_kind: dict[str, list[Heartbeat]] = {"serving": [], "learning": []}
    for heartbeat in heartbeats:
        if heartbeat.row.process and heartbeat.row.process.kind in by_kind:
            by_kind[heartbeat.row.process.kind].append(heartbeat)
    serving, learning = by_kind.values()
    alive = [heartbeat for heartbeat in serving if heartbeat.alive]
    latest: dict[str, float] = {}
    for heartbeat in alive:
        for name, count in heartbeat.row.counts.items():
            latest[name] = latest.get(name, 0) + count
    counts = add_up(points)
    return {
        "range": span,
        "ranges": list(SPANS),
        "events_per_s": per_s(events(latest)),
        "recommendations_per_s": per_s(latest.get("recommendations", 0)),
        "age_ms": quantiles(latest),
        "model": _model(alive),
        "catalog": _catalog(alive),
        "learner": _learner(heartbeat for heartbeat in learning if heartbeat.alive),
        "hits": {
            "predictions": counts.get("predictions", 0),
            "recommended": counts.get("recommended_hits", 0),
            "popularity": counts.get("popular_hits", 0),
        },
        "counts": {
            name: counts.get(name, 0) for name in (*OUTCOMES, "recommendations", "skipped", "rebalances")
        }
        | {"dead_letters": total(counts, "dead_letter"), "users": _sum(alive, "users")}
        | {name: total(counts, name) for name in LOST},
        "dead_letters": labelled(counts, "dead_letter"),
        "lost": {name: labelled(counts, name) for name in LOST if total(counts, name)},
        "repairs": [
            {"kind": kind, "what": KINDS.get(kind, kind), "count": count}
            for kind, count in labelled(counts, "repairs").items()
        ],
        "lag": _lag(alive),
        "memory_bytes": _sum((*alive, *learning), "memory_bytes"),
        "disk_bytes": _sum((*alive, *learning), "disk_bytes"),
        "processes": [process(heartbeat) for heartbeat in (*serving, *learning)],
    }


def process(heartbeat: Heartbeat) -> dict[str, Any]:
    """One process, running or silent."""
    about, gauges = heartbeat.row.process, heartbeat.row.gauges
    assert about is not None  # every heartbeat has it
    return {
        "name": _name(heartbeat),
        "kind": about.kind,
        "url": about.url,
        "state": _state(heartbeat, about),
        "waiting_for": about.waiting_for,
        "problems": about.problems,
        "differences": about.differences,
        "silent_s": round(heartbeat.age_s, 1),
        "uptime_s": round(max(heartbeat.row.until - about.started, 0) / 1000, 1),
        "partitions": about.partitions,
        "events_per_s": per_s(events(heartbeat.row.counts)),
        "lag": sum(labelled(gauges, "lag").values()) + gauges.get("learner_lag", 0),
        "checkpoint": gauges.get("model_checkpoint"),
        "memory_bytes": gauges.get("memory_bytes"),
        "disk_bytes": gauges.get("disk_bytes"),
    }


def events(counts: Mapping[str, float]) -> float:
    """Number of records that came in, with any outcome."""
    return sum(counts.get(name, 0) for name in OUTCOMES) + total(counts, "dead_letter")


def per_s(count: float) -> float:
    """Rate of a count over the last `WINDOW_MS`."""
    return round(count * 1000 / WINDOW_MS, 2)


def quantiles(counts: Mapping[str, float]) -> dict[str, float | None]:
    """Quantiles of the ages among the counts, ms."""
    ages = Histogram.from_counts(counts)
    return {name: ages.quantile(share) for name, share in QUANTILES.items()}


def _state(heartbeat: Heartbeat, about: Process) -> str:
    if not heartbeat.alive:
        return "silent"
    if not about.ready:
        return "not ready" if about.problems else "starting"
    if about.kind == "learning":
        return "learns" if heartbeat.row.gauges.get("learner_active") else "stands by"
    return "ready"


def _name(heartbeat: Heartbeat) -> str:
    return heartbeat.process.partition("/")[2]


def _model(alive: list[Heartbeat]) -> dict[str, Any]:
    """The served model: the newest checkpoint, and the oldest age that a worker has."""

    def highest(name: str) -> float | None:
        gauges = [heartbeat.row.gauges for heartbeat in alive]
        return max((values[name] for values in gauges if name in values), default=None)

    return {
        "checkpoint": int(highest("model_checkpoint") or 0),
        "age_ms": highest("model_age_ms"),
        "items": int(highest("model_items") or 0),
        "torn": int(highest("model_torn") or 0),
    }


def _catalog(alive: list[Heartbeat]) -> dict[str, int]:
    """Items of the catalog, and those without a row, as the worker that knows most has them."""
    return {
        name: int(max((beat.row.gauges.get(f"catalog_{name}", 0) for beat in alive), default=0))
        for name in ("items", "without_row")
    }


def _learner(alive: Iterable[Heartbeat]) -> dict[str, Any] | None:
    """The active learner; None if there is none."""
    for heartbeat in alive:
        gauges = heartbeat.row.gauges
        if gauges.get("learner_active"):
            return {
                "name": _name(heartbeat),
                "checkpoint": int(gauges.get("model_checkpoint", 0)),
                "publish_age_ms": gauges.get("model_age_ms"),
                "lag": int(gauges.get("learner_lag", 0)),
                "examples_per_s": per_s(heartbeat.row.counts.get("examples", 0)),
            }
    return None


def _lag(alive: list[Heartbeat]) -> dict[str, int]:
    """Events not served yet by partition; the worker that wrote last decides."""
    lags: dict[str, int] = {}
    for heartbeat in sorted(alive, key=lambda heartbeat: heartbeat.row.until):
        lags |= {partition: int(lag) for partition, lag in labelled(heartbeat.row.gauges, "lag").items()}
    return {partition: lags[partition] for partition in sorted(lags, key=int)}


def _sum(heartbeats: Iterable[Heartbeat], gauge: str) -> int | None:
    """Sum of a gauge over the running processes; None until all of them have it."""
    values = [heartbeat.row.gauges.get(gauge) for heartbeat in heartbeats if heartbeat.alive]
    return None if not values or None in values else int(sum(v for v in values if v is not None))
