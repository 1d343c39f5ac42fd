"""Topics are created as configured, and a worker refuses those that would break its state."""

from confluent_kafka.admin import AdminClient, NewTopic

from deploy.kafka import free_port
from streams import topics
from streams.kafka.admin import create, differences
from streams.kafka.client import confluent
from tests.broker.cluster import Cluster, clicks, wait_for


def test_topics_are_created_as_configured_and_left_alone_after(kafka, tmp_path):
    cluster = Cluster(kafka.brokers, tmp_path)
    names = {t.name for t in topics.topics(cluster.settings).values()}
    assert set(create(cluster.settings)) == names
    assert create(cluster.settings) == []
    assert differences(cluster.settings) == []


def test_a_difference_is_reported_with_how_to_fix_it(kafka, tmp_path):
    cluster = Cluster(kafka.brokers, tmp_path)
    settings = cluster.settings
    admin = AdminClient(confluent(settings))
    wrong = [
        NewTopic(settings.topic("events"), 3, 1),
        NewTopic(settings.topic("recommendations"), 4, 1, config={"cleanup.policy": "delete"}),
    ]
    for future in admin.create_topics(wrong).values():
        future.result(30)
    expected = f"{settings.topic('events')}: has 3 partitions, not 4"
    wait_for(lambda: expected in "\n".join(differences(settings)), "the broker knows the topic")
    lines = "\n".join(differences(settings))
    assert "FRESHET_PARTITIONS=3" in lines
    assert f"{settings.topic('model')}: is missing; `freshet topics` creates it" in lines
    assert "cleanup.policy is delete, not compact" in lines
    assert "kafka-configs.sh" in lines


def test_a_worker_refuses_a_wrong_partition_count(kafka, tmp_path):
    with Cluster(kafka.brokers, tmp_path) as cluster:
        worker = cluster.start("worker", partitions=6)
        assert worker.wait(60) == 2
        log = worker.log.read_text()
        assert "has 4 partitions, not 6" in log
        assert "freshet topics" in log
        assert "Traceback" not in log


def test_a_worker_without_kafka_says_what_to_do(tmp_path):
    with Cluster(f"127.0.0.1:{free_port()}", tmp_path, embedded=True) as cluster:
        worker = cluster.start("worker", embedded=False)
        assert worker.wait(60) == 2
        log = worker.log.read_text()
        assert "no Kafka at" in log
        assert "make kafka" in log
        assert "Traceback" not in log


def test_a_recreated_events_topic_is_refused_because_users_would_skip_its_events(kafka, tmp_path):
    with Cluster(kafka.brokers, tmp_path) as cluster:
        worker, learner = cluster.start("worker"), cluster.start("learner")
        wait_for(worker.ready, "worker ready")
        cluster.publish(clicks(200))
        wait_for(cluster.has_learnt(200), "all learnt")
        worker.stop()
        learner.stop()
        admin, events = AdminClient(confluent(cluster.settings)), cluster.settings.topic("events")
        for future in admin.delete_topics([events]).values():
            future.result(30)
        wait_for(lambda: events not in admin.list_topics(timeout=15).topics, "the topic is gone")
        create(cluster.settings)
        again = cluster.start("worker")
        assert again.wait(60) == 1
        log = again.log.read_text()
        assert f"{events} was recreated" in log
        assert "delete all of Freshet's topics together" in log
