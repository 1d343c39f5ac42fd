"""Types of options: how the text of an option becomes a value, and the error if it cannot.

>>> SPEED.convert("10x", None, None)
10.0
>>> SPEED.convert("fast", None, None)
Traceback (most recent call last):
click.exceptions.UsageError: invalid speed 'fast': expected a number followed by x, such as 10x
"""

import math
from collections.abc import Callable
from typing import Any

import click

MAX_LIST_LENGTH = 200
MAX_WEIGHT = 100
"""The largest weight of an event type that the setting `event_weights` takes."""


class Number(click.FloatRange):
    """A number in a range; never NaN or infinite, which are in every range of click's."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parse the text, and refuse what is not a finite number."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


NUMBER = Number()
POSITIVE = Number(0, min_open=True)
PERCENT = Number(1, 100)


class Parsed(click.ParamType):
    """What `parse` makes of the text; where it raises `ValueError`, the user reads what was `expected`."""

    def __init__(self, name: str, parse: Callable[[str], Any], expected: str) -> None:
        self.name = name
        self._parse, self._expected = parse, expected

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parse the text; a value that is not a string is a default and stays as it is."""
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except ValueError:
            raise click.UsageError(f"invalid {self.name} {value!r}: expected {self._expected}", ctx) from None


def _speed(text: str) -> float:
    speed = float(text.removesuffix("x"))
    if not 0 < speed < math.inf:
        raise ValueError
    return speed


def _duration(text: str) -> str:
    from streams.offline.options import duration_ms

    duration_ms(text)
    return text  # reports name it as it was typed


def _interval(text: str) -> str:
    return text if text == "never" else _duration(text)


def _names(text: str) -> frozenset[str]:
    return frozenset(filter(None, (part.strip() for part in text.split(","))))


def _columns(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]


def _delimiter(text: str) -> str:
    delimiter = "\t" if text in ("tab", "\\t") else text
    if not delimiter or set(delimiter) & set('"\r\n'):
        raise ValueError
    return delimiter


def _windows(text: str) -> tuple[int, int]:
    first, _, last = text.partition("-")
    return _natural(first), _natural(last or first)


def _cutoffs(text: str) -> tuple[int, ...]:
    lengths = tuple(_natural(part) for part in text.split(","))
    if not all(1 <= length <= MAX_LIST_LENGTH for length in lengths):
        raise ValueError
    return lengths


def _natural(text: str) -> int:
    if not text.isdecimal():
        raise ValueError
    return int(text)


def _warm_up(text: str) -> str:
    valid = 0 <= float(text[:-1]) < 100 if text.endswith("%") else int(text) >= 0
    if not valid:
        raise ValueError
    return text


def _weights(text: str) -> dict[str, float]:
    parts = (part.partition("=") for part in text.split(","))
    weights = {name.strip(): float(weight) for name, _, weight in parts}
    if "" in weights or not all(0 <= weight <= MAX_WEIGHT for weight in weights.values()):
        raise ValueError
    return weights


def _encoder(text: str) -> tuple[str, str]:
    name, _, encoder = text.partition("=")
    if not name or not encoder:
        raise ValueError
    return name, encoder


_UNITS = "a number followed by ms, s, m, h or d, such as 10m"

SPEED = Parsed("speed", _speed, "a number followed by x, such as 10x")
DURATION = Parsed("duration", _duration, _UNITS)
"""The duration as it was typed."""
INTERVAL = Parsed("interval", _interval, f"{_UNITS}, or never")
"""The duration, or `never`, as it was typed."""
NAMES = Parsed("names", _names, "names separated by commas")
"""A set of names; any text is valid."""
ENCODER = Parsed("encoder", _encoder, "NAME=wordllama or NAME=FOLDER")
"""The name of a vector, and the encoder that makes it."""
COLUMNS = Parsed("columns", _columns, "names separated by commas")
"""Names of columns in their order; any text is valid."""
DELIMITER = Parsed("delimiter", _delimiter, "characters other than quotes and line breaks, or tab")
"""The delimiter of a table."""
WINDOWS = Parsed("windows", _windows, "a number or a range, such as 1-7")
"""The first and the last window."""
CUTOFFS = Parsed("list lengths", _cutoffs, f"numbers from 1 to {MAX_LIST_LENGTH}, such as 20,10")
WARM_UP = Parsed("warm-up", _warm_up, "a percentage or a number of events, such as 10% or 5000")
"""The share or number as it was typed."""
WEIGHTS = Parsed(
    "weights", _weights, f"TYPE=WEIGHT,..., weights from 0 to {MAX_WEIGHT}, such as click=1,purchase=3,*=0"
)
"""Weight by event type; `*` stands for every other type."""
