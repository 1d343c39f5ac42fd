"""A worker's folder on a real broker: the changelog recreated or cut, RocksDB damaged, a full disk."""

import re
import resource
import urllib.request
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from streams import topics
from streams.kafka.admin import create
from streams.kafka.client import confluent
from streams.step.users import User
from tests.broker.cluster import Cluster, Process, clicks, wait_for

PLAIN = {"recommender": "constant"}
"""What is tested here does not depend on the model."""


@pytest.fixture
def cluster(kafka, tmp_path):
    with Cluster(kafka.brokers, tmp_path, **PLAIN) as cluster:
        yield cluster


def started(cluster: Cluster, name: str = "worker") -> Process:
    worker = cluster.start("worker", name)
    wait_for(worker.ready, "worker ready")
    return worker


def publish(cluster: Cluster, first: int, last: int, users: int = 40) -> None:
    """Publish a part of the log, and wait until all of it is applied."""
    cluster.publish(list(clicks(last, users))[first:], at_event_time=True)
    wait_for(lambda: cluster.lag() == 0, "every event committed")


def history(users: dict[str, User]) -> dict[str, tuple[int, int, tuple[str, ...]]]:
    return {name: (user.offset, user.events, user.items) for name, user in users.items()}


def changelog_of(cluster: Cluster) -> str:
    return cluster.settings.topic(topics.USERS_CHANGELOG)


def recreate_changelog(cluster: Cluster) -> None:
    admin, changelog = AdminClient(confluent(cluster.settings)), changelog_of(cluster)
    for future in admin.delete_topics([changelog]).values():
        future.result(30)
    wait_for(lambda: changelog not in admin.list_topics(timeout=15).topics, "the topic is gone")
    create(cluster.settings)


def cut_changelog(cluster: Cluster) -> None:
    """Delete all records of the changelog; Kafka does it only if the topic may be deleted from."""
    admin, changelog = AdminClient(confluent(cluster.settings)), changelog_of(cluster)
    policy = ConfigEntry("cleanup.policy", "compact,delete", incremental_operation=AlterConfigOpType.SET)
    resource_ = ConfigResource(ResourceType.TOPIC, changelog, incremental_configs=[policy])
    for future in admin.incremental_alter_configs([resource_]).values():
        future.result(30)
    everything = [TopicPartition(changelog, partition, -1) for partition in range(4)]
    for future in admin.delete_records(everything).values():
        future.result(30)


def repairs(worker: Process, kind: str) -> float:
    overview = worker.get("/?range=15min") or {"repairs": []}
    return sum(entry["count"] for entry in overview["repairs"] if entry["kind"] == kind)


def last_line(worker: Process) -> str:
    log = worker.log.read_text()
    assert "Traceback" not in log
    return log.strip().splitlines()[-1]


def test_a_trial_in_the_same_data_folder_has_users_of_its_own(kafka, cluster):
    """Under another prefix offsets begin at 0 again, and would be taken for replayed ones."""
    worker = started(cluster)
    publish(cluster, 0, 400)
    assert worker.stop() == 0
    prefix = f"trial-{cluster.settings.topic_prefix}"
    with Cluster(kafka.brokers, cluster.folder, topic_prefix=prefix, **PLAIN) as trial:
        started(trial)
        publish(trial, 0, 100)
        assert trial.events_applied() == 100
        assert len(trial.answers()) == 100


def test_a_changelog_that_was_recreated_while_the_worker_was_stopped_gets_its_users_again(cluster):
    worker = started(cluster)
    publish(cluster, 0, 400)
    before = history(cluster.users())
    assert worker.stop() == 0
    recreate_changelog(cluster)
    assert cluster.users() == {}
    worker = started(cluster)
    assert history(cluster.users()) == before
    wait_for(lambda: repairs(worker, "changelog") == 4, "the repairs are on the overview")
    publish(cluster, 400, 600)
    assert cluster.events_applied() == 600
    worker.stop()
    worker = started(cluster)
    assert "was recreated" in worker.log.read_text()
    assert cluster.record_count(topics.USERS_CHANGELOG) < 3 * 600, "users are written again once"


def test_a_changelog_that_was_recreated_under_a_running_worker_is_noticed(cluster):
    worker = started(cluster)
    publish(cluster, 0, 400)
    recreate_changelog(cluster)
    cluster.publish(list(clicks(500, users=40))[400:], at_event_time=True)
    wait_for(
        lambda: worker.ended() or repairs(worker, "changelog") == 4,  # a rebalance may come before the watch
        "the worker ended, or wrote its users again",
    )
    if worker.ended():
        assert worker.wait(5) == 1
        said = rf"freshet: {re.escape(changelog_of(cluster))} was (recreated|deleted) while this worker ran"
        assert re.search(said, worker.log.read_text())
        started(cluster)
    wait_for(lambda: cluster.lag() == 0, "every event committed")
    assert cluster.events_applied() == 500


def test_a_changelog_that_was_cut_under_a_running_worker_is_noticed(cluster):
    worker = started(cluster)
    publish(cluster, 0, 400)
    before = history(cluster.users())
    cut_changelog(cluster)
    assert worker.wait(60) == 1
    assert f"freshet: {changelog_of(cluster)} was cut in partition 0, 1, 2, 3" in last_line(worker)
    worker = started(cluster)
    assert history(cluster.users()) == before
    publish(cluster, 400, 500)
    assert cluster.events_applied() == 500


def test_a_store_that_ends_before_the_cut_takes_no_newer_user_back(cluster):
    """Another worker has the newer users: whichever of them comes first, the later event counts."""
    old = started(cluster, "old")
    publish(cluster, 0, 300)
    assert old.stop() == 0
    new = started(cluster, "new")
    publish(cluster, 300, 600)
    before = history(cluster.users())
    assert new.stop() == 0
    cut_changelog(cluster)
    old = started(cluster, "old")
    assert "deleted ones are lost" in old.log.read_text()
    assert old.stop() == 0
    new = started(cluster, "new")
    assert history(cluster.users()) == before
    publish(cluster, 600, 700)
    assert cluster.events_applied() == 700


def test_damaged_users_and_a_damaged_copy_of_the_model_are_restored(cluster):
    worker = started(cluster)
    publish(cluster, 0, 400)
    assert worker.stop() == 0
    stores = [file.parent for file in Path(cluster.folder / "worker").rglob("CURRENT")]
    assert len(stores) == 6
    for n, store in enumerate(sorted(stores)):
        if n % 2:
            (store / "CURRENT").unlink()
        else:
            next(store.glob("MANIFEST-*")).unlink()
    worker = started(cluster)
    wait_for(lambda: repairs(worker, "users") == 4, "the repairs are on the overview")
    assert (repairs(worker, "model"), repairs(worker, "catalog")) == (1, 1)
    with urllib.request.urlopen(worker.url + "/metrics", timeout=5) as response:
        assert b'freshet_local_state_repairs_total{kind="users"} 4' in response.read()
    publish(cluster, 400, 500)
    assert cluster.events_applied() == 500
    assert {user.events for user in cluster.users().values()} == {
        len([e for e in clicks(500, users=40) if e.user == name]) for name in cluster.users()
    }


def test_damage_that_is_met_while_running_ends_the_worker_with_a_line(cluster):
    worker = started(cluster)
    publish(cluster, 0, 2_000, users=1_000)
    assert worker.stop() == 0
    worker = started(cluster)  # a store is written to SST files when it is opened again
    assert worker.stop() == 0
    (store,) = (cluster.folder / "worker").rglob("users-2.db")
    file = max(store.glob("*.sst"), key=lambda file: file.stat().st_size)  # with users, not the mark alone
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)
    worker = started(cluster)
    cluster.publish(list(clicks(4_000, users=1_000))[2_000:], at_event_time=True)
    assert worker.wait(60) == 1
    assert "is damaged: start again" in last_line(worker)
    worker = started(cluster)
    wait_for(lambda: cluster.lag() == 0, "every event committed")
    assert cluster.events_applied() == 4_000
    wait_for(lambda: repairs(worker, "users") == 1, "the repair is on the overview")


def test_a_second_worker_on_a_folder_and_a_taken_port_end_with_a_line(cluster):
    worker = started(cluster)
    port = int(worker.url.rpartition(":")[2])
    folder, file = cluster.folder / "worker", cluster.folder / "file"
    file.write_text("")
    refused = {
        f"data_dir: {folder}": [cluster.start("worker", "second", data_dir=str(folder))],
        f"web_port: the pages cannot listen on 127.0.0.1:{port}": [
            cluster.start(command, f"port-{command}", web_port=port) for command in ("worker", "learner")
        ],
        f"data_dir: {file}": [
            cluster.start(command, f"file-{command}", data_dir=str(file)) for command in ("worker", "learner")
        ],
    }
    for line, processes in refused.items():
        for process in processes:
            assert process.wait(60) == 1
            assert last_line(process).startswith(f"freshet: {line}")
            assert len(process.log.read_text().splitlines()) == 1
    assert worker.ready()


def test_a_disk_that_fills_up_while_running_ends_the_worker_with_a_line(cluster):
    """A limit on the size of files stands for the disk: RocksDB gets the same kind of error.

    The worker's log is below it, and the users are above.
    """
    worker = started(cluster)
    resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (60_000, resource.RLIM_INFINITY))
    cluster.publish(clicks(4_000, users=3_000), at_event_time=True)
    assert worker.wait(60) == 1
    assert last_line(worker).startswith(f"freshet: data_dir: {cluster.folder / 'worker'}")
    assert "cannot be used" in last_line(worker)
    started(cluster)
    wait_for(lambda: cluster.lag() == 0, "every event committed")
    assert cluster.events_applied() == 4_000
