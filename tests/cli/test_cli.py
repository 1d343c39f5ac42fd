"""The command line: help with examples, one line for what goes wrong, exit codes, secrets."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from streams.cli import cli
from streams.messages import RECORDS
from streams.settings import Settings

ROOT = str(Path(__file__).parents[2])
COMMANDS = (
    "demo", "worker", "learner", "top", "topics", "publish", "subscribe", "replay", "evaluate", "tune",
    "schema", "settings",
)  # fmt: skip


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch, tmp_path):
    for name in [n for n in os.environ if n.startswith("FRESHET_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def run(*args: str, stdin: str | None = None):
    return CliRunner().invoke(cli, args, input=stdin, prog_name="freshet")


def one_line(result) -> str:
    """What went wrong: exactly one line, on stderr."""
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    return line


def test_all_commands_are_there():
    assert set(cli.commands) == set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(command):
    result = run(command, "--help")
    assert result.exit_code == 0
    assert f"  Examples:\n    freshet {command}" in result.stdout.replace("FRESHET_PARTITIONS=24 ", "")


def test_help_is_fast():
    began = time.monotonic()
    found = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "streams", "--help"],
        capture_output=True, text=True, env=os.environ | {"PYTHONPATH": ROOT},
    )  # fmt: skip
    assert "Commands:" in found.stdout
    assert not [
        m for m in ("faust", "numba", "pydantic", "confluent_kafka", "rich") if f"| {m}\n" in found.stderr
    ]
    assert time.monotonic() - began < 5


def test_version():
    assert run("--version").stdout.startswith("freshet")


# settings


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
    found = json.loads(run("settings", "--json").stdout)
    assert set(found) == set(Settings.model_fields)
    assert found["partitions"]["value"] == 12
    assert found["unanswered_types"]["value"] == ["impression"]


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


@pytest.mark.parametrize(("name", "value", "said"), [UNKNOWN, BAD, NO_FILE])
@pytest.mark.parametrize("command", ["settings", "topics", "worker", "learner", "subscribe", "demo"])
def test_a_bad_setting_is_one_line_and_exit_code_2(monkeypatch, command, name, value, said):
    monkeypatch.setenv(name, value)
    result = run(command)
    assert result.exit_code == 2
    assert one_line(result).startswith("freshet: ")
    assert said in one_line(result)


# schema


def test_schemas_are_listed_and_printed():
    assert [line.split()[0] for line in run("schema").stdout.splitlines()] == list(RECORDS)
    for name in RECORDS:
        assert json.loads(run("schema", name).stdout)["title"] == name


# what goes wrong


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["schema", "nothing"], "nothing is none of events, recommendations"),
        (["publsh"], "No such command 'publsh'"),
        (["publish"], "Missing argument 'FILE'. (see freshet publish --help)"),
        (["publish", "nothing.csv"], "File 'nothing.csv' does not exist"),
        (["replay", "nothing.csv"], "File 'nothing.csv' does not exist"),
        (["demo", "--data", "nothing.csv"], "File 'nothing.csv' does not exist"),
        (["publish", "-", "--rate", "0"], "0.0 is not in the range x>0"),
        (["publish", "-", "--speed", "fast"], "fast is no speed: 10x, say"),
        (["publish", "-", "--rate", "5", "--speed", "10x"], "--rate and --speed exclude each other"),
        (["subscribe", "--nothing"], "No such option"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(args, said):
    result = run(*args)
    assert result.exit_code == 2
    assert one_line(result).startswith("freshet: ")
    assert said in one_line(result)


@pytest.mark.parametrize("command", [["topics"], ["subscribe"], ["publish", "-"], ["replay", "-"]])
def test_without_kafka_it_is_one_line_and_exit_code_1(command, monkeypatch):
    monkeypatch.setattr("streams.cli.PATIENCE_S", 0.5)
    result = run(*command, "--brokers", "127.0.0.1:1", stdin="")
    assert result.exit_code == 1
    assert "Kafka does not answer at 127.0.0.1:1" in one_line(result)
    assert "--brokers" in one_line(result)


# publish, replay and subscribe on a broker


@pytest.fixture
def broker(embedded, monkeypatch, request):
    """Topics of this test's own."""
    prefix = f"{request.node.name.split('[')[0]}."
    monkeypatch.setenv("FRESHET_BROKERS", embedded.brokers)
    monkeypatch.setenv("FRESHET_EMBEDDED", "true")
    monkeypatch.setenv("FRESHET_TOPIC_PREFIX", prefix)
    embedded.create(*(prefix + name for name in ("events", "recommendations", "dead-letter")))


LOG = "user,item,time\nu,i,1\nu,j,2\n"


def test_publish_says_what_it_took_and_how_many_were_delivered(broker, tmp_path):
    (tmp_path / "log.csv").write_text(LOG)
    result = run("publish", "log.csv", "--copies", "2")
    assert result.exit_code == 0
    assert (
        result.stderr
        == "reading log.csv: user=user item=item time=time type==view; begins 1970-01-01 00:00:00 UTC\n"
    )
    assert result.stdout == "4 events delivered, 0 not\n"


def test_ctrl_c_says_how_many_were_delivered(broker, tmp_path):
    (tmp_path / "log.csv").write_text("user,item,time\n" + "u,i,1\n" * 1000)
    process = subprocess.Popen(
        [sys.executable, "-m", "streams", "publish", "log.csv", "--rate", "50"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": ROOT},
    )  # fmt: skip
    assert process.stderr.readline().startswith("reading log.csv")
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (130, "")
    assert 5 < int(re.fullmatch(r"(\d+) events delivered, 0 not\n", out)[1]) < 500


def test_publish_from_stdin(broker):
    result = run("publish", "-", stdin=LOG)
    assert (result.exit_code, result.stdout) == (0, "2 events delivered, 0 not\n")


def test_a_bad_row_stops_or_is_skipped(broker):
    log = LOG + "u,,3\nu,k,4\n"
    result = run("publish", "-", stdin=log)
    assert result.exit_code == 1
    assert (
        result.stderr.splitlines()[-1] == "freshet: line 4: has no item; --on-error skip leaves such rows out"
    )
    assert result.stdout == "2 events delivered, 0 not\n"
    result = run("publish", "-", "--on-error", "skip", stdin=log)
    assert result.exit_code == 0
    assert result.stderr.splitlines()[-2:] == [
        "freshet: skipped line 4: has no item",
        "freshet: skipped 1 rows that are no events",
    ]
    assert result.stdout == "3 events delivered, 0 not\n"


def test_a_log_without_users_is_one_line_and_exit_code_1(broker):
    result = run("publish", "-", stdin="item,time\n")
    assert result.exit_code == 1
    assert one_line(result) == "freshet: - has no column for the user: name it with --user; it has item, time"


def test_a_replay_without_a_worker_says_so(broker):
    result = run("replay", "-", "--timeout", "1", "--json", "--run", "x", stdin=LOG)
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert (found["run"], found["events"], found["unanswered"]) == ("x", 2, 2)
    assert "2 of 2 events are unanswered (lines 2, 3): is a worker running?" in result.stderr


def test_subscribe_from_the_start(broker, embedded):
    from confluent_kafka import Producer

    from streams import messages

    topic = "test_subscribe_from_the_start.recommendations"
    producer = Producer({"bootstrap.servers": embedded.brokers})
    for user in ("ann", "bob", "ann"):
        made = messages.Recommendation(
            recommendation_id="r", user=user, time=0, event_id="e", event_type="view", checkpoint=1, age_ms=4,
            items=[messages.Recommended("tent", 1.0, "popular now")], model_age_ms=None,
        )  # fmt: skip
        producer.produce(topic, messages.encode(made), user)
    producer.flush()
    result = run("subscribe", "--from-start", "--user", "ann", "-n", "2")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert len(lines) == 2
    assert all(line.endswith("ann  view  tent (popular now)  [age 4 ms, model none yet]") for line in lines)
    (line,) = run("subscribe", "--from-start", "--json", "--user", "bob", "-n", "1").stdout.splitlines()
    assert messages.decode_recommendation(line).user == "bob"
