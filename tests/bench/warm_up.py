"""Warm up the broker: a Java process that has just started compiles for half a minute, which takes a core."""

import time
from functools import cache

from tests.bench.deployment import Bench, progress
from tests.bench.steady_load import SteadyLoad

RATE, SECONDS = 1000, 40


@cache
def warm_up(bench: Bench) -> None:
    """Run the usual load for a while; once a run, whichever parts call it."""
    progress("warming up the broker")
    with bench.deploy("warm-up") as deployment:
        deployment.learner().wait_active()
        deployment.worker().wait_ready()
        with SteadyLoad(deployment.settings, RATE, bench.seed):
            time.sleep(bench.scaled(SECONDS))
