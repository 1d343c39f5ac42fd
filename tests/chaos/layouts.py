"""Scenario on layouts: learners and workers of other settings beside each other."""

import json
import time
from collections.abc import Iterator
from typing import Any

from tests.bench.process import Ended, Process
from tests.chaos.chaos import Chaos
from tests.chaos.deployment import Deployment
from tests.chaos.pages import NotSeen, not_up, page, text_page, wait_ready, why_ended
from tests.chaos.records import read
from tests.chaos.report import Row, judged
from tests.chaos.shop import event
from tests.chaos.waiting import within

EVENTS = 600
SECONDS = 10
START_S = 60
OTHER = {"model_parameters": {"embedding": {"dim": 32}}}
"""Half of the embedding's size."""
FEWER = {"max_items": 100}
"""Fewer rows than there are items."""


def layouts(chaos: Chaos) -> Iterator[Row]:
    """The learner comes back with another embedding size; workers that run, and others that start, go on."""
    with chaos.deploy("layouts") as deployment:
        learner, worker = deployment.learner(), deployment.worker()
        wait_ready(worker)
        deployment.shop.publish(EVENTS)
        wrong = deployment.settle() + _lists_without_items(deployment)
        yield judged("a learner and a worker of the same settings", "lists with items", wrong)
        learner.stop()
        learner = deployment.learner("other-learner", **OTHER)
        within(START_S, lambda: learner.exit_status() is not None or _is_active(learner))
        with deployment.shop.open(100):
            time.sleep(SECONDS)
        done = "a learner with another embedding size beside a running worker"
        yield judged(done, "the learner learns", not_up(learner) or _not_active(learner))
        yield judged(
            done, "the worker answers, with items, all exactly once", _not_answering(deployment, worker)
        )
        said = within(20, lambda: _said(worker))
        yield judged(done, "a page names the setting", [] if said else ["no page names model_parameters"])
        yield _newcomer(deployment, "the old settings", {})
        if not chaos.quick:
            yield _newcomer(deployment, "the other embedding size", OTHER)
            yield _newcomer(deployment, "fewer items than the model has", FEWER)
        worker.stop()


def _newcomer(deployment: Deployment, what: str, settings: dict[str, Any]) -> Row:
    newcomer = deployment.worker(f"newcomer-{time.time_ns()}", worker_id=None, **settings)
    try:
        wait_ready(newcomer)
        deployment.shop.publish(EVENTS // 4)
        wrong = _not_answering(deployment, newcomer)
    except (Ended, NotSeen):
        wrong = [f"not ready: {why_ended(newcomer)}"]
    newcomer.stop()
    return judged(f"a worker of {what} starts beside it", "ready, all answered", wrong)


def _not_answering(deployment: Deployment, worker: Process) -> list[str]:
    return not_up(worker) or deployment.settle() + _lists_without_items(deployment)


def _is_active(learner: Process) -> bool:
    learner_page = page(learner)
    return learner_page is not None and learner_page["state"] == "active"


def _not_active(learner: Process) -> list[str]:
    return [] if _is_active(learner) else ["it does not learn"]


def _said(worker: Process) -> bool:
    pages = (text_page(worker, path) for path in ("/", "/health/ready", "/metrics"))
    return any("embedding" in text and "model_parameters" in text for text in pages)


def _lists_without_items(deployment: Deployment) -> list[str]:
    """Ask for a list until one has items, for some seconds."""

    def listed() -> bool:
        name = f"asks-{time.time_ns()}"
        deployment.shop.produce(name.encode(), event(name, event_id=name, type="request"))
        time.sleep(0.5)
        records = read(deployment.broker.brokers, deployment.topic("recommendations"))
        return any(r.key == name.encode() and json.loads(r.value or b"{}")["items"] for r in records)

    return [] if within(15, listed) else ["lists have no items"]
