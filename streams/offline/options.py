"""The options of `freshet evaluate` as they are typed, without a model and a log: protocol, durations."""

import re
from dataclasses import dataclass

from models.units import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS
from streams.errors import USAGE, UserError

UNIT_MS = {"ms": 1, "s": SECOND_MS, "m": MINUTE_MS, "h": HOUR_MS, "d": DAY_MS}


class BadOptions(UserError):
    """Options that do not fit together or do not fit the log; the message is one line."""

    exit_code = USAGE


@dataclass(frozen=True, slots=True)
class EvaluationOptions:
    """A protocol and its options; `docs/evaluation.md` explains each."""

    protocol: str = "prequential"
    types: frozenset[str] = frozenset()
    """Event types to predict; empty: all that are learnt."""
    min_value: float | None = None
    limit: int | None = None
    drop_reloads: bool = False
    warm_up: str = "0%"
    window: str = "1d"
    windows: tuple[int, int] | None = None
    """First and last window to predict."""
    split: str = "80/10/10"
    part: str = "test"
    learn: frozenset[str] = frozenset({"train"})
    target: str = "every"
    state: str = "frozen"
    drop_unseen: bool = False
    skip_repeats: bool = False
    skip_first: bool = False
    exclude: str | None = None
    """What the lists leave out; None: what a worker's lists leave out."""
    ks: tuple[int, ...] = (20,)
    model_delay: str | None = None
    batch: int | None = None
    refresh: tuple[str, ...] = ()
    compare: frozenset[str] | None = None
    """Generators to measure alone; `generators`, `rankers`: all of them.  None: popularity, if it is on."""
    without: tuple[str, ...] = ()
    placements: tuple[str, ...] = ()
    """Placements of the settings to measure beside the default list."""

    def __post_init__(self) -> None:
        """Raise `BadOptions` if an option has no effect under this protocol."""
        for name, protocols in USED_BY.items():
            value, default = getattr(self, name), self.__dataclass_fields__[name].default
            if value != default and self.protocol not in protocols:
                raise BadOptions(
                    f"--{name.replace('_', '-')} has no effect with --protocol {self.protocol}:"
                    f" expected --protocol {' or '.join(protocols)}"
                )
        if (
            self.protocol == "holdout"
            and _NUMBERS.fullmatch(self.split)
            and not _SHARES.fullmatch(self.split)
        ):
            raise BadOptions(
                f"invalid --split {self.split}: expected shares of train, valid and test, such as 80/10/10"
            )

    @property
    def label(self) -> str | None:
        """The column of the log that tells the window or part of an event; None if no column does."""
        if self.protocol == "windows" and not _DURATION.fullmatch(self.window):
            return self.window
        if self.protocol == "holdout" and not _SHARES.fullmatch(self.split):
            return self.split
        return None

    @property
    def in_order_of_time(self) -> bool:
        """Whether the protocol needs a log in the order of its times.

        A column that names windows or parts orders them, and `leave-one-out` takes each user by itself.
        """
        return self.label is None and self.protocol != "leave-one-out"


IN_PARTS = ("holdout", "leave-one-out")
"""Protocols that divide the log into train, valid and test."""
USED_BY = {
    "warm_up": ("prequential",),
    "window": ("windows",),
    "windows": ("windows",),
    "split": ("holdout",),
    "part": IN_PARTS,
    "learn": IN_PARTS,
    "target": ("windows", *IN_PARTS),
    "state": ("windows", *IN_PARTS),
    "drop_unseen": ("windows", *IN_PARTS),
}
"""Protocols by option, of the options that have an effect in some protocols only."""

_NUMBERS = re.compile(r"[\d./]+")
_SHARES = re.compile(r"\d+/\d+/\d+")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


def duration_ms(text: str) -> int:
    """A duration in ms; 0 needs no unit.  `ValueError` if the text is not a duration.

    >>> duration_ms("1.5h"), duration_ms("0")
    (5400000, 0)
    """
    if text == "0":
        return 0
    if not (match := _DURATION.fullmatch(text)):
        raise ValueError(
            f"invalid duration '{text}': expected a number followed by ms, s, m, h or d, such as 10m"
        )
    return round(float(match[1]) * UNIT_MS[match[2]])
