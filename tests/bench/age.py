"""Age: from an event until its recommendation, at a steady rate, as an outside consumer sees it."""

import time

from tests.bench.backlog import Watch, load
from tests.bench.clicks import ITEMS
from tests.bench.figures import Row, quantile
from tests.bench.filled import fill_model
from tests.bench.process import Process
from tests.bench.site import Bench, Site, say
from tests.bench.steady import Load
from tests.bench.warm import warm_up

SECONDS, SKIP_S = 60, 5
RATES = (1000, 5000)
OURS = {"serving": False, "serving and learning": True}
"""Whether a learner shares the cores with the worker, the broker and the measuring process."""
SHARES = (("p50", 0.5), ("p90", 0.9), ("p99", 0.99))
BARS_MS = {1000: {"p50": 6, "p99": 20}}
FIRST = 10_000_000
"""Number of the first event of a load: a backlog before it has lower ones."""
PLAIN_KNOWS = 100_000
"""Clicks that the plain loop has learnt when its load begins: with nothing learnt its lists are empty."""


def age(bench: Bench) -> list[Row]:
    """Ours without a learner on the same cores and with it, and the plain loop."""
    warm_up(bench)
    rows = []
    for rate in RATES:
        for who, learning in OURS.items():
            say(f"age: {who}, {rate:,} events/s")
            with bench.site("age") as site:
                fill_model(site.settings, bench)
                if learning:
                    site.learner().wait_active()
                worker = site.worker()
                worker.wait_ready()
                rows += _rows(who, rate, _load(site, worker, rate), BARS_MS.get(rate, {}))
        say(f"age: plain loop, {rate:,} events/s")
        with bench.site("age-plain") as site:
            known = bench.scaled(PLAIN_KNOWS)
            load(site.settings, known, bench.seed)
            loop = site.other("plain_loop")
            Watch(site.settings).until(known, loop)
            rows += _rows("plain loop", rate, _load(site, loop, rate), {})
    return rows


def _load(site: Site, process: Process, rate: float) -> Load:
    with Load(site.settings, rate, site.bench.seed, FIRST) as steady:
        time.sleep(SKIP_S + site.bench.scaled(SECONDS))
    process.check()
    return steady


def _rows(who: str, rate: int, load: Load, bars: dict[str, float]) -> list[Row]:
    ages = load.ages_ms(SKIP_S)
    about = {
        "events": len(ages),
        "unanswered": load.unanswered,
        "max_ms": max(ages, default=None),
        "sent_late_p99_ms": 1000 * (quantile(load.lateness, 0.99) or 0),
    }
    note = "learns by itself"
    if who in OURS:
        waited = load.ages_ms(SKIP_S, until_made=True)
        about |= {f"until_made_{name}_ms": quantile(waited, share) for name, share in SHARES}
        note = f"{ITEMS:,} items" + ", learner at work" * OURS[who]
    if load.unanswered:
        note += f"; {load.unanswered:,} UNANSWERED"
    return [
        Row(f"age, {rate:,}/s", f"{who}, {name}", quantile(ages, share), "ms",
            at_most=bars.get(name), note=note, details=about)
        for name, share in SHARES
    ]  # fmt: skip
