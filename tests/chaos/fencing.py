"""Scenarios on fencing: what a successor wrote stays, and a worker that only stood still goes on."""

import random
import signal
import time
from collections.abc import Iterator
from contextlib import nullcontext

from tests.bench.process import Process
from tests.chaos.chaos import Chaos
from tests.chaos.deployment import SESSION_TIMEOUT_S, Deployment
from tests.chaos.pages import is_ready, not_up, wait_ready
from tests.chaos.report import Row, judged
from tests.chaos.waiting import within

ALL_RIGHT = "users, examples, dead letters exactly once; last recommendations newest"
RESTORED = "a worker with an empty folder has every user right"
ZOMBIE_S = 9
"""Time for a worker that lost its partitions to notice: to end, or to join again."""


def pause(chaos: Chaos) -> Iterator[Row]:
    """A worker behind a slow network is suspended until the other one has done everything, then resumed."""
    with chaos.deploy("pause") as deployment:
        steady = deployment.worker("steady")
        wait_ready(steady)
        for cycle in range(1 if chaos.quick else 2):
            name = chaos.rng.choice(("sleeper", None))
            sleeper = deployment.worker("sleeper", worker_id=name, brokers=chaos.broker.slow_brokers)
            yield from _suspended(
                deployment, chaos.rng, steady, sleeper, f"cycle {cycle + 1}, 120 ms of network"
            )
        yield _restored(deployment, steady)


def broker_pause(chaos: Chaos) -> Iterator[Row]:
    """The broker stands still while a worker is suspended, so that what the worker sent last is under way."""
    with chaos.deploy("broker-pause") as deployment:
        steady = deployment.worker("steady")
        wait_ready(steady)
        sleeper = deployment.worker("sleeper", worker_id=chaos.rng.choice(("sleeper", None)))
        seconds = chaos.rng.uniform(0.15, 2)
        done = f"broker paused for {seconds:.2f} s, the worker suspended meanwhile"
        yield from _suspended(deployment, chaos.rng, steady, sleeper, done, seconds)
        yield _restored(deployment, steady)


def _suspended(
    deployment: Deployment,
    rng: random.Random,
    steady: Process,
    sleeper: Process,
    what: str,
    broker_pause_s: float = 0,
) -> Iterator[Row]:
    wait_ready(sleeper)
    with deployment.shop.open():
        time.sleep(rng.uniform(2, 4))
        if broker_pause_s:
            deployment.broker.suspend()
            time.sleep(broker_pause_s)
        sleeper.signal(signal.SIGSTOP)
        if broker_pause_s:
            deployment.broker.resume()
        time.sleep(SESSION_TIMEOUT_S)
    wrong = not_up(steady) + deployment.settle()
    yield judged(f"SIGSTOP under 300 events/s, {what}", f"the successor does all: {ALL_RIGHT}", wrong)
    busy = rng.random() < 0.5  # without events after it, what a zombie wrote stays the last of its key
    with deployment.shop.open() if busy else nullcontext():
        sleeper.signal(signal.SIGCONT)
        status = sleeper.exit_status(ZOMBIE_S)
    wrong = not_up(steady) + deployment.settle()
    outcome = "it went on" if status is None else f"it ended with {status}"
    sleeper.stop()
    load = "under 300 events/s" if busy else "without new events"
    yield judged(f"SIGCONT {load} ({what}); {outcome}", ALL_RIGHT, wrong)


def _restored(deployment: Deployment, *workers: Process) -> Row:
    for worker in workers:
        worker.stop()
    return judged("all workers stopped", RESTORED, deployment.restored_faults())


def kill(chaos: Chaos) -> Iterator[Row]:
    """Workers are killed under load, one after the other, and started again."""
    kills = 1 if chaos.quick else 2
    with chaos.deploy("kill") as deployment:
        workers = {name: deployment.worker(name) for name in ("a", "b")}
        for worker in workers.values():
            wait_ready(worker)
        with deployment.shop.open():
            for _ in range(kills):
                time.sleep(chaos.rng.uniform(1, 4))
                name = chaos.rng.choice(sorted(workers))
                workers[name].kill()
                time.sleep(chaos.rng.uniform(0, SESSION_TIMEOUT_S))
                workers[name] = deployment.worker(name)
                wait_ready(workers[name])
        yield judged(f"{kills} times kill -9 of one of two workers", ALL_RIGHT, deployment.settle())
        yield _restored(deployment, *workers.values())


def stall(chaos: Chaos) -> Iterator[Row]:
    """The only worker stands still for longer than its session: nobody takes its partitions meanwhile."""
    with chaos.deploy("stall") as deployment:
        worker = deployment.worker()
        wait_ready(worker)
        seconds = SESSION_TIMEOUT_S + chaos.rng.uniform(2, 5)
        with deployment.shop.open():
            time.sleep(chaos.rng.uniform(2, 4))
            worker.signal(signal.SIGSTOP)
            time.sleep(seconds)
            worker.signal(signal.SIGCONT)
            time.sleep(SESSION_TIMEOUT_S)
        done = f"the only worker suspended for {seconds:.1f} s under load"
        ended = not_up(worker)
        yield judged(done, "it goes on", ended)
        if not ended:
            wrong = deployment.settle()
            if not within(20, lambda: is_ready(worker)):
                wrong.append("the worker is not ready")
            yield judged(done, f"{ALL_RIGHT}; ready", wrong)
