"""What every process says of itself, as rows, and the history of the cluster made of them.  Pure.

    totals ▶ Recorder ▶ rows ▶ topic `metrics` ▶ History ▶ points of the whole cluster

A process's history is a ring of slots for each span: a slot's key comes again after a while, so that the
compacted topic is bounded.  Whatever is counted is a count with a name, also the ages, one by bucket: rows
of several processes add up, and a new figure is a new name.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from msgspec.structs import replace

from streams.messages import MetricsRow

MISSED_AFTER_S = 8.0
"""Without a word for so long, a process is said to be gone."""
LISTED_S = 3600.0
"""... and after so long it is not mentioned any more."""
HEARTBEAT_S = 2.0
"""Between two words of a process."""
WINDOW_MS = 10_000
"""Rates and ages of now are over the last ten seconds."""
AHEAD_MS = 60_000
"""A row from further ahead is of a clock that is wrong."""
NOW = "now"


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of history: `slots` slots of `step_ms`."""

    name: str
    step_ms: int
    slots: int
    write_ms: int
    """An open slot is written again after so long: what a crash may lose."""

    @property
    def length_ms(self) -> int:
        """Of the whole."""
        return self.step_ms * self.slots

    def start(self, now: int) -> int:
        """Of the slot that `now` is in."""
        return now - now % self.step_ms

    def key(self, process: str, start: int) -> str:
        """Of a slot on the topic.

        >>> SPANS["15min"].key("serving/first", 20_000)
        'serving/first/15min/2'
        """
        return f"{process}/{self.name}/{start // self.step_ms % self.slots}"


SPANS = {
    span.name: span
    for span in (
        Span("15min", 10_000, 90, write_ms=0),
        Span("24h", 300_000, 288, write_ms=10_000),
        Span("7d", 3_600_000, 168, write_ms=120_000),
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
        self._written: dict[str, int] = dict.fromkeys(SPANS, 0)
        self._latest: deque[tuple[int, Mapping[str, float]]] = deque()

    def resume(self, own: Mapping[str, MetricsRow], now: int) -> None:
        """Go on in the slots that are still open, from the rows of this process by key."""
        for span in SPANS.values():
            row = own.get(span.key(self.process, span.start(now)))
            if row is not None and row.time == span.start(now):
                self._open[span.name] = row

    def add(
        self, now: int, totals: Mapping[str, float], gauges: Mapping[str, float]
    ) -> dict[str, MetricsRow]:
        """Take the totals since the process started; the rows that are due, by key."""
        new = {name: _rise(total, self._totals.get(name, 0)) for name, total in totals.items()}
        new = {name: count for name, count in new.items() if count}
        self._totals = dict(totals)
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
    """A slot of the whole cluster."""

    time: int
    """Its start, ms."""
    seconds: float
    """That the counts cover; less than the step where the slot is open."""
    counts: dict[str, float]
    gauges: dict[str, dict[str, float]]
    """Process ▶ gauge ▶ its last value in the slot; who spoke last comes last."""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The latest that a process said of itself."""

    process: str
    row: MetricsRow
    silent_s: float
    """Since then."""

    @property
    def alive(self) -> bool:
        """Whether it can be believed to be there."""
        return self.silent_s < MISSED_AFTER_S


class History:
    """The rows of all processes, as far as they are of use.

    Bounded: `slots` starts for each span, in each a row of every process that spoke then.
    """

    def __init__(self) -> None:
        self._rows: dict[str, dict[int, dict[str, MetricsRow]]] = {name: {} for name in SPANS}
        self._points: dict[str, dict[int, Point]] = {name: {} for name in SPANS}
        self._said: dict[str, tuple[MetricsRow, float]] = {}

    def add(self, key: str, row: MetricsRow | None, heard: float) -> None:
        """Take over a row; None: the process took its leave.  `heard`: when, ms, on this process's clock."""
        process, span = _parts(key)
        if span == NOW:
            self._said.pop(process, None)
            if row is not None:
                self._said[process] = row, heard
        elif span in SPANS and row is not None and row.time <= heard + AHEAD_MS:
            rows = self._rows[span]
            rows.setdefault(row.time, {})[process] = row
            self._points[span].pop(row.time, None)
            if len(rows) > SPANS[span].slots + 1:
                self._evict(span, min(rows))

    def own(self, process: str) -> dict[str, MetricsRow]:
        """The rows of one process by their keys, to go on from."""
        return {
            SPANS[name].key(process, start): by_process[process]
            for name, rows in self._rows.items()
            for start, by_process in rows.items()
            if process in by_process
        }

    def points(self, span: str, now: int) -> list[Point]:
        """The latest of a span, oldest first; none where nobody said anything."""
        oldest = now - SPANS[span].length_ms
        for start in [start for start in self._rows[span] if start < oldest]:
            self._evict(span, start)
        made, rows = self._points[span], self._rows[span]
        for start in rows.keys() - made.keys():
            made[start] = _point(start, rows[start])
        return [made[start] for start in sorted(made)]

    def heartbeats(self, now: float) -> list[Heartbeat]:
        """What each process said of itself, by name; `now` is the clock of `heard`."""
        found = [
            Heartbeat(p, row, max(now - heard, 0) / 1000) for p, (row, heard) in sorted(self._said.items())
        ]
        return [one for one in found if one.silent_s < LISTED_S]

    def _evict(self, span: str, start: int) -> None:
        del self._rows[span][start]
        self._points[span].pop(start, None)


def total(counts: Mapping[str, float], name: str) -> float:
    """Of a name, with or without labels.

    >>> total({"dead_letter:empty": 2, "dead_letter:too-large": 1, "late": 5}, "dead_letter")
    3
    """
    return counts.get(name, 0) + sum(labelled(counts, name).values())


def labelled(values: Mapping[str, float], name: str) -> dict[str, float]:
    """Label ▶ value, of the names `name:label`."""
    return {key[len(name) + 1 :]: value for key, value in values.items() if key.startswith(f"{name}:")}


def _parts(key: str) -> tuple[str, str]:
    """Process and span of a key.

    >>> _parts("serving/a/15min/2"), _parts("serving/a/now")
    (('serving/a', '15min'), ('serving/a', 'now'))
    """
    kind, name, span, *_ = [*key.split("/"), "", ""]
    return f"{kind}/{name}", span


def _rise(total: float, before: float) -> float:
    """A total that fell began anew."""
    return total - before if total >= before else total


def _point(start: int, rows: Mapping[str, MetricsRow]) -> Point:
    ordered = sorted(rows.items(), key=lambda item: item[1].until)
    seconds = max((ordered[-1][1].until - start) / 1000, HEARTBEAT_S)
    return Point(
        start, seconds, _sum(row.counts for _, row in ordered), {name: row.gauges for name, row in ordered}
    )


def _sum(several: Iterable[Mapping[str, float]]) -> dict[str, float]:
    added: dict[str, float] = {}
    for counts in several:
        for name, count in counts.items():
            added[name] = added.get(name, 0) + count
    return added


def add_up(points: Iterable[Point]) -> dict[str, float]:
    """The counts of all points."""
    return _sum(point.counts for point in points)


def slots(span: Span, now: int) -> Iterator[int]:
    """The starts of the slots that a plot of the span shows, oldest first."""
    last = span.start(now)
    return iter(range(last - (span.slots - 1) * span.step_ms, last + 1, span.step_ms))
