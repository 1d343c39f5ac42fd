"""A sample of a process, taken every few seconds: totals since its start, gauges, and its description.

The pages, Prometheus and the topic `metrics` show the same figures, because all are built from samples.
"""

import asyncio
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.checkpoint import Checkpoint
from streams.messages import Process, now_ms
from streams.monitor.clock_watch import ClockWatch
from streams.monitor.counts import Metrics
from streams.monitor.lag import Lag
from streams.monitor.user_count import UserCount
from streams.runtime.learning import Learning
from streams.runtime.serving import Serving
from streams.settings import Settings

DISK_S = 15.0
"""Interval at which the size of the data folder is measured."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Totals and gauges by the names of `MetricsRow`."""

    totals: dict[str, float]
    gauges: dict[str, float]
    process: Process


class ServingSampler:
    """Takes samples of a serving worker; `metrics` are its totals."""

    def __init__(self, app: Any, serving: Serving) -> None:
        self._app, self._serving = app, serving
        self.metrics = Metrics()
        serving.subscribe(self.metrics.add, keep=True)
        self._lag, self._user_count = Lag(serving), UserCount(serving)
        self._disk = DiskUsage(serving.settings.data_dir)
        self._clock_watch = ClockWatch()
        app.on_partitions_assigned.connect(self._count_rebalance, weak=False)

    async def take(self) -> Sample:
        """The current sample; Kafka is asked for the lag at most once a second."""
        serving, now = self._serving, now_ms()
        current = serving.replica.current
        gauges = {
            "model_checkpoint": current.number,
            "model_age_ms": max(now - current.time, 0) if current.number else None,
            "model_items": len(serving.model.items),
            "model_torn": serving.replica.torn,
            "model_not_updated": len(serving.replica.not_updated),
            "model_differences": len(serving.replica.differences),
            "catalog_items": serving.catalog.size,
            "catalog_without_row": serving.catalog.without_row,
            "users": self._user_count.users(),
            "uncommitted": self._lag.uncommitted(),
            "memory_bytes": memory_bytes(),
            "disk_bytes": await self._disk.bytes(),
            "clock_skew_s": self._clock_watch.skew_s(),
        } | {f"lag:{partition}": events for partition, events in (await self._lag.by_partition()).items()}
        partitions = serving.table.open_partitions()
        lost = dict.fromkeys(partitions, 0) | serving.losses.counts
        return Sample(
            self.metrics.counts()
            | _labelled("lost_events", lost)
            | serving.table.repairs.counts()
            | {"catalog_rejected": serving.catalog.rejected}
            | {f"rule_dropped:{name}": n for name, n in serving.recommender.dropped.items()},
            {name: value for name, value in gauges.items() if value is not None},
            Process(
                kind="serving",
                url=str(self._app.conf.canonical_url),
                started=now - serving.uptime_ms,
                ready=serving.ready,
                waiting_for=serving.waiting_for,
                problems=serving.topic_watch.problems + self._clock_watch.problems(),
                partitions=partitions,
                differences=serving.replica.differences,
            ),
        )

    async def _count_rebalance(self, app: Any, assigned: Any, **kwargs: Any) -> None:
        self.metrics.rebalances += 1


_EXAMPLE_COUNTS = {"examples": "examples", "examples_repeated": "repeated", "examples_unusable": "unusable"}
"""Field of the checkpoint by name of the count."""


class LearnerSampler:
    """Takes samples of a learner; a standby has nothing to count."""

    def __init__(self, app: Any, learning: Learning, settings: Settings) -> None:
        self._app, self._learning = app, learning
        self._started, self._disk = time.monotonic(), DiskUsage(settings.data_dir)
        self._totals = dict.fromkeys((*_EXAMPLE_COUNTS, "model_deleted_rows"), 0.0)
        self._clock_watch = ClockWatch()

    async def take(self) -> Sample:
        """The current sample."""
        learning, now = self._learning, now_ms()
        gauges: dict[str, float | None] = {
            "learner_active": float(learning.active),
            "memory_bytes": memory_bytes(),
            "disk_bytes": await self._disk.bytes(),
            "clock_skew_s": self._clock_watch.skew_s(),
        }
        if learning.active:
            current = learning.checkpoint
            self._count_examples(current, learning.began or current)
            self._totals["model_deleted_rows"] = learning.deleted
            if learning.quality is not None:
                self._totals |= as_counters(learning.quality.counts())
                gauges |= learning.quality.gauges()
            gauges |= {
                "learner_lag": learning.lag,
                "model_checkpoint": current.number,
                "model_items": learning.items,
                "model_unread_rows": sum(learning.unread.values()),
                "model_age_ms": max(now - current.time, 0) if current.number else None,
            }
        lost = dict.fromkeys(range(learning.settings.partitions), 0) | learning.losses.counts
        return Sample(
            self._totals | _labelled("lost_examples", lost),
            {name: value for name, value in gauges.items() if value is not None},
            Process(
                kind="learning",
                url=str(self._app.conf.canonical_url),
                started=now - int((time.monotonic() - self._started) * 1000),
                ready=not learning.waiting_for,
                waiting_for=learning.waiting_for,
                problems=learning.topic_watch.problems + self._clock_watch.problems(),
                differences=learning.differences if learning.active else [],
            ),
        )

    def _count_examples(self, current: Checkpoint, began: Checkpoint) -> None:
        """Count this process's examples; never fewer than before, though an outage sets the model back."""
        for name, field in _EXAMPLE_COUNTS.items():
            learnt = getattr(current, field) - getattr(began, field)
            self._totals[name] = max(learnt, self._totals[name])


def _labelled(name: str, by_partition: Mapping[int, int]) -> dict[str, float]:
    """The counts of partitions by `name:partition`."""
    return {f"{name}:{partition}": count for partition, count in by_partition.items()}


def as_counters(totals: Mapping[str, float]) -> dict[str, float]:
    """The totals as counters, which never decrease: a history takes a decrease for a restart.

    The sum of differences of hits, each 1, 0 or −1, becomes how many were won and how many lost.

    >>> as_counters({"lift:next|predictions": 9, "lift:next|difference": -2, "lift:next|squares": 4})
    {'lift:next|predictions': 9, 'lift:next|won': 1.0, 'lift:next|lost': 3.0}
    """
    counters: dict[str, float] = {}
    for name, value in totals.items():
        if name.endswith("|difference"):
            prefix = name.removesuffix("difference")
            squares = totals.get(f"{prefix}squares", 0)
            counters[f"{prefix}won"], counters[f"{prefix}lost"] = (squares + value) / 2, (squares - value) / 2
        elif not name.endswith("|squares"):
            counters[name] = value
    return counters


def memory_bytes() -> int:
    """Resident memory of this process; 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


class DiskUsage:
    """The size of a folder, measured in a thread at most every `DISK_S`."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._bytes, self._due = folder, 0, 0.0

    async def bytes(self) -> int:
        """Size at the last measurement."""
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + DISK_S
            self._bytes = await asyncio.to_thread(folder_bytes, self._folder)
        return self._bytes


def folder_bytes(folder: Path) -> int:
    """Size of all files in a folder; a file that is deleted meanwhile counts 0."""
    size = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                size += os.stat(os.path.join(parent, name)).st_size
            except OSError:
                continue
    return size
