"""What a process reads off itself every few seconds: totals since its start, gauges, and who it is.

The pages, Prometheus and the topic `metrics` all say the same, because they are made of the same reading.
"""

import asyncio
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.checkpoint import Checkpoint
from streams.messages import Process
from streams.monitor.lag import Lag
from streams.monitor.user_count import UserCount
from streams.runtime.serving import Serving
from streams.settings import Settings
from streams.web.learner_figures import Learning

DISK_S = 15.0
"""Between two walks over the data folder."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Names are those of `MetricsRow`."""

    totals: dict[str, float]
    gauges: dict[str, float]
    process: Process


class ServingSampler:
    """Of a serving worker."""

    def __init__(self, app: Any, serving: Serving) -> None:
        self._app, self._serving = app, serving
        self._lag, self._census, self._disk = (
            Lag(serving),
            UserCount(serving),
            Disk(serving.settings.data_dir),
        )
        app.on_partitions_assigned.connect(self._count, weak=False)

    async def now(self) -> Sample:
        """The reading of now; Kafka is asked for the lag once a second at the most."""
        serving, now = self._serving, time.time() * 1000
        current = serving.replica.current
        gauges = {
            "model_checkpoint": current.number,
            "model_age_ms": max(now - current.time, 0) if current.number else None,
            "model_items": len(serving.model.items),
            "model_torn": serving.replica.torn,
            "users": self._census.users(),
            "uncommitted": self._lag.uncommitted(),
            "memory_bytes": memory_bytes(),
            "disk_bytes": await self._disk.used(),
        } | {f"lag:{partition}": events for partition, events in (await self._lag.now()).items()}
        return Sample(
            serving.metrics.counts(),
            {name: value for name, value in gauges.items() if value is not None},
            Process(
                kind="serving",
                url=str(self._app.conf.canonical_url),
                started=int(serving.metrics.started * 1000),
                ready=serving.ready,
                waiting_for=waiting_for(serving),
                partitions=serving.table.open_partitions(),
            ),
        )

    async def _count(self, app: Any, assigned: Any, **kwargs: Any) -> None:
        self._serving.metrics.rebalances += 1


_LEARNT = {"examples": "examples", "examples_repeated": "repeated", "examples_unusable": "unusable"}
"""Count ▶ field of the checkpoint."""


class LearnerSampler:
    """Of a learner; one that stands by has nothing to count."""

    def __init__(self, app: Any, learning: Learning, settings: Settings) -> None:
        self._app, self._learning = app, learning
        self._started, self._disk = int(time.time() * 1000), Disk(settings.data_dir)
        self._totals = dict.fromkeys(_LEARNT, 0.0)

    async def now(self) -> Sample:
        """The reading of now."""
        learning, now = self._learning, time.time() * 1000
        gauges: dict[str, float | None] = {
            "learner_active": float(learning.active),
            "memory_bytes": memory_bytes(),
            "disk_bytes": await self._disk.used(),
        }
        if learning.active:
            current = learning.checkpoint
            self._count(current, learning.began or current)
            if learning.quality is not None:
                self._totals |= rising(learning.quality.totals)
                gauges |= learning.quality.gauges()
            gauges |= {
                "learner_lag": learning.lag,
                "model_checkpoint": current.number,
                "model_items": learning.items,
                "model_age_ms": max(now - current.time, 0) if current.number else None,
            }
        return Sample(
            dict(self._totals),
            {name: value for name, value in gauges.items() if value is not None},
            Process(
                kind="learning",
                url=str(self._app.conf.canonical_url),
                started=self._started,
                ready=not learning.waiting_for,
                waiting_for=learning.waiting_for,
            ),
        )

    def _count(self, current: Checkpoint, began: Checkpoint) -> None:
        """Of this process alone, and never less: after an outage it learns from the published model again."""
        for name, field in _LEARNT.items():
            mine = getattr(current, field) - getattr(began, field)
            self._totals[name] = max(mine, self._totals[name])


def rising(totals: Mapping[str, float]) -> dict[str, float]:
    """Totals that never fall: for one that does, a history takes its process to have begun anew.

    So a sum of differences of hits, each 1, 0 or −1, is told as how many were won and how many lost.

    >>> rising({"lift:next|predictions": 9, "lift:next|difference": -2, "lift:next|squares": 4})
    {'lift:next|predictions': 9, 'lift:next|won': 1.0, 'lift:next|lost': 3.0}
    """
    found: dict[str, float] = {}
    for name, value in totals.items():
        if name.endswith("|difference"):
            compared = name.removesuffix("difference")
            squares = totals.get(f"{compared}squares", 0)
            found[f"{compared}won"], found[f"{compared}lost"] = (squares + value) / 2, (squares - value) / 2
        elif not name.endswith("|squares"):
            found[name] = value
    return found


def waiting_for(serving: Serving) -> list[str]:
    """Why the worker is not ready, in words; empty when it is."""
    reasons = []
    if serving.app.rebalancing:
        reasons.append("partitions are moving between workers")
    elif not serving.restored:
        reasons.append("the users table is being restored")
    if not serving.model_loaded:
        reasons.append("the model is being read")
    return reasons


def memory_bytes() -> int:
    """What this process holds of the machine's memory; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


class Disk:
    """The size of a folder, walked in a thread now and then."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._bytes, self._due = folder, 0, 0.0

    async def used(self) -> int:
        """Bytes, as of the last walk."""
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + DISK_S
            self._bytes = await asyncio.to_thread(folder_bytes, self._folder)
        return self._bytes


def folder_bytes(folder: Path) -> int:
    """Of all files in it; those that vanish meanwhile count for nothing."""
    size = 0
    for at, _, names in os.walk(folder):
        for name in names:
            try:
                size += os.stat(os.path.join(at, name)).st_size
            except OSError:
                continue
    return size
