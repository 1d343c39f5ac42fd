"""Types of options: what they accept, and that anything else is refused."""

import click
import pytest

from streams.cli import types
from streams.cli.group import cli


@pytest.mark.parametrize(
    ("type", "text", "value"),
    [
        (types.SPEED, "10x", 10.0),
        (types.SPEED, "0.5", 0.5),
        (types.DURATION, "10m", "10m"),
        (types.DURATION, "0", "0"),
        (types.INTERVAL, "never", "never"),
        (types.INTERVAL, "1.5h", "1.5h"),
        (types.NAMES, "", frozenset()),
        (types.NAMES, "a, b,", frozenset({"a", "b"})),
        (types.WINDOWS, "1-7", (1, 7)),
        (types.WINDOWS, "4", (4, 4)),
        (types.CUTOFFS, "20,10", (20, 10)),
        (types.WARM_UP, "10%", "10%"),
        (types.WARM_UP, "5000", "5000"),
        (types.WEIGHTS, "click=1, *=0", {"click": 1.0, "*": 0.0}),
    ],
)
def test_accepted(type, text, value):
    assert type.convert(text, None, None) == value


@pytest.mark.parametrize(
    ("type", "texts"),
    [
        (types.SPEED, ["fast", "", "x", "-1x", "0", "inf"]),
        (types.DURATION, ["soon", "5", "1w", "never"]),
        (types.INTERVAL, ["soon", "Never"]),
        (types.WINDOWS, ["a", "-7", "1-b", ""]),
        (types.CUTOFFS, ["0", "201", "20,", "ten"]),
        (types.WARM_UP, ["all", "100%", "-1", "%", "1.5"]),
        (types.WEIGHTS, ["view", "view=", "view=much", "view=nan", "view=inf", "a=1,view=-3", "a=101", "=1"]),
    ],
)
def test_refused(type, texts):
    for text in texts:
        with pytest.raises(click.UsageError, match=f"invalid {type.name} '.*': expected .*, such as "):
            type.convert(text, None, None)


@pytest.mark.parametrize("type", [types.NUMBER, types.POSITIVE, types.PERCENT])
@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e999", "x"])
def test_what_is_not_a_number_is_refused(type, text):
    with pytest.raises(click.BadParameter):
        type.convert(text, None, None)


def test_every_numeric_option_refuses_what_is_not_a_number():
    """Over all commands: an option with a range of click's own would take nan."""
    for name in cli.list_commands(None):
        for option in cli.get_command(None, name).params:
            assert type(option.type) not in (click.FloatRange, type(click.FLOAT)), f"{name} {option.name}"
