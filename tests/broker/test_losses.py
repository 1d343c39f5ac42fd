"""What is lost is counted and said, on a real broker: retention, topics changed under running processes."""

import urllib.request

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from streams.event_messages import Event
from streams.kafka.admin import create
from streams.kafka.client import confluent
from streams.messages import encode
from tests.broker.cluster import LONG_AGO, Cluster, Process, clicks, wait_for
from tests.web.worker import samples

WITHIN_S = 30
"""Time within which a change of the topics is noticed."""


def delete_records(cluster: Cluster, topic: str, before: dict[int, int]) -> None:
    """Delete the records before an offset, by partition, as retention does."""
    name = cluster.settings.topic(topic)
    admin = AdminClient(confluent(cluster.settings))
    requests = [TopicPartition(name, partition, offset) for partition, offset in before.items()]
    for deletion in admin.delete_records(requests).values():
        deletion.result(20)


def metric(process: Process, name: str) -> float:
    """Sum of a metric over its labels; 0 while the process does not answer."""
    try:
        with urllib.request.urlopen(process.url + "/metrics", timeout=5) as answer:
            return sum(samples(answer.read().decode()).get(name, {}).values())
    except OSError:
        return 0.0


def ends(cluster: Cluster, topic: str) -> dict[int, int]:
    with cluster._consumer() as consumer:
        return {tp.partition: end for tp, end in cluster._end_offsets(consumer, topic).items()}


def test_what_retention_deletes_while_worker_and_learner_are_down_is_counted(kafka, tmp_path):
    with Cluster(kafka.brokers, tmp_path, partitions=2) as cluster:
        learner, worker = cluster.start("learner"), cluster.start("worker")
        wait_for(worker.ready, "worker ready")
        cluster.publish(clicks(200))
        wait_for(cluster.has_learnt(200), "200 events learnt")
        wait_for(lambda: cluster.lag() == 0, "all committed")
        learner.stop()
        served, learnt = ends(cluster, "events"), ends(cluster, "examples")
        cluster.publish(clicks(200, seed=2))
        wait_for(lambda: cluster.lag() == 0, "all committed")
        worker.stop()
        served = ends(cluster, "events")
        cluster.publish(clicks(100, seed=3))
        kept = {partition: offset + 20 for partition, offset in served.items()}
        delete_records(cluster, "events", kept)
        unlearnt = ends(cluster, "examples")
        delete_records(cluster, "examples", unlearnt)
        lost_examples = sum(unlearnt.values()) - sum(learnt.values())

        learner, worker = cluster.start("learner"), cluster.start("worker")
        wait_for(lambda: metric(worker, "freshet_lost_events_total") == 40, "40 lost events counted")
        counted = wait_for(lambda: metric(learner, "freshet_lost_examples_total"), "lost examples counted")
        assert 0 <= counted - lost_examples <= 2, "and the marker after the last one read, of each partition"
        figures = wait_for(
            lambda: (page := worker.get()) and len(page["lost"]) == 2 and page, "both on the overview"
        )
        assert figures["lost"]["lost_events"] == {"0": 20, "1": 20}
        assert (figures["counts"]["lost_events"], figures["counts"]["lost_examples"]) == (40, counted)
        assert figures["lag"] == {"0": 0, "1": 0}
        assert "20 records of partition 1 were deleted before they were read" in worker.log.read_text()
        assert worker.ready()


def test_events_that_a_reset_of_the_group_skips_are_counted(kafka, tmp_path):
    """Dead letters, impressions and duplicates get no recommendation either, and are no loss."""
    with Cluster(kafka.brokers, tmp_path, partitions=2) as cluster:
        worker = cluster.start("worker")
        wait_for(worker.ready, "worker ready")
        cluster.publish(clicks(50))
        cluster.publish(clicks(5), copies=2)
        for n in range(10):
            cluster.produce(b"{", f"u{n}".encode())
            impression = Event(event_id=f"i{n}", user=f"u{n}", type="impression", item="i1", time=LONG_AGO)
            cluster.produce(encode(impression), impression.user.encode())
        cluster.flush()
        wait_for(lambda: cluster.lag() == 0, "all committed")
        worker.stop()
        worker = cluster.start("worker")
        wait_for(worker.ready, "worker ready")
        cluster.publish(clicks(10, seed=2))
        wait_for(lambda: cluster.lag() == 0, "all committed")
        assert metric(worker, "freshet_lost_events_total") == 0
        worker.stop()

        cluster.publish(clicks(60, seed=3))
        cluster.produce(b"{", b"u1")
        cluster.flush()
        with cluster._consumer() as consumer:
            latest = [
                TopicPartition(cluster.settings.topic("events"), partition, end)
                for partition, end in ends(cluster, "events").items()
            ]
            wait_for(lambda: committed(consumer, latest), "the group is empty, and is reset")
        worker = cluster.start("worker")
        wait_for(lambda: metric(worker, "freshet_lost_events_total") == 60, "60 skipped events counted")
        assert "was the group reset?" in worker.log.read_text()


def committed(consumer: Consumer, offsets: list[TopicPartition]) -> bool:
    """Whether a commit from outside the group was taken: it is refused while the group has members."""
    try:
        consumer.commit(offsets=offsets, asynchronous=False)
    except KafkaException:
        return False
    return True


def test_events_in_transactions_are_served_without_a_lag_or_a_loss(kafka, tmp_path):
    """Markers and aborted records make gaps, also at the end of a partition."""
    with Cluster(kafka.brokers, tmp_path, partitions=2) as cluster:
        learner, worker = cluster.start("learner"), cluster.start("worker")
        wait_for(worker.ready, "worker ready")
        producer = Producer(
            confluent(
                cluster.settings, **{"transactional.id": f"{tmp_path.name}-shop", "partitioner": "murmur2"}
            )
        )
        producer.init_transactions(20)
        for event in clicks(50):
            producer.begin_transaction()
            producer.produce(cluster.settings.topic("events"), encode(event), event.user.encode())
            producer.commit_transaction(20)
        wait_for(cluster.has_learnt(50), "50 events learnt")
        before = ends(cluster, "events")
        delete_records(cluster, "events", before)  # what was read may go
        wait_for(lambda: (page := worker.get()) and page["lag"] == {"0": 0, "1": 0}, "no lag")
        wait_for(lambda: (page := learner.get()) and page["lag"] == 0, "no lag of the learner")
        assert metric(worker, "freshet_lost_events_total") == 0
        assert metric(learner, "freshet_lost_examples_total") == 0


def test_events_deleted_and_recreated_under_running_processes_make_them_unready(kafka, tmp_path):
    with Cluster(kafka.brokers, tmp_path, partitions=2) as cluster:
        learner, worker = cluster.start("learner"), cluster.start("worker")
        wait_for(worker.ready, "worker ready")
        wait_for(learner.ready, "learner ready")
        cluster.publish(clicks(100))
        wait_for(lambda: cluster.lag() == 0, "all committed")
        name = cluster.settings.topic("events")
        admin = AdminClient(confluent(cluster.settings))
        admin.delete_topics([name])[name].result(20)
        wait_for(lambda: create(cluster.settings), "recreated")
        for process in (worker, learner):
            wait_for(lambda p=process: not p.ready(), "not ready", WITHIN_S)
        figures = wait_for(
            lambda: (page := worker.get()) and all(p["problems"] for p in page["processes"]) and page,
            "both processes on the overview",
        )
        assert {process["state"] for process in figures["processes"]} == {"not ready"}
        (problem,) = figures["answered_by"]["waiting_for"]
        assert f"{name}: was deleted and recreated" in problem
        assert "delete all of Freshet's topics together" in problem, "what to do"
        assert problem in worker.log.read_text()
