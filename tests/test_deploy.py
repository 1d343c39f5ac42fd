"""The local Kafka runs, the files of `deploy/` are valid, and every name in them and in docs/ exists."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiokafka import codec
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewTopic,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from deploy.kafka import KafkaBroker, KafkaFailed, available, free_port
from streams.cli import cli
from streams.settings import FILE, PREFIX, Settings

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
UNITS = sorted(DEPLOY.glob("*.service"))
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES = {name: service for name, service in COMPOSE["services"].items() if service["image"] == "freshet"}

METRICS = {
    "freshet_events_total",
    "freshet_recommendations_total",
    "freshet_recommendations_skipped_total",
    "freshet_event_age_seconds_bucket",
    "freshet_model_age_seconds",
    "freshet_lag_events",
    "freshet_learner_lag_examples",
    "freshet_dead_letters_total",
    "freshet_predictions_total",
    "freshet_hits_total",
    "freshet_disk_bytes",
    "freshet_ready",
    "freshet_rebalances_total",
    "freshet_local_state_repairs_total",
    "freshet_learner_active",
    "freshet_uncommitted_events",
    "freshet_lost_events_total",
    "freshet_lost_examples_total",
    "freshet_clock_skew_seconds",
    "freshet_model_components_not_updated",
    "freshet_model_differences",
    "freshet_model_unread_rows",
}
"""Metrics that the dashboard shows: alerts and docs name no others, and the pages have all of them."""


# The local Kafka


def publish(brokers: str, topic: str, values: list[bytes], key: bytes | None = None) -> None:
    producer = Producer({"bootstrap.servers": brokers, "log_level": 0})
    for value in values:
        producer.produce(topic, value, key)
    assert producer.flush(30) == 0


def read(brokers: str, topic: str, count: int, seconds: float = 120) -> list[bytes]:
    """Read the first `count` values of a topic, or those that came within `seconds`."""
    config = {
        "bootstrap.servers": brokers,
        "group.id": "test",
        "auto.offset.reset": "earliest",
        "log_level": 0,
    }
    consumer = Consumer(config | {"enable.auto.commit": False})
    consumer.subscribe([topic])
    values, until = [], time.monotonic() + seconds
    while len(values) < count and time.monotonic() < until:
        message = consumer.poll(0.2)
        if message is not None and message.error() is None:
            values.append(message.value())
    consumer.close()
    return values


def create(brokers: str, topic: str) -> None:
    admin = AdminClient({"bootstrap.servers": brokers, "log_level": 0})
    admin.create_topics([NewTopic(topic, 1)])[topic].result(30)


@pytest.mark.kafka
def test_a_broker_keeps_its_data_and_address(tmp_path: Path) -> None:
    values = [str(n).encode() for n in range(100)]
    with KafkaBroker(tmp_path) as kafka:
        address = kafka.brokers
        create(kafka.brokers, "kept")
        publish(kafka.brokers, "kept", values[:50])
        kafka.stop()
        assert kafka.pid is None
        kafka.start()
        assert kafka.brokers == address
        publish(kafka.brokers, "kept", values[50:])
        kafka.kill()
        kafka.start()
        assert read(kafka.brokers, "kept", 100) == values
        with pytest.raises(KafkaFailed, match="already running"):
            KafkaBroker(tmp_path).start()
        with pytest.raises(KafkaFailed, match=f"port {kafka.port} is taken"):
            KafkaBroker(tmp_path / "other", kafka.port).start()
    assert kafka.pid is None


@pytest.mark.kafka
def test_a_broker_that_cannot_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(KafkaFailed, match=r"Invalid value no-number for configuration num\.io\.threads"):
        KafkaBroker(tmp_path, config={"num.io.threads": "no-number"}).start()
    with pytest.raises(KafkaFailed, match=r"(?s)ended during its start.*kafka.log:.*no-such-class"):
        KafkaBroker(tmp_path, config={"authorizer.class.name": "no-such-class"}).start()


@pytest.mark.kafka
def test_the_command_line(tmp_path: Path) -> None:
    def kafka(*arguments: str) -> str:
        command = [sys.executable, DEPLOY / "kafka.py", *arguments, "--folder", tmp_path]
        result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
        return result.stdout.splitlines()[-1]

    port = str(free_port())
    try:
        assert kafka("start", "--port", port).startswith(f"Kafka is running at 127.0.0.1:{port}")
        assert kafka("start") == f"Kafka is already running at 127.0.0.1:{port}"
        assert kafka("status").startswith(f"Kafka is running at 127.0.0.1:{port}, process ")
    finally:
        assert kafka("stop") == "Kafka has stopped"
    assert kafka("stop") == kafka("status") == "Kafka is not running"


def test_the_reason_is_one_line_without_java_or_maven(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    assert "java not found: install Java 17" in str(available())
    java = tmp_path / "java"
    java.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\"' >&2\n")
    java.chmod(0o755)
    assert "is Java 11: install Java 17" in str(available())
    java.write_text("#!/bin/sh\necho 'openjdk version \"21\"' >&2\n")
    assert "mvn not found" in str(available(jars=tmp_path / "none"))
    with pytest.raises(KafkaFailed, match="mvn not found"):
        KafkaBroker(tmp_path / "broker", jars=tmp_path / "none").start()


# TLS, SASL and access rights, as in docs/operations.md


def documented_acls() -> Iterator[AclBinding]:
    """The ACLs that the kafka-acls.sh commands of docs/operations.md add."""
    text = (ROOT / "docs/operations.md").read_text().replace("\\\n", " ")
    for line in re.findall(r"^kafka-acls\.sh .*", text, re.MULTILINE):
        words = shlex.split(line)
        options = dict(pairwise(words))
        operations = [after for word, after in pairwise(words) if word == "--operation"]
        resource = next(r for r in ("topic", "group", "transactional-id") if f"--{r}" in options)
        pattern = options.get("--resource-pattern-type", "literal").upper()
        for operation in operations:
            yield AclBinding(
                ResourceType[resource.replace("-", "_").upper()],
                options[f"--{resource}"],
                ResourcePatternType[pattern],
                options["--allow-principal"],
                "*",
                AclOperation[re.sub(r"(?<!^)([A-Z])", r"_\1", operation).upper()],
                AclPermissionType.ALLOW,
            )


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[tuple[KafkaBroker, dict[str, str]]]:
    """A broker that also listens with TLS and SASL, and settings of a user with the documented ACLs."""
    key_store, authority, port = tmp_path / "broker.p12", tmp_path / "ca.pem", free_port()
    home = os.environ.get("JAVA_HOME")  # every Java has keytool, but only the system's is on the path
    keytool = f"{home}/bin/keytool" if home else "keytool"
    entry = ["-alias", "broker", "-keystore", key_store, "-storepass", "changeit"]
    name = ["-dname", "CN=localhost", "-ext", "san=ip:127.0.0.1"]
    for command in (
        [keytool, "-genkeypair", "-keyalg", "RSA", "-storetype", "PKCS12", *name, *entry],
        [keytool, "-exportcert", "-rfc", "-file", authority, *entry],
    ):
        subprocess.run(command, check=True, capture_output=True)
    kafka = KafkaBroker(tmp_path / "broker")
    sasl = "listener.name.secured.{}.sasl.jaas.config"
    tls = "listener.name.secured.ssl.keystore"
    kafka.config = {
        "listeners": f"{kafka.listeners},SECURED://127.0.0.1:{port}",
        "advertised.listeners": f"PLAINTEXT://{kafka.brokers},SECURED://127.0.0.1:{port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURED:SASL_SSL",
        "listener.name.secured.sasl.enabled.mechanisms": "SCRAM-SHA-512",
        sasl.format("scram-sha-512"): "org.apache.kafka.common.security.scram.ScramLoginModule required;",
        f"{tls}.type": "PKCS12",
        f"{tls}.location": key_store,
        f"{tls}.password": "changeit",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",  # clients of the plain listener: this test and the broker
    }
    with kafka:
        admin = AdminClient({"bootstrap.servers": kafka.brokers, "log_level": 0})
        credential = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        user = UserScramCredentialUpsertion("freshet", credential, b"secret")
        admin.alter_user_scram_credentials([user])["freshet"].result(30)
        for future in admin.create_acls(list(documented_acls())).values():
            future.result(30)
        yield (
            kafka,
            {
                "FRESHET_BROKERS": f"127.0.0.1:{port}",
                "FRESHET_SECURITY_PROTOCOL": "SASL_SSL",
                "FRESHET_SSL_CA_FILE": str(authority),
                "FRESHET_SASL_MECHANISM": "SCRAM-SHA-512",
                "FRESHET_SASL_USERNAME": "freshet",
                "FRESHET_SASL_PASSWORD": "secret",
                "FRESHET_TOPIC_PREFIX": "shop.",
                "FRESHET_PARTITIONS": "2",
            },
        )


@pytest.mark.kafka
def test_it_runs_with_the_documented_acls_over_tls_and_sasl(
    secured: tuple[KafkaBroker, dict[str, str]], tmp_path: Path
) -> None:
    kafka, settings = secured
    command, environ = [sys.executable, "-m", "streams"], os.environ | settings
    subprocess.run([*command, "topics"], env=environ, cwd=ROOT, check=True, timeout=120)
    running, ports, logs = {}, {}, {name: tmp_path / f"{name}.log" for name in ("worker", "learner")}
    try:
        for name in logs:
            ports[name] = free_port()
            own = {"FRESHET_WORKER_ID": name, "FRESHET_DATA_DIR": str(tmp_path / name)}
            own["FRESHET_WEB_PORT"] = str(ports[name])
            with logs[name].open("wb") as log:
                running[name] = subprocess.Popen(
                    [*command, name], env=environ | own, cwd=ROOT, stdout=log, stderr=log
                )
        event = {"user": "u", "type": "click", "item": "i", "time": int(time.time() * 1000)}
        events = [json.dumps(event | {"event_id": str(n)}).encode() for n in range(20)]
        publish(kafka.brokers, "shop.events", events, b"u")
        assert len(read(kafka.brokers, "shop.recommendations", 20)) == 20, logs["worker"].read_text()
        assert read(kafka.brokers, "shop.model", 1), logs["learner"].read_text()
        assert [process.poll() for process in running.values()] == [None, None]
        exposed = metrics(ports["worker"]) | metrics(ports["learner"])
        assert exposed >= METRICS
    finally:
        for process in running.values():
            process.kill()
            process.wait()


def metrics(port: int) -> set[str]:
    """The names of Freshet's metrics on the page /metrics of a process."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        return set(re.findall(r"freshet_\w+", answer.read().decode()))


def test_events_may_be_compressed_with_any_codec_of_kafka() -> None:
    """A worker would end again and again at a record that aiokafka cannot decompress."""
    assert codec.has_gzip()
    assert codec.has_snappy()
    assert codec.has_lz4()
    assert codec.has_zstd()


# Files


def test_every_setting_named_in_files_exists() -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields} | {FILE}
    files = [ROOT / "README.md", ROOT / "Makefile", *ROOT.glob("docs/**/*.md"), *DEPLOY.rglob("*")]
    named = {
        (name, str(file.relative_to(ROOT)))
        for file in files
        if file.is_file() and file.suffix != ".pyc"
        for name in re.findall(r"FRESHET_[A-Z_]*[A-Z]", file.read_text())
    }
    assert [pair for pair in sorted(named) if pair[0] not in known] == []


def test_compose_file_is_valid() -> None:
    compose = ["docker", "compose"]
    if not shutil.which("docker") or subprocess.run([*compose, "version"], capture_output=True).returncode:
        pytest.skip("docker compose is not installed")
    command = [*compose, "--file", DEPLOY / "compose.yaml", "config", "--quiet"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")


def test_compose_runs_every_command_and_publishes_on_loopback_only() -> None:
    assert {service["command"][0] for service in SERVICES.values()} == {"topics", "worker", "learner"}
    assert {service["command"][0] for service in SERVICES.values()} <= set(cli.commands)
    ports = [port for service in COMPOSE["services"].values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)
    published = [port.split(":")[1] for port in ports]
    assert len(published) == len(set(published))


def test_each_process_in_compose_has_a_name_a_folder_and_an_address_of_its_own() -> None:
    running = {name: service for name, service in SERVICES.items() if service["command"] != ["topics"]}
    ids = [service["environment"]["FRESHET_WORKER_ID"] for service in running.values()]
    folders = [service["volumes"][0] for service in running.values()]
    assert len(set(ids)) == len(set(folders)) == len(running) == 3
    for name, service in running.items():
        assert service["environment"]["FRESHET_WEB_ADVERTISED_HOST"] == name


def test_prometheus_scrapes_every_process() -> None:
    prometheus = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())
    scraped = [t for group in prometheus["scrape_configs"][0]["static_configs"] for t in group["targets"]]
    port = Settings.model_fields["web_port"].default
    assert sorted(scraped) == sorted(f"{n}:{port}" for n, s in SERVICES.items() if s["command"] != ["topics"])


def test_the_dashboard_the_alerts_and_the_docs_use_metrics_that_exist() -> None:
    dashboard = json.loads((DEPLOY / "grafana/dashboards/freshet.json").read_text())
    shown = {target["expr"] for panel in dashboard["panels"] for target in panel["targets"]}
    assert set(re.findall(r"freshet_\w+", " ".join(shown))) == METRICS
    rules = yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"][0]["rules"]
    assert all(rule["alert"] and rule["annotations"]["summary"] and rule["for"] for rule in rules)
    expressions = " ".join(rule["expr"] for rule in rules)
    assert set(re.findall(r"freshet_\w+", expressions)) <= METRICS
    page = (ROOT / "docs/operations.md").read_text()
    assert set(re.findall(r"`(freshet_\w+)", page)) <= METRICS


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_unit_is_valid(unit: Path, tmp_path: Path) -> None:
    command = re.search(r"^ExecStart=/opt/freshet/bin/freshet (\w+)$", unit.read_text(), re.MULTILINE)
    assert command
    assert command[1] in cli.commands
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    copy = tmp_path / unit.name.replace("@", "@6066")
    copy.write_text(unit.read_text().replace("/opt/freshet/bin/freshet", "/bin/true"))  # must be there
    result = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_the_image_copies_exactly_what_the_build_context_holds() -> None:
    copied = re.findall(r"^COPY (.*) \S+$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    sent = {line[1:] for line in (DEPLOY / "Dockerfile.dockerignore").read_text().split() if line[0] == "!"}
    assert sent == set(" ".join(copied).split())
    assert {"models", "streams", "pyproject.toml"} <= sent


def test_make_lists_its_targets() -> None:
    listed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in ("demo", "run", "test", "lint", "format", "bench", "kafka", "kafka-stop", "clean"):
        assert f"make {target} " in listed
