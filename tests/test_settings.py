"""Invalid settings are refused by name, their order of precedence holds, and secrets are not printed."""

import pytest

from streams import settings
from streams.setting_origins import origins
from streams.settings import BadSetting, Settings, load


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
        ("FRESHET_CATALOG_VECTORS", '{"image": 2000}', "catalog_vectors: image: a vector has from 1 to 1024"),
        (
            "FRESHET_RULES",
            '[{"rule": "diversity", "over": "image"}]',
            "rules: diversity: over: 'image' is not embeddings, words",
        ),
    ],
)
def test_a_bad_setting_is_refused_by_name_on_one_line(monkeypatch, name, value, says):
    monkeypatch.setenv(name, value)
    with pytest.raises(BadSetting) as refused:
        load()
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_rule_is_over_vectors_that_are_kept():
    rule = {"rule": "diversity", "over": "image"}
    assert Settings(catalog_vectors={"image": 512}, rules=[rule], placements={"home": {"rules": [rule]}})
    with pytest.raises(ValueError, match="placements: home: diversity: over: 'image' is not"):
        Settings(catalog_vectors={"sound": 512}, placements={"home": {"rules": [rule]}})


def test_a_placement_filters_by_what_is_kept():
    where = {"tags": "sale", "attributes": {"colour": "red"}}
    assert Settings(catalog_filters=("colour", "tags"), placements={"sale": {"where": where}}).kept.filters
    with pytest.raises(ValueError, match="placements: sale: where: tags not in catalog_filters"):
        Settings(catalog_filters=("colour",), placements={"sale": {"where": where}})
    with pytest.raises(ValueError, match="catalog_filters: a name is there twice"):
        Settings(catalog_filters=("colour", "colour"))


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


def test_the_given_environment_is_read_and_no_other(monkeypatch, tmp_path):
    file = tmp_path / "freshet.toml"
    file.write_text("partitions = 6\n")
    monkeypatch.setenv("FRESHET_PARTITIONS", "7")
    monkeypatch.setenv("FRESHET_FILE", "/there/is/none.toml")
    assert load({}).partitions == Settings().partitions == 12
    given = {"FRESHET_FILE": str(file), "FRESHET_REPLICATION": "3", "PATH": "/bin"}
    loaded = load(given, list_length=5)
    assert (loaded.partitions, loaded.replication, loaded.list_length) == (6, 3, 5)
    assert origins(loaded, given)["partitions"] == "file"


@pytest.mark.parametrize(
    "name", ["freshet_partitions", "Freshet_Partitions", "FRESHET_partitions", "freshet_x"]
)
def test_a_name_in_another_case_is_refused(name):
    with pytest.raises(BadSetting, match=f"unknown setting {name}"):
        load({name: "3"})


def test_a_setting_of_the_environment_replaces_that_of_the_file(tmp_path):
    file = tmp_path / "freshet.toml"
    file.write_text("[event_weights]\nview = 2.0\n")
    loaded = load({"FRESHET_FILE": str(file), "FRESHET_EVENT_WEIGHTS": '{"click": 3}'})
    assert loaded.event_weights == {"click": 3.0}


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "-1", "1e400"])
def test_no_setting_takes_a_number_that_is_none(number):
    """Every numeric setting, and every mapping to numbers."""
    in_json = number.replace("nan", "NaN").replace("inf", "Infinity")
    values = {
        name: f'{{"next": {in_json}}}' if "dict" in str(field.annotation) else number
        for name, field in Settings.model_fields.items()
        if any(kind in str(field.annotation) for kind in ("float", "int"))
    }
    if number != "-1":  # what a parameter may be is its model's to say
        values["model_parameters"] = f'{{"mlp": {{"rate": [{in_json}]}}}}'
    assert len(values) > 25
    for name, value in values.items():
        with pytest.raises(BadSetting, match=name):
            load({f"FRESHET_{name.upper()}": value})


@pytest.mark.parametrize(
    ("path", "root"), [("", ""), ("/", ""), ("/freshet", "/freshet"), ("/a/b-c.d~e_f/", "/a/b-c.d~e_f")]
)
def test_a_root_path_has_no_slash_at_its_end(path, root):
    assert Settings(web_root_path=path).web_root_path == root


@pytest.mark.parametrize(
    "path", ["freshet", "//evil", "/a//b", "/..", "/a/./b", "/a?b", '/"', "/a b", "http://a"]
)
def test_a_root_path_that_is_none_is_refused(path):
    with pytest.raises(BadSetting, match="web_root_path"):
        load({"FRESHET_WEB_ROOT_PATH": path})


def test_both_clients_get_the_same_brokers(monkeypatch):
    from streams.kafka.client import confluent, faust_brokers

    monkeypatch.setenv("FRESHET_BROKERS", "a:9092, b:9093")
    loaded = load()
    assert confluent(loaded)["bootstrap.servers"] == "a:9092,b:9093"
    assert faust_brokers(loaded) == ["kafka://a:9092", "kafka://b:9093"]
