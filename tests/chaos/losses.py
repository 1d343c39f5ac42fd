"""Scenarios on losses: records that nobody can read any more, and topics that are others now."""

import time
from collections.abc import Iterator

from confluent_kafka import TopicPartition
from confluent_kafka.admin import NewPartitions

from tests.bench.process import Process
from tests.chaos.chaos import Chaos
from tests.chaos.deployment import PARTITIONS, Deployment
from tests.chaos.pages import metrics, page, page_faults, text_page, wait_ready, why_ended
from tests.chaos.records import end_offsets
from tests.chaos.report import Row, judged
from tests.chaos.waiting import within

EVENTS = 600
NOTICED_S = 30


def deleted(chaos: Chaos) -> Iterator[Row]:
    """Retention deletes events that the workers, and examples that the learner, have not read."""
    with chaos.deploy("deleted") as deployment:
        worker, learner = deployment.worker(), deployment.learner()
        wait_ready(worker)
        learner.wait_active()
        deployment.shop.publish(EVENTS)
        deployment.settle()
        learnt = len(deployment.expected().examples)
        within(NOTICED_S, lambda: metrics(learner).get("freshet_examples_total") == learnt)
        worker.stop()
        learner.stop()
        read_to = end_offsets(deployment.broker.brokers, deployment.topic("examples"))
        lost = _publish_and_delete(deployment, "events", chaos.rng.uniform(0.2, 0.8))
        worker = deployment.worker()
        wait_ready(worker)
        wrong = deployment.settle() + page_faults(worker, deployment.expected())
        yield judged(f"{lost} unread events deleted", "the others are served, users right", wrong)
        yield _counted(f"{lost} unread events deleted", worker, lost)
        lag = within(NOTICED_S, lambda: sum(page(worker)["lag"].values()) == 0)
        yield judged("then", "a lag of 0", [] if lag else [f"a lag of {page(worker)['lag']}"])

        unread = len(deployment.expected().examples) - learnt
        ends = end_offsets(deployment.broker.brokers, deployment.topic("examples"))
        _delete(deployment, "examples", ends)
        learner = deployment.learner()
        learner.wait_active()
        # some of them may be markers of transactions, one behind the last example that was learnt among them
        offsets = sum(ends.values()) - sum(read_to.values()) + PARTITIONS
        yield _counted(
            f"{unread} examples deleted that a stopped learner had not read", learner, unread, offsets
        )


def _publish_and_delete(deployment: Deployment, topic: str, share: float) -> int:
    """Publish events and delete this share of them in each partition; returns how many."""
    before = end_offsets(deployment.broker.brokers, deployment.topic(topic))
    deployment.shop.publish(EVENTS)
    after = end_offsets(deployment.broker.brokers, deployment.topic(topic))
    to = {
        partition: before[partition] + int((after[partition] - before[partition]) * share)
        for partition in after
    }
    _delete(deployment, topic, to)
    return sum(to[partition] - before[partition] for partition in after)


def _delete(deployment: Deployment, topic: str, to: dict[int, int]) -> None:
    """Delete the records before these offsets, by partition."""
    places = [TopicPartition(deployment.topic(topic), partition, offset) for partition, offset in to.items()]
    for future in deployment.admin.delete_records(places).values():
        future.result(30)


def _counted(done: str, process: Process, at_least: int, at_most: int | None = None) -> Row:
    """A row that is right when a metric about losses has this sum."""
    at_most = at_least if at_most is None else at_most

    def losses() -> dict[str, float]:
        names = ("lost", "missed", "skipped", "unread", "gap")
        return {name: value for name, value in metrics(process).items() if any(n in name for n in names)}

    within(NOTICED_S, lambda: any(at_least <= value <= at_most for value in losses().values()), 0.5)
    seen = losses()
    right = any(at_least <= value <= at_most for value in seen.values())
    expected = f"a metric of losses says {at_least}"
    return Row(done, expected, ", ".join(f"{k} {v:.0f}" for k, v in seen.items()) or "no metric of it", right)


def partitions_added(chaos: Chaos) -> Iterator[Row]:
    """`events` gets more partitions under a running worker."""
    with chaos.deploy("partitions") as deployment:
        worker = deployment.worker()
        wait_ready(worker)
        more = NewPartitions(deployment.topic("events"), PARTITIONS + 2)
        for future in deployment.admin.create_partitions([more]).values():
            future.result(30)
        deployment.shop.publish(EVENTS)
        yield _noticed("two partitions added to `events` under a running worker", worker, deployment)


def recreated(chaos: Chaos) -> Iterator[Row]:
    """`events` is deleted and created anew under a running worker."""
    with chaos.deploy("recreated") as deployment:
        worker = deployment.worker()
        wait_ready(worker)
        deployment.shop.publish(EVENTS)
        deployment.settle()
        deployment.delete_topics(deployment.topic("events"))
        deployment.create_topics()
        deployment.shop.publish(EVENTS)
        yield _noticed("`events` deleted and created anew under a running worker", worker, deployment)


def _noticed(done: str, worker: Process, deployment: Deployment) -> Row:
    """A row that is right when the worker says in time that it is not ready, and names the topic."""
    began, topic = time.monotonic(), deployment.topic("events")

    def notice() -> str:
        if worker.exit_status() is not None:
            said = worker.log.read_text(errors="replace")
            return f"it ended: {why_ended(worker)}" if topic in said[-3000:] else ""
        ready = text_page(worker, "/health/ready.json") or text_page(worker, "/health/ready")
        return f"not ready: {ready}" if topic in ready and '"ready":false' in ready.replace(" ", "") else ""

    said = within(NOTICED_S, notice, 0.5)
    expected = f"within {NOTICED_S} s not ready, with the topic's name"
    if said:
        return Row(done, expected, f"after {time.monotonic() - began:.0f} s {said}", True)
    ended = worker.exit_status()
    state = (
        text_page(worker, "/health/ready") if ended is None else f"it ended with {ended}: {why_ended(worker)}"
    )
    return Row(done, expected, f"after {NOTICED_S} s: {state}", False)
