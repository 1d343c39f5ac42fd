"""`freshet`: help with examples, one line for what goes wrong, exit codes."""

import time

import click
import pytest

from streams.cli import cli
from streams.cli.group import FreshetGroup
from streams.errors import UserError
from streams.settings import BadSetting
from tests.cli.invoke import error_line, run, start

COMMANDS = (
    "demo", "worker", "learner", "top", "topics", "publish", "catalog", "subscribe", "replay", "evaluate",
    "counterfactual", "tune", "schema", "settings",
)  # fmt: skip
SLOW_IMPORTS = ("faust", "numba", "numpy", "pydantic", "confluent_kafka", "rich", "torch")


def test_all_commands_are_there():
    assert set(cli.commands) == set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(command):
    result = run(command, "--help")
    assert result.exit_code == 0
    assert f"  Examples:\n    freshet {command}" in result.stdout.replace("FRESHET_PARTITIONS=24 ", "")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_has_a_help_text(command):
    options = [p for p in cli.commands[command].params if isinstance(p, click.Option)]
    assert [option.name for option in options if not option.help] == []


@pytest.mark.parametrize("args", [(), ("demo",), ("publish",), ("evaluate",)])
def test_help_is_fast(args):
    began = time.monotonic()
    out, err = start(*args, "--help", python_options=("-X", "importtime")).communicate()
    assert "Usage: freshet" in out
    assert not [module for module in SLOW_IMPORTS if f"| {module}\n" in err]
    assert time.monotonic() - began < 5


def test_version():
    assert run("--version").stdout.startswith("freshet")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["publsh"], "No such command 'publsh'"),
        (["schema", "nothing"], "unknown topic 'nothing': expected one of events, catalog, recommendations"),
        (["publish"], "Missing argument 'FILE'. (see freshet publish --help)"),
        (["publish", "nothing.csv"], "File 'nothing.csv' does not exist"),
        (["replay", "nothing.csv"], "File 'nothing.csv' does not exist"),
        (["demo", "--data", "nothing.csv"], "File 'nothing.csv' does not exist"),
        (["publish", "-", "--rate", "0"], "0.0 is not in the range x>0"),
        (
            ["publish", "-", "--speed", "fast"],
            "freshet: invalid speed 'fast': expected a number followed by x, such as 10x"
            " (see freshet publish --help)",
        ),
        (["publish", "-", "--speed", "0x"], "invalid speed '0x'"),
        (["publish", "-", "--speed", "nan"], "invalid speed 'nan'"),
        (["publish", "-", "--rate", "5", "--speed", "10x"], "--rate and --speed exclude each other"),
        (["subscribe", "--nothing"], "No such option"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(args, message):
    result = run(*args)
    assert result.exit_code == 2
    assert message in error_line(result)


class Failing(UserError):
    """An error whose exit code is the default."""


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (Failing("it failed"), 1, "freshet: it failed\n"),
        (BadSetting("seed: is bad"), 2, "freshet: seed: is bad\n"),
        (click.ClickException("no Kafka"), 1, "freshet: no Kafka\n"),
        (KeyboardInterrupt(), 130, ""),
        (BrokenPipeError(), 1, ""),
    ],
)
def test_an_error_is_one_line_and_its_exit_code(error, code, line, capfd):
    def fail() -> None:
        raise error

    group = FreshetGroup("freshet", commands=[click.Command("fail", callback=fail)])
    with pytest.raises(SystemExit) as exit:
        group.main(["fail"])
    assert exit.value.code == code
    assert capfd.readouterr().err.strip("\n") == line.strip("\n")


def test_an_error_of_the_program_keeps_its_traceback():
    def fail() -> None:
        raise LookupError("a mistake of ours")

    with pytest.raises(LookupError, match="a mistake of ours"):
        FreshetGroup("freshet", commands=[click.Command("fail", callback=fail)]).main(["fail"])
