r"""A log of shown items with their propensities, and a policy to compare with, from tables.

>>> import io
>>> log = read_propensity_log(io.BytesIO(b"item_id,click,propensity\ntent,1,0.5\nboat,0,0.25\n"))
>>> log.names, log.propensities.tolist(), log.rewards.tolist()
(['tent', 'boat'], [0.5, 0.25], [1.0, 0.0])
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from models.evaluation.counterfactual import Codes
from models.evaluation.metrics import Values
from streams.clients.log_cells import find_delimiter, read_cells
from streams.clients.log_errors import BadLog, BadRow, stop
from streams.clients.log_lines import open_lines

NAMES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "item": ("item", "item_id", "action"),
        "reward": ("reward", "click", "clicked", "value"),
        "propensity": ("propensity", "propensity_score", "pscore"),
        "position": ("position", "slot", "rank"),
        "target": (),
        "user": ("user", "user_id"),
        "slate": ("slate", "slate_id", "recommendation_id"),
    }
)
"""Common names of the columns of each field, best first."""
REQUIRED = ("item", "reward", "propensity")
POLICY_NAMES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "item": NAMES["item"],
        "position": NAMES["position"],
        "probability": ("probability", "prob", *NAMES["propensity"]),
    }
)


@dataclass(frozen=True)
class PropensityLog:
    """One shown item a row; codes count the distinct values of a column."""

    columns: Mapping[str, str]
    """Column by field, of those that the log has."""
    names: list[str]
    """Ids of the items by their codes."""
    items: Codes
    positions: Codes
    """Codes of the positions, from the top; 0 where the log has none."""
    places: list[str]
    """Positions by their codes."""
    rewards: Values
    propensities: Values
    targets: Values | None
    """Probability under the other policy, if the log has it."""
    users: Codes | None
    slates: Codes | None


def read_propensity_log(
    source: str | BinaryIO,
    columns: Mapping[str, str | None] = MappingProxyType({}),
    on_bad: Callable[[BadRow], None] = stop,
    delimiter: str | None = None,
) -> PropensityLog:
    """Read a table, a path, `-` for stdin or a binary file; `BadLog` where it is not one.

    columns: column by field (`NAMES`) where the common names are not right.
    on_bad: called with every row that cannot be used; it is skipped if that returns.
    delimiter: characters between two cells; None: the most frequent one of the first line.
    """
    matched, rows = _rows(source, NAMES, columns, REQUIRED, on_bad, delimiter)
    numbers = [name for name in ("reward", "propensity", "target") if name in matched]
    texts = [name for name in ("item", "position", "user", "slate") if name in matched]
    values: dict[str, list[float]] = {name: [] for name in numbers}
    ids: dict[str, list[str]] = {name: [] for name in texts}
    for line, cells in rows:
        try:
            parsed = [_number(name, cells[name]) for name in numbers]
        except ValueError as error:
            on_bad(BadRow(line, str(error)))
            continue
        for name, value in zip(numbers, parsed, strict=True):
            values[name].append(value)
        for field in texts:
            ids[field].append(cells[field])
    if not ids["item"]:
        raise BadLog("has no row that can be used")
    names, items = _coded(ids["item"])
    places, positions = _in_order(ids["position"]) if "position" in ids else ([""], np.zeros_like(items))
    return PropensityLog(
        matched, names, items, positions, places,
        np.array(values["reward"]), np.array(values["propensity"]),
        np.array(values["target"]) if "target" in values else None,
        _coded(ids["user"])[1] if "user" in ids else None,
        _coded(ids["slate"])[1] if "slate" in ids else None,
    )  # fmt: skip


def read_policy(source: str | BinaryIO, log: PropensityLog) -> Values:
    """Probability of each item at each position, float64[items, positions], by a table of them.

    Its columns: item, probability and, if it differs by it, position.  `BadLog` where it is no policy.
    """
    _, rows = _rows(source, POLICY_NAMES, {}, ("item", "probability"), stop)
    codes = {name: n for n, name in enumerate(log.names)}
    places = {name: n for n, name in enumerate(log.places)}
    policy = np.zeros((len(codes), len(places)))
    totals = np.zeros(len(places))
    for line, cells in rows:
        try:
            probability = _number("probability", cells["probability"])
        except ValueError as error:
            raise BadLog(f"is no policy: line {line}: {error}") from None
        if "position" in cells and cells["position"] not in places:
            continue
        at = places[cells["position"]] if "position" in cells else slice(None)
        totals[at] += probability
        if cells["item"] in codes:
            policy[codes[cells["item"]], at] += probability
    for place, total in zip(log.places, totals.tolist(), strict=True):
        if abs(total - 1) > 1e-3:
            of = f" at position {place}" if place else ""
            raise BadLog(f"is no policy: its probabilities{of} have the sum {total:.4f}, and not 1")
    return policy


def never_shown(policy: Values, log: PropensityLog) -> float:
    """Share of a policy, float64[items, positions], that is of items which the log never has there."""
    seen = np.zeros(policy.shape, np.bool_)
    seen[log.items, log.positions] = True
    often = np.bincount(log.positions, minlength=len(log.places)) / len(log.positions)
    return max(float(((1 - np.where(seen, policy, 0).sum(0)) * often).sum()), 0.0)


def _rows(
    source: str | BinaryIO,
    names: Mapping[str, Sequence[str]],
    chosen: Mapping[str, str | None],
    required: Sequence[str],
    on_bad: Callable[[BadRow], None],
    delimiter: str | None = None,
) -> tuple[dict[str, str], Iterator[tuple[int, dict[str, str]]]]:
    """Column by field, and the cells of each row by field."""
    first, lines, _ = open_lines(source)
    cells = read_cells(first, lines, delimiter or find_delimiter(first), on_bad)
    header = [name.strip() for name in next(cells)[1]]
    by_lower = {name.lower(): name for name in reversed(header)}
    matched = {}
    for field, common in names.items():
        column = chosen.get(field) or next((by_lower[name] for name in common if name in by_lower), None)
        if column is not None:
            matched[field] = column
    listing = ", ".join(header)
    for field in required:
        if field not in matched:
            raise BadLog(f"has no column for the {field}; it has {listing}")
    for column in matched.values():
        if column not in header:
            raise BadLog(f"has no column {column}; it has {listing}")
    places = {field: header.index(column) for field, column in matched.items()}
    return matched, ((line, {f: row[at].strip() for f, at in places.items()}) for line, row in cells)


def _number(field: str, cell: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{field}: {cell!r} is not a number")
    if field != "reward" and not 0 <= value <= 1:
        raise ValueError(f"{field}: {cell} is not a probability")
    if field == "propensity" and value == 0:
        raise ValueError("propensity: an item of probability 0 cannot have been shown")
    return value


def _coded(texts: Sequence[str]) -> tuple[list[str], NDArray[np.int64]]:
    codes: dict[str, int] = {}
    numbers = [codes.setdefault(text, len(codes)) for text in texts]
    return list(codes), np.array(numbers, np.int64)


def _in_order(texts: Sequence[str]) -> tuple[list[str], NDArray[np.int64]]:
    """Codes in the order of the positions, whichever the log has first."""

    def place(text: str) -> tuple[float, str]:
        try:
            return float(text), text
        except ValueError:
            return math.inf, text

    names = sorted(set(texts), key=place)
    codes = {name: n for n, name in enumerate(names)}
    return names, np.array([codes[text] for text in texts], np.int64)
