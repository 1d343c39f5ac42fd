"""The plots of the overview: lines from points of the history.  A new plot is a line in `PLOTS`.  Pure."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from streams.monitor.history import HEARTBEAT_S, SPANS, Point, labelled, slots, total
from streams.monitor.overview import events, quantiles

MAX_LINES = 12
"""Lines of one plot; of more, the highest are shown."""

Value = float | None
Lines = Mapping[str, Value]
"""Value by label at one point."""


class Plot(NamedTuple):
    """`lines` gives the value of each line at a point."""

    name: str
    title: str
    unit: str
    lines: Callable[[Point], Lines]
    counted: bool = False
    """Whether a line without a value is 0 at a point where other lines have one."""


def _rates(point: Point) -> Lines:
    return {
        "events in": events(point.counts) / point.seconds,
        "recommendations out": point.counts.get("recommendations", 0) / point.seconds,
    }


def _ages(point: Point) -> Lines:
    return quantiles(point.counts)


def _lag(point: Point) -> Lines:
    """Lag by partition; the process that wrote last comes last and decides."""
    return {
        f"partition {p}": v for gauges in point.gauges.values() for p, v in labelled(gauges, "lag").items()
    }


def _dead_letters(point: Point) -> Lines:
    return labelled(point.counts, "dead_letter")


def _totals(*names: str) -> Callable[[Point], Lines]:
    """A line for each count."""
    return lambda point: {name.replace("_", " "): total(point.counts, name) for name in names}


def _gauge(name: str, scale: float = 1) -> Callable[[Point], Lines]:
    """A line for each process."""
    return lambda point: {p: gauges[name] * scale for p, gauges in point.gauges.items() if name in gauges}


def _partitions(point: Point) -> Lines:
    return {p: len(labelled(g, "lag")) for p, g in point.gauges.items() if p.startswith("serving/")}


PLOTS = (
    Plot("rates", "Events and recommendations", "/s", _rates),
    Plot("ages", "Age, event to recommendation", "ms", _ages),
    Plot("lag", "Lag by partition", "events", _lag),
    Plot("model_age", "Age of the model", "s", _gauge("model_age_ms", 1 / 1000)),
    Plot("checkpoint", "Checkpoint of the model", "", _gauge("model_checkpoint")),
    Plot("dead_letters", "Dead letters by reason", "records", _dead_letters, counted=True),
    Plot("dropped", "Duplicates and late events", "", _totals("duplicates", "late", "replayed")),
    Plot("workers", "Partitions of each worker", "", _partitions),
    Plot("rebalances", "Rebalances, all workers", "", _totals("rebalances")),
    Plot("memory", "Memory", "MiB", _gauge("memory_bytes", 1 / 2**20)),
    Plot("disk", "Disk", "MiB", _gauge("disk_bytes", 1 / 2**20)),
)


class PlotCache:
    """Draws the plots, and caches the lines of points that are the same objects as before."""

    def __init__(self) -> None:
        self._cached: dict[str, dict[int, tuple[Point, float, list[Lines]]]] = {}

    def draw(self, points: Sequence[Point], span: str, now: int) -> dict[str, Any]:
        """All plots of a span: `times` in seconds, and for each line a value or None at each time."""
        before, cached = self._cached.get(span, {}), {}
        for point in points:
            time, seconds = point.time, _covered(point, SPANS[span].step_ms, now)
            unchanged = time in before and before[time][0] is point and before[time][1] == seconds
            lines = before[time] if unchanged else (point, seconds, _lines(replace(point, seconds=seconds)))
            cached[time] = lines
        self._cached[span] = cached
        times = list(slots(SPANS[span], now))
        return {
            "range": span,
            "step_s": SPANS[span].step_ms // 1000,
            "times": [time // 1000 for time in times],
            "plots": [
                {
                    "name": plot.name,
                    "title": plot.title,
                    "unit": plot.unit,
                    "lines": _columns(
                        [cached[time][2][n] if time in cached else None for time in times], plot.counted
                    ),
                }
                for n, plot in enumerate(PLOTS)
            ],
        }


def _covered(point: Point, step_ms: int, now: int) -> float:
    """Seconds that the counts of a slot cover.

    The first heartbeat in a slot counts from the one before, up to `HEARTBEAT_S` earlier, and as much is
    missing at its end: a slot that is over covers its length.
    """
    return step_ms / 1000 if now >= point.time + step_ms else point.seconds + HEARTBEAT_S / 2


def _lines(point: Point) -> list[Lines]:
    return [{name: _rounded(v) for name, v in plot.lines(point).items()} for plot in PLOTS]


def _columns(rows: Sequence[Lines | None], counted: bool) -> list[dict[str, Any]]:
    """The highest `MAX_LINES` lines as columns, by label; None where there is no point."""
    names = sorted({name for lines in rows if lines for name in lines}, key=_natural)
    absent = 0 if counted else None
    columns = {name: [None if lines is None else lines.get(name, absent) for lines in rows] for name in names}
    if len(columns) > MAX_LINES:
        highest = sorted(columns, key=lambda name: -max(v or 0 for v in columns[name]))[:MAX_LINES]
        columns = {name: columns[name] for name in names if name in highest}
    return [{"label": name, "values": column} for name, column in columns.items()]


def _natural(label: str) -> list[Any]:
    """Natural sort key: `partition 10` comes after `partition 9`."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", label)]


def _rounded(value: Value) -> Value:
    return None if value is None else round(value, 2)
