"""Topics: created as they should be, differences said, and a worker that refuses to break its state."""

from confluent_kafka.admin import AdminClient, NewTopic

from deploy.kafka import free_port
from streams import topics
from streams.kafka.admin import create, differences
from streams.kafka.client import confluent
from tests.broker.cluster import Cluster, clicks, wait_for


def test_created_as_they_should_be_and_left_alone_after(kafka, tmp_path):
    cluster = Cluster(kafka.brokers, tmp_path)
    names = {t.name for t in topics.topics(cluster.settings).values()}
    assert set(create(cluster.settings)) == names
    assert create(cluster.settings) == []
    assert differences(cluster.settings) == []


def test_what_differs_is_said_with_the_way_to_mend_it(kafka, tmp_path):
    cluster = Cluster(kafka.brokers, tmp_path)
    settings = cluster.settings
    admin = AdminClient(confluent(settings))
    wrong = [
        NewTopic(settings.topic("events"), 3, 1),
        NewTopic(settings.topic("recommendations"), 4, 1, config={"cleanup.policy": "delete"}),
    ]
    for future in admin.create_topics(wrong).values():
        future.result(30)
    mentioned = f"{settings.topic('events')}: has 3 partitions, not 4"
    wait_for(lambda: mentioned in "\n".join(differences(settings)), "the broker has heard of it")
    lines = "\n".join(differences(settings))
    assert "FRESHET_PARTITIONS=3" in lines
    assert f"{settings.topic('model')}: is missing; `freshet topics` creates it" in lines
    assert "cleanup.policy is delete, not compact" in lines
    assert "kafka-configs.sh" in lines


def test_a_worker_refuses_a_wrong_partition_count(kafka, tmp_path):
    with Cluster(kafka.brokers, tmp_path) as cluster:
        worker = cluster.start("worker", partitions=6)
        assert worker.wait(60) == 2
        said = worker.log.read_text()
        assert "has 4 partitions, not 6" in said
        assert "freshet topics" in said
        assert "Traceback" not in said


def test_a_worker_without_kafka_says_what_to_do(tmp_path):
    with Cluster(f"127.0.0.1:{free_port()}", tmp_path, embedded=True) as cluster:
        worker = cluster.start("worker", embedded=False)
        assert worker.wait(60) == 2
        said = worker.log.read_text()
        assert "no Kafka at" in said
        assert "make kafka" in said
        assert "Traceback" not in said


def test_events_made_anew_are_refused_because_users_would_skip_them(kafka, tmp_path):
    with Cluster(kafka.brokers, tmp_path) as cluster:
        worker, learner = cluster.start("worker"), cluster.start("learner")
        wait_for(worker.ready, "worker ready")
        cluster.publish(clicks(200))
        wait_for(cluster.learnt(200), "all learnt")
        worker.stop()
        learner.stop()
        admin, events = AdminClient(confluent(cluster.settings)), cluster.settings.topic("events")
        for future in admin.delete_topics([events]).values():
            future.result(30)
        wait_for(lambda: events not in admin.list_topics(timeout=15).topics, "the topic is gone")
        create(cluster.settings)
        again = cluster.start("worker")
        assert again.wait(60) == 1
        said = again.log.read_text()
        assert f"{events} was made anew" in said
        assert "delete all of Freshet's topics together" in said
