"""The history of the cluster: each process's rows on the topic `metrics`, added up over processes.  Pure.

    totals -> Recorder -> rows -> topic `metrics` -> History -> points of the whole cluster

A process's history is a ring of slots for each span: keys repeat, so that the compacted topic is bounded.
Everything that is counted is a named count, also the ages, one count a bucket: rows of several processes add
up, and a new figure is a new name.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from msgspec.structs import replace

from models.units import HOUR_MS, MINUTE_MS, SECOND_MS
from streams.messages import MetricsRow

HEARTBEAT_S = 2.0
"""Interval between two heartbeats of a process."""
MISSED_AFTER_S = 8.0
"""Age of the last heartbeat at which a process counts as silent."""
LISTED_S = 3600.0
"""Age of the last heartbeat from which a process is no longer listed."""
WINDOW_MS = 10 * SECOND_MS
"""Length of the window of current rates and ages."""
MAX_AHEAD_MS = MINUTE_MS
"""Rows that start further in the future come from a wrong clock and are ignored."""
NOW = "now"
"""Last part of the key of a heartbeat."""


@dataclass(frozen=True, slots=True)
class Span:
    """A length of history: `slots` slots of `step_ms` each."""

    name: str
    step_ms: int
    slots: int
    write_ms: int
    """Interval at which an open slot is written again: what a crash may lose."""

    @property
    def length_ms(self) -> int:
        """Length of the span."""
        return self.step_ms * self.slots

    def start(self, now: int) -> int:
        """Start of the slot that `now` is in, ms."""
        return now - now % self.step_ms

    def key(self, process: str, start: int) -> str:
        """Key on the topic of the slot that starts at `start`.

        >>> SPANS["15min"].key("serving/first", 20_000)
        'serving/first/15min/2'
        """
        return f"{process}/{self.name}/{start // self.step_ms % self.slots}"


SPANS = {
    span.name: span
    for span in (
        Span("15min", 10 * SECOND_MS, 90, write_ms=0),
        Span("24h", 5 * MINUTE_MS, 288, write_ms=10 * SECOND_MS),
        Span("7d", HOUR_MS, 168, write_ms=2 * MINUTE_MS),
    )
}


class Recorder:
    """Turns a process's totals into the rows that it writes.

    >>> recorder = Recorder("serving/a")
    >>> rows = recorder.add(20_000, {"accepted": 5}, {"users": 2})
    >>> rows = recorder.add(24_000, {"accepted": 7}, {"users": 3})
    >>> rows["serving/a/15min/2"].counts, rows["serving/a/15min/2"].gauges
    ({'accepted': 7}, {'users': 3})
    """

    def __init__(self, process: str) -> None:
        self.process = process
        self._totals: Mapping[str, float] = {}
        self._open: dict[str, MetricsRow] = {}
        """The row of the open slot by span."""
        self._written: dict[str, int] = dict.fromkeys(SPANS, 0)
        """When the open slot was last written, ms, by span."""
        self._latest: deque[tuple[int, Mapping[str, float]]] = deque()
        """Time and counts of each call of `add` in the last `WINDOW_MS`."""

    def resume(self, rows: Mapping[str, MetricsRow], now: int) -> None:
        """Continue the slots that are still open, from the rows of this process by key."""
        for span in SPANS.values():
            row = rows.get(span.key(self.process, span.start(now)))
            if row is not None and row.time == span.start(now):
                self._open[span.name] = row

    def add(
        self, now: int, totals: Mapping[str, float], gauges: Mapping[str, float]
    ) -> dict[str, MetricsRow]:
        """Take the totals since the start of the process; returns the rows that are due, by key."""
        new = {name: _increase(total, self._totals.get(name, 0)) for name, total in totals.items()}
        new = {name: count for name, count in new.items() if count}
        self._totals = dict(totals)
        if self._latest and self._latest[-1][0] > now:  # the clock was set back
            self._latest.clear()
            self._written = dict.fromkeys(SPANS, 0)
        self._latest.append((now, new))
        while self._latest[0][0] <= now - WINDOW_MS:
            self._latest.popleft()
        due = {}
        for span in SPANS.values():
            row = self._open.get(span.name)
            if row is None or row.time != span.start(now):
                if row is not None and row.until > self._written[span.name]:
                    due[span.key(self.process, row.time)] = row
                row = MetricsRow(time=span.start(now), until=now)
            row = replace(row, until=now, counts=_sum([row.counts, new]), gauges=dict(gauges))
            self._open[span.name] = row
            if now - self._written[span.name] >= span.write_ms:
                due[span.key(self.process, row.time)] = row
                self._written[span.name] = now
        return due

    def window(self) -> dict[str, float]:
        """Counts of the last `WINDOW_MS`."""
        return _sum(counts for _, counts in self._latest)


@dataclass(frozen=True, slots=True)
class Point:
    """One slot, added up over the whole cluster."""

    time: int
    """Start of the slot, ms."""
    seconds: float
    """Time that the counts cover; less than the step while the slot is open."""
    counts: dict[str, float]
    gauges: dict[str, dict[str, float]]
    """Last value in the slot, by process and gauge; the process that wrote last comes last."""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The last heartbeat of a process."""

    process: str
    row: MetricsRow
    age_s: float
    """Time since it was received."""

    @property
    def alive(self) -> bool:
        """Whether it is recent enough for the process to count as running."""
        return self.age_s < MISSED_AFTER_S


class History:
    """The rows of all processes that are recent enough to be shown.

    Bounded: `slots` starts for each span, and at each a row of every process that wrote one; heartbeats of
    the processes of the last `LISTED_S`.
    """

    def __init__(self) -> None:
        self._rows: dict[str, dict[int, dict[str, MetricsRow]]] = {name: {} for name in SPANS}
        """Rows by span, start and process."""
        self._points: dict[str, dict[int, Point]] = {name: {} for name in SPANS}
        """Cached points by span and start."""
        self._heartbeats: dict[str, tuple[MetricsRow, float]] = {}
        """Row and time of receipt by process; who was heard last comes last."""

    def add(self, key: str, row: MetricsRow | None, received: float) -> None:
        """Add a row; None deregisters its process.  `received` is this process's wall time, ms."""
        process, span = _parts(key)
        if span == NOW:
            self._heartbeats.pop(process, None)
            if row is not None:
                self._heartbeats[process] = row, received
            self._evict_silent(received)
        elif span in SPANS and row is not None and row.time <= received + MAX_AHEAD_MS:
            rows = self._rows[span]
            rows.setdefault(row.time, {})[process] = row
            self._points[span].pop(row.time, None)
            if len(rows) > SPANS[span].slots + 1:
                self._evict(span, min(rows))

    def rows_of(self, process: str) -> dict[str, MetricsRow]:
        """The rows of one process by key."""
        return {
            SPANS[name].key(process, start): by_process[process]
            for name, rows in self._rows.items()
            for start, by_process in rows.items()
            if process in by_process
        }

    def points(self, span: str, now: int) -> list[Point]:
        """The points of a span, oldest first; a slot without rows has none."""
        oldest = now - SPANS[span].length_ms
        for start in [start for start in self._rows[span] if start < oldest]:
            self._evict(span, start)
        points, rows = self._points[span], self._rows[span]
        for start in rows.keys() - points.keys():
            points[start] = _point(start, rows[start])
        return [points[start] for start in sorted(points)]

    def heartbeats(self, now: float) -> list[Heartbeat]:
        """The last heartbeat of each process, by name; `now` is of the same clock as `received`."""
        heartbeats = [
            Heartbeat(process, row, max(now - received, 0) / 1000)
            for process, (row, received) in sorted(self._heartbeats.items())
        ]
        return [heartbeat for heartbeat in heartbeats if heartbeat.age_s < LISTED_S]

    def _evict_silent(self, now: float) -> None:
        """Evict the processes that were not heard for `LISTED_S`."""
        silent = []
        for process, (_, received) in self._heartbeats.items():
            if now - received < LISTED_S * SECOND_MS:
                break  # those after it were heard later
            silent.append(process)
        for process in silent:
            del self._heartbeats[process]

    def _evict(self, span: str, start: int) -> None:
        del self._rows[span][start]
        self._points[span].pop(start, None)


def total(counts: Mapping[str, float], name: str) -> float:
    """Sum of the counts of a name, with and without labels.

    >>> total({"dead_letter:empty": 2, "dead_letter:too-large": 1, "late": 5}, "dead_letter")
    3
    """
    return counts.get(name, 0) + sum(labelled(counts, name).values())


def labelled(values: Mapping[str, float], name: str) -> dict[str, float]:
    """Value by label, of the names `name:label`."""
    return {key[len(name) + 1 :]: value for key, value in values.items() if key.startswith(f"{name}:")}


def add_up(points: Iterable[Point]) -> dict[str, float]:
    """The counts of all points, added up."""
    return _sum(point.counts for point in points)


def slots(span: Span, now: int) -> Iterator[int]:
    """Starts of the slots that a plot of the span shows, ms, oldest first."""
    last = span.start(now)
    return iter(range(last - (span.slots - 1) * span.step_ms, last + 1, span.step_ms))


def _parts(key: str) -> tuple[str, str]:
    """Process and span of a key.

    >>> _parts("serving/a/15min/2"), _parts("serving/a/now")
    (('serving/a', '15min'), ('serving/a', 'now'))
    """
    kind, name, span, *_ = [*key.split("/"), "", ""]
    return f"{kind}/{name}", span


def _increase(total: float, before: float) -> float:
    """Increase of a counter; one that decreased was reset to 0 in between."""
    return total - before if total >= before else total


def _point(start: int, rows: Mapping[str, MetricsRow]) -> Point:
    ordered = sorted(rows.items(), key=lambda entry: entry[1].until)
    seconds = max((ordered[-1][1].until - start) / 1000, HEARTBEAT_S)
    gauges = {process: row.gauges for process, row in ordered}
    return Point(start, seconds, _sum(row.counts for _, row in ordered), gauges)


def _sum(addends: Iterable[Mapping[str, float]]) -> dict[str, float]:
    sums: dict[str, float] = {}
    for counts in addends:
        for name, count in counts.items():
            sums[name] = sums.get(name, 0) + count
    return sums
