"""Freshness: time from a click until a consumer reads a recommendation of a model that includes it.

Unit: s, p50 and p99 over the clicks of 60 s at 1,000 events/s.  The recommendation is the first of any user.

    python -m tests.bench freshness
"""

import threading
import time
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence

from models.checkpoint import CHECKPOINT_KEY, Checkpoint
from streams.clients.subscribe import follow, records
from streams.settings import Settings
from tests.bench.clicks import ITEMS
from tests.bench.deployment import Bench, progress
from tests.bench.prefill import fill_model
from tests.bench.report import Row, quantile
from tests.bench.steady_load import Sent, SteadyLoad
from tests.bench.warm_up import warm_up

RATE, SECONDS, SKIP_S, REST_S = 1000, 60, 5, 5
"""The clicks of the last `REST_S` are not measured: the load has to continue until a model includes them."""


def freshness(bench: Bench) -> list[Row]:
    """Measure p50 and p99 over the clicks of a steady load."""
    warm_up(bench)
    progress(f"freshness: {RATE:,} events/s")
    seconds = SKIP_S + bench.scaled(SECONDS)
    with bench.deploy("freshness") as deployment:
        fill_model(deployment.settings, bench)
        deployment.learner().wait_active()
        deployment.worker().wait_ready()
        with (
            CheckpointReader(deployment.settings) as published,
            SteadyLoad(deployment.settings, RATE, bench.seed) as load,
        ):
            time.sleep(seconds + REST_S)
    begin = min(sent.at for sent in load.sent.values()) + SKIP_S
    clicks = [s for s in load.sent.values() if begin <= s.at < begin - SKIP_S + seconds]
    waits = waits_s(clicks, published.checkpoints, load.checkpoints)
    missing = sum(wait is None for wait in waits)
    ordered = sorted(float("inf") if wait is None else wait for wait in waits)
    gaps = [b.time - a.time for a, b in zip(published.checkpoints, published.checkpoints[1:], strict=False)]
    details = {
        "events": len(clicks),
        "never": missing,
        "checkpoints": len(published.checkpoints),
        "between_checkpoints_ms_p50": quantile(gaps, 0.5),
        "rows_p50": quantile([c.rows for c in published.checkpoints], 0.5),
    }
    note = f"{ITEMS:,} items, {RATE:,} events/s, {len(published.checkpoints):,} checkpoints"
    if missing:
        note += f"; {missing:,} NEVER"
    return [
        Row("freshness", f"click in the served model, {name}", _finite(quantile(ordered, share)), "s",
            at_most=bar, note=note, details=details)
        for name, share, bar in (("p50", 0.5, 1), ("p99", 0.99, 2))
    ]  # fmt: skip


def waits_s(
    sent: Iterable[Sent], checkpoints: Sequence[Checkpoint], served: Mapping[int, float]
) -> list[float | None]:
    """The time until a recommendation from a checkpoint that includes it, for each event; None: never.

    `served` is when the first recommendation from a checkpoint was read.  A worker may skip checkpoints,
    so a later one counts too.

    >>> checkpoints = [Checkpoint(number=n, learnt_to={0: last}) for n, last in ((1, 5), (2, 9), (3, 20))]
    >>> waits_s([Sent(10.0, 0, 5), Sent(10.0, 0, 6), Sent(10.0, 1, 0)], checkpoints, {1: 11.0, 3: 12.0})
    [1.0, 2.0, None]
    """
    first: dict[int, float] = {}
    soonest = float("inf")
    for number in range(max((c.number for c in checkpoints), default=0), 0, -1):
        first[number] = soonest = min(soonest, served.get(number, soonest))
    numbers = [c.number for c in checkpoints]
    ends = {p: [c.learnt_to.get(p, -1) for c in checkpoints] for p in {s.partition for s in sent}}
    waits: list[float | None] = []
    for event in sent:
        position = bisect_left(ends[event.partition], event.offset)
        read_at = first[numbers[position]] if position < len(numbers) else float("inf")
        waits.append(None if read_at == float("inf") else read_at - event.at)
    return waits


class CheckpointReader:
    """Collects the checkpoints published between `with` and its end, before compaction removes old ones."""

    def __init__(self, settings: Settings) -> None:
        self.checkpoints: list[Checkpoint] = []
        self._consumer, self._stopping = follow(settings, "model"), threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> "CheckpointReader":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopping.set()
        self._thread.join()
        self._consumer.close()

    def _read(self) -> None:
        while not self._stopping.is_set():
            for record in records(self._consumer, 0.2):
                if record.key() == CHECKPOINT_KEY:
                    self.checkpoints.append(Checkpoint.decode(record.value() or b"{}"))


def _finite(value: float | None) -> float | None:
    return None if value == float("inf") else value
