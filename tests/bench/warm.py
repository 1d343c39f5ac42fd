"""A broker that has just started compiles itself: for half a minute it takes a core, and ages are its own."""

import time
from functools import cache

from tests.bench.site import Bench, say
from tests.bench.steady import Load

RATE, SECONDS = 1000, 40


@cache
def warm_up(bench: Bench) -> None:
    """Let it, under our usual load; once a run, by the first part that asks."""
    say("warming up the broker")
    with bench.site("warm-up") as site:
        site.learner().wait_active()
        site.worker().wait_ready()
        with Load(site.settings, RATE, bench.seed):
            time.sleep(bench.scaled(SECONDS))
