"""Scenario on layouts: a learner with other settings beside running workers."""

import json
import time
from collections.abc import Iterator

from tests.bench.process import Ended, Process
from tests.chaos.chaos import Chaos
from tests.chaos.deployment import Deployment
from tests.chaos.pages import NotSeen, text_page, wait_ready, why_ended
from tests.chaos.records import read
from tests.chaos.report import Row, judged
from tests.chaos.shop import event
from tests.chaos.waiting import within

EVENTS = 600
SECONDS = 15
OTHER = {"model_parameters": {"embedding": {"dim": 32}}}
"""Half of the embedding's size."""


def layouts(chaos: Chaos) -> Iterator[Row]:
    """The learner comes back with another embedding size; workers that run, and one that starts, go on."""
    with chaos.deploy("layouts") as deployment:
        learner, worker = deployment.learner(), deployment.worker()
        wait_ready(worker)
        deployment.shop.publish(EVENTS)
        wrong = deployment.settle() + _lists_without_items(deployment, worker)
        yield judged("a learner and a worker of the same settings", "lists with items", wrong)
        learner.stop()
        learner = deployment.learner("other-learner", **OTHER)
        done = "a learner with another embedding size beside a running worker"
        with deployment.shop.open(100):
            time.sleep(SECONDS)
        status = worker.exit_status()
        wrong = [] if status is None else [f"it ended with {status}: {why_ended(worker)}"]
        yield judged(done, "the worker stays up", wrong)
        yield _ended_late(learner)
        if status is None:
            wrong = deployment.settle() + _lists_without_items(deployment, worker)
            yield judged(done, "it keeps answering, with items, all exactly once", wrong)
            said = within(20, lambda: _said(worker))
            yield judged(done, "a page names the setting", [] if said else ["no page names model_parameters"])
        yield _newcomer(deployment)
        worker.stop()


def _ended_late(learner: Process) -> Row:
    status = learner.exit_status()
    wrong = [] if status is None else [f"it ended with {status}: {why_ended(learner)}"]
    return judged("the learner itself", "it runs", wrong)


def _newcomer(deployment: Deployment) -> Row:
    newcomer, wrong = deployment.worker("newcomer"), []
    try:
        wait_ready(newcomer)
        deployment.shop.publish(EVENTS // 4)
        wrong = deployment.settle()
        newcomer.check()
    except (Ended, NotSeen):
        wrong = [f"not ready: {why_ended(newcomer)}"]
    newcomer.stop()
    return judged("a worker of the old settings that starts now", "ready, all answered", wrong)


def _said(worker: Process) -> bool:
    pages = (text_page(worker, path) for path in ("/", "/health/ready", "/settings", "/metrics"))
    return any("embedding" in text and "model_parameters" in text for text in pages)


def _lists_without_items(deployment: Deployment, worker: Process) -> list[str]:
    """Ask for a list until one has items, for some seconds."""

    def listed() -> bool:
        name = f"asks-{time.time_ns()}"
        deployment.shop.produce(name.encode(), event(name, event_id=name, type="request"))
        time.sleep(0.5)
        records = read(deployment.broker.brokers, deployment.topic("recommendations"))
        return any(r.key == name.encode() and json.loads(r.value or b"{}")["items"] for r in records)

    return [] if within(15, listed) else ["lists have no items"]
