"""Age: time from an event until a consumer reads its recommendation, at a steady rate.

Unit: ms, p50, p90 and p99 over the events of 60 s.  Of the worker without and with a learner on the same
cores, and of the plain loop.

    python -m tests.bench age
"""

import time

from tests.bench.backlog import Watch, load
from tests.bench.clicks import ITEMS
from tests.bench.deployment import Bench, Deployment, progress
from tests.bench.prefill import fill_model
from tests.bench.process import Process
from tests.bench.report import Row, quantile
from tests.bench.steady_load import SteadyLoad
from tests.bench.warm_up import warm_up

SECONDS, SKIP_S = 60, 5
RATES = (1000, 5000)
OURS = {"serving": False, "serving and learning": True}
"""Whether a learner shares the cores with the worker, the broker and the measuring process."""
SHARES = (("p50", 0.5), ("p90", 0.9), ("p99", 0.99))
BARS_MS = {1000: {"p50": 6, "p99": 20}}
FIRST = 10_000_000
"""Number of the first event of a load; a backlog before it has lower numbers."""
PLAIN_CLICKS = 100_000
"""Clicks that the plain loop learns before its load begins: its lists would be empty otherwise."""


def age(bench: Bench) -> list[Row]:
    """Measure the worker without and with a learner, and the plain loop, at each rate."""
    warm_up(bench)
    rows = []
    for rate in RATES:
        for name, learning in OURS.items():
            progress(f"age: {name}, {rate:,} events/s")
            with bench.deploy("age") as deployment:
                fill_model(deployment.settings, bench)
                if learning:
                    deployment.learner().wait_active()
                worker = deployment.worker()
                worker.wait_ready()
                rows += _rows(name, rate, _load(deployment, worker, rate), BARS_MS.get(rate, {}))
        progress(f"age: plain loop, {rate:,} events/s")
        with bench.deploy("age-plain") as deployment:
            clicks = bench.scaled(PLAIN_CLICKS)
            load(deployment.settings, clicks, bench.seed)
            loop = deployment.program("plain_loop")
            Watch(deployment.settings).until(clicks, loop)
            rows += _rows("plain loop", rate, _load(deployment, loop, rate), {})
    return rows


def _load(deployment: Deployment, process: Process, rate: float) -> SteadyLoad:
    with SteadyLoad(deployment.settings, rate, deployment.bench.seed, FIRST) as steady:
        time.sleep(SKIP_S + deployment.bench.scaled(SECONDS))
    process.check()
    return steady


def _rows(contestant: str, rate: int, load: SteadyLoad, bars: dict[str, float]) -> list[Row]:
    ages = load.ages_ms(SKIP_S)
    details = {
        "events": len(ages),
        "unanswered": load.unanswered,
        "max_ms": max(ages, default=None),
        "sent_late_p99_ms": 1000 * (quantile(load.lateness, 0.99) or 0),
    }
    note = "learns by itself"
    if contestant in OURS:
        waits = load.ages_ms(SKIP_S, until_step=True)
        details |= {f"until_made_{name}_ms": quantile(waits, share) for name, share in SHARES}
        note = f"{ITEMS:,} items" + ", learner at work" * OURS[contestant]
    if load.unanswered:
        note += f"; {load.unanswered:,} UNANSWERED"
    return [
        Row(f"age, {rate:,}/s", f"{contestant}, {name}", quantile(ages, share), "ms",
            at_most=bars.get(name), note=note, details=details)
        for name, share in SHARES
    ]  # fmt: skip
