"""A protocol of evaluation as one types it: options, spans of time; no model and no log."""

import re
from dataclasses import dataclass

from streams.errors import UserError

SECOND_MS, DAY_MS = 1000, 86_400_000
UNIT_MS = {"ms": 1, "s": SECOND_MS, "m": 60_000, "h": 3_600_000, "d": DAY_MS}


class BadPlan(UserError):
    """Options that do not fit together or the log; the message says which, on one line."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Options:
    """A protocol and its settings; `docs/evaluation.md` says what each means."""

    protocol: str = "prequential"
    types: frozenset[str] = frozenset()
    """Event types that are predicted; empty: all that teach."""
    min_value: float | None = None
    limit: int | None = None
    drop_reloads: bool = False
    warm_up: str = "0%"
    window: str = "1d"
    windows: tuple[int, int] | None = None
    """First and last window that is predicted."""
    split: str = "80/10/10"
    part: str = "test"
    learn: frozenset[str] = frozenset({"train"})
    target: str = "every"
    state: str = "frozen"
    drop_unseen: bool = False
    skip_repeats: bool = False
    skip_first: bool = False
    exclude: str | None = None
    """What the lists leave out; None: what the stream's do."""
    ks: tuple[int, ...] = (20,)
    model_delay: str | None = None
    batch: int | None = None
    refresh: tuple[str, ...] = ()
    compare: frozenset[str] | None = None
    """Generators to measure alone; `generators`, `rankers`: all.  None: popularity, where it is on."""
    without: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """`BadPlan` where an option would change nothing: the figures would be of another question."""
        for name, protocols in USED_BY.items():
            given, default = getattr(self, name), self.__dataclass_fields__[name].default
            if given != default and self.protocol not in protocols:
                raise BadPlan(f"--{name.replace('_', '-')} is for --protocol {' or '.join(protocols)}")
        if (
            self.protocol == "holdout"
            and _NUMBERS.fullmatch(self.split)
            and not _SHARES.fullmatch(self.split)
        ):
            raise BadPlan(f"--split {self.split}: three shares, of train, valid and test: 80/10/10")

    @property
    def label(self) -> str | None:
        """The column that says to which window or part an event belongs, if one does."""
        if self.protocol == "windows" and not _is_duration(self.window):
            return self.window
        if self.protocol == "holdout" and not _SHARES.fullmatch(self.split):
            return self.split
        return None


IN_PARTS = ("holdout", "leave-one-out")
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
"""Options that say something in some protocols only."""

_NUMBERS = re.compile(r"[\d./]+")
_SHARES = re.compile(r"\d+/\d+/\d+")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


def duration_ms(text: str) -> int:
    """A span of time in ms; 0 needs no unit.  `ValueError` if it is none.

    >>> duration_ms("1.5h"), duration_ms("0")
    (5400000, 0)
    """
    if text == "0":
        return 0
    if not (match := _DURATION.fullmatch(text)):
        raise ValueError(f"{text} is no span of time: 500ms, 1s, 10m, 1h, 7d")
    return round(float(match[1]) * UNIT_MS[match[2]])


def _is_duration(text: str) -> bool:
    return bool(_DURATION.fullmatch(text))
