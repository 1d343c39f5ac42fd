"""Scenario of poison: records that stop a partition, one kind after the other, each with its right value."""

import time
from collections.abc import Iterator
from contextlib import ExitStack

from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from tests.bench.process import Ended, Process
from tests.chaos.broker import LARGEST_BYTES
from tests.chaos.chaos import Chaos
from tests.chaos.deployment import Deployment
from tests.chaos.pages import NotSeen, not_up, page, wait_ready
from tests.chaos.poison_kinds import KINDS, Poison, recommendations
from tests.chaos.report import Row, judged
from tests.chaos.shop import event
from tests.chaos.waiting import within

EFFECT_S = 20
AFTER = 30
"""Events of other users after each kind: so many that every partition has one, as good as surely."""


def poison(chaos: Chaos) -> Iterator[Row]:
    """Publish each kind to one worker; one that ended gets a new deployment for the kinds that follow."""
    kinds = list(KINDS)
    chaos.rng.shuffle(kinds)
    with ExitStack() as stack:
        deployment = worker = None
        for kind in kinds:
            if deployment is None or worker is None:
                deployment, worker = stack.enter_context(chaos.deploy("poison")), None
                _allow_large_events(deployment)
                worker = deployment.worker()
                wait_ready(worker)
            row = _row(kind, deployment, worker)
            yield row
            if worker.exit_status() is not None or not row.right:
                worker.kill()
                deployment = worker = None
        if deployment is not None and worker is not None:
            yield _restarted(deployment, worker)


def _row(kind: Poison, deployment: Deployment, worker: Process) -> Row:
    kind.publish(deployment)
    after = f"after-{time.time_ns()}"
    for number in range(AFTER):
        name = f"{after}-{number}"
        deployment.shop.produce(name.encode(), event(name, event_id=name))
    wrong = ["not looked yet"]

    def right() -> bool:
        wrong[:] = kind.faults(deployment, worker) + _unanswered(deployment, after)
        return not wrong or worker.exit_status() is not None

    within(EFFECT_S, right, 0.5)
    return judged(kind.done, f"{kind.expected}; the events after it answered", not_up(worker) or wrong)


def _restarted(deployment: Deployment, worker: Process) -> Row:
    worker.stop()
    again, wrong = deployment.worker(), []
    try:
        wait_ready(again)
        lag = within(10, lambda: sum(page(again)["lag"].values()) == 0)
        wrong += [] if lag else [f"a lag of {sum(page(again)['lag'].values())}"]
    except (Ended, NotSeen) as error:
        wrong.append(str(error).splitlines()[-1])
    again.stop()
    return judged("the worker started again after all of them", "ready, lag 0", wrong)


def _unanswered(deployment: Deployment, prefix: str) -> list[str]:
    ids = {entry["event_id"] for entry in recommendations(deployment)}
    count = sum(name.startswith(prefix) for name in ids)
    return [] if count == AFTER else [f"{AFTER - count} of {AFTER} later events not answered"]


def _allow_large_events(deployment: Deployment) -> None:
    entry = ConfigEntry("max.message.bytes", str(LARGEST_BYTES), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, deployment.topic("events"), incremental_configs=[entry])
    for future in deployment.admin.incremental_alter_configs([resource]).values():
        future.result(30)
