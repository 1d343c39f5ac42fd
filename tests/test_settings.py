"""Invalid settings are refused by name, their order of precedence holds, and secrets are not printed."""

import pytest

from streams import settings
from streams.settings import BadSetting, Settings, load, origins


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("FRESHET_PARTITIONS", "many", "partitions"),
        ("FRESHET_PARTITIONS", "0", "partitions"),
        ("FRESHET_PARTITION", "3", "FRESHET_PARTITION"),
        ("FRESHET_GENERATORS", '{"magic": 1}', "magic"),
        ("FRESHET_GENERATORS", "{", "generators"),
        ("FRESHET_EVENT_WEIGHTS", '{"view": -1}', "event_weights"),
        ("FRESHET_SECURITY_PROTOCOL", "SASL_SSL", "sasl_password"),
        ("FRESHET_SECURITY_PROTOCOL", "TELNET", "security_protocol"),
        ("FRESHET_FILE", "/there/is/none.toml", "/there/is/none.toml"),
        ("FRESHET_WORKER_ID", "a b", "worker_id"),
        ("FRESHET_TOPIC_PREFIX", "a/b", "topic_prefix"),
        ("FRESHET_BROKERS", "PLAINTEXT://kafka:9092", "brokers: PLAINTEXT://kafka:9092 names a protocol"),
        ("FRESHET_BROKERS", "a:9092,kafka://b:9092", "brokers: kafka://b:9092 names a protocol"),
        ("FRESHET_BROKERS", "a:9092,", "brokers: has an empty host"),
    ],
)
def test_a_bad_setting_is_refused_by_name_on_one_line(monkeypatch, name, value, says):
    monkeypatch.setenv(name, value)
    with pytest.raises(BadSetting) as refused:
        load()
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_environment_beats_file_beats_default(monkeypatch, tmp_path):
    file = tmp_path / "freshet.toml"
    file.write_text("partitions = 6\ngrace_s = 60\n[event_weights]\nview = 2.0\n")
    monkeypatch.setenv("FRESHET_FILE", str(file))
    monkeypatch.setenv("FRESHET_PARTITIONS", "8")
    loaded = load()
    assert (loaded.partitions, loaded.grace_s, loaded.event_weights) == (8, 60, {"view": 2.0})
    origin = origins(loaded)
    assert [origin[name] for name in ("partitions", "grace_s", "replication")] == [
        "environment", "file", "default",
    ]  # fmt: skip


def test_an_unknown_name_in_the_file_is_refused(monkeypatch, tmp_path):
    file = tmp_path / "freshet.toml"
    file.write_text("partitons = 6\n")
    monkeypatch.setenv("FRESHET_FILE", str(file))
    with pytest.raises(BadSetting, match="partitons"):
        load()


def test_secrets_are_not_printed():
    loaded = Settings(security_protocol="SASL_SSL", sasl_username="u", sasl_password="hunter2")
    assert "hunter2" not in repr(loaded)
    assert "hunter2" not in str(loaded.model_dump())


def test_settings_are_frozen():
    with pytest.raises(Exception, match="frozen"):
        Settings().partitions = 3


def test_every_setting_is_named_in_the_environment_by_its_name():
    assert settings.PREFIX == "FRESHET_"


def test_both_clients_get_the_same_brokers(monkeypatch):
    from streams.kafka.client import confluent, faust_brokers

    monkeypatch.setenv("FRESHET_BROKERS", "a:9092, b:9093")
    loaded = load()
    assert confluent(loaded)["bootstrap.servers"] == "a:9092,b:9093"
    assert faust_brokers(loaded) == ["kafka://a:9092", "kafka://b:9093"]
