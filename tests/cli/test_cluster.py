"""Settings and schemas as the command line prints them, and settings that cannot be used."""

import json

import pytest

from streams.schemas import RECORDS
from streams.settings import Settings
from tests.cli.invoke import error_line, run


def test_settings_say_where_they_are_from(monkeypatch, tmp_path):
    (tmp_path / "freshet.toml").write_text("replication = 3\n")
    monkeypatch.setenv("FRESHET_FILE", str(tmp_path / "freshet.toml"))
    monkeypatch.setenv("FRESHET_PARTITIONS", "24")
    lines = {line.split()[0]: line.split()[1:] for line in run("settings").stdout.splitlines()}
    assert lines["FRESHET_PARTITIONS"] == ["environment", "24"]
    assert lines["FRESHET_REPLICATION"] == ["file", "3"]
    assert lines["FRESHET_SEED"] == ["default", "0"]
    assert set(lines) == {f"FRESHET_{name.upper()}" for name in Settings.model_fields}


def test_settings_as_json():
    settings = json.loads(run("settings", "--json").stdout)
    assert set(settings) == set(Settings.model_fields)
    assert settings["partitions"]["value"] == 12
    assert settings["unanswered_types"]["value"] == ["impression"]


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_secrets_are_never_printed(monkeypatch, form):
    monkeypatch.setenv("FRESHET_SASL_USERNAME", "ann")
    monkeypatch.setenv("FRESHET_SASL_PASSWORD", "hunter2-hunter2")
    monkeypatch.setenv("FRESHET_SECURITY_PROTOCOL", "SASL_SSL")
    result = run("settings", *form)
    assert "********" in result.stdout
    assert "hunter2" not in result.output


UNKNOWN = ("FRESHET_PARTITONS", "4", "unknown setting FRESHET_PARTITONS")
BAD = ("FRESHET_SEED", "none", "seed: ")
NO_FILE = ("FRESHET_FILE", "nowhere.toml", "there is no file nowhere.toml")


@pytest.mark.parametrize(("name", "value", "message"), [UNKNOWN, BAD, NO_FILE])
@pytest.mark.parametrize("command", ["settings", "topics", "worker", "learner", "subscribe", "demo"])
def test_a_bad_setting_is_one_line_and_exit_code_2(monkeypatch, command, name, value, message):
    monkeypatch.setenv(name, value)
    result = run(command)
    assert result.exit_code == 2
    assert message in error_line(result)


def test_schemas_are_listed_and_printed():
    assert [line.split()[0] for line in run("schema").stdout.splitlines()] == list(RECORDS)
    for name in RECORDS:
        assert json.loads(run("schema", name).stdout)["title"] == name
