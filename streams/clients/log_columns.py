"""The columns of a log: which of them is which field of an event, by their names."""

from collections import Counter
from collections.abc import Iterable, Sequence

from streams.clients.log_errors import BadLog

NAMES = {
    "user": (
        "user", "user_id", "userid", "visitorid", "visitor_id", "user_pseudo_id",
        "session_id", "sessionid", "session",
    ),
    "item": ("item", "item_id", "itemid", "product_id", "productid"),
    "type": ("type", "event", "event_type", "event_name", "action"),
    "time": ("time", "timestamp", "ts", "event_time", "event_timestamp"),
    "event_id": ("event_id", "eventid"),
    "session": ("session", "session_id", "sessionid"),
    "value": ("value",),
    "recommendation_id": ("recommendation_id",),
}  # fmt: skip
"""Common names of the columns of each field, best first; case does not matter.  A log of sessions without
users is read as if each session were a user of its own."""

REQUIRED = ("user", "item", "time")
UNREAD = ("", "-")
"""Names of columns that are not read; several may have the same."""


def match_columns(
    names: Iterable[str], chosen: dict[str, str], context: Sequence[str], *, fixed: bool = True
) -> dict[str, str]:
    """Column by field, for the fields that the log has: the chosen column, else one with a common name.

    `BadLog` where a required column is missing, or two columns have one name.
    fixed: whether every row has these columns; if so, a chosen or a context column must be one of them.

    >>> match_columns(["user_id", "item_id", "ts", "price", "quantity"], {}, [])
    {'user': 'user_id', 'item': 'item_id', 'time': 'ts', 'value': 'price*quantity'}
    """
    stripped = [name.strip() for name in names]
    counts = Counter(name for name in stripped if name not in UNREAD)
    if twice := [name for name, count in counts.items() if count > 1]:
        raise BadLog(f"has two columns {twice[0]}: rename one, or name all columns with --columns")
    columns = {}
    for field in NAMES:
        column = chosen[field] if field in chosen else _common_name(field, stripped)
        if column:
            columns[field] = column
            if column.startswith("=") and field != "type":
                raise BadLog(f"--{field} {column}: only --type can be the same for all rows")
    wanted = [name for field in columns for name in source_columns(field, columns)]
    listing = ", ".join(stripped)
    for name in [*wanted, *context]:
        if fixed and name not in stripped:
            raise BadLog(f"has no column {name}; it has {listing}")
    for field in REQUIRED:
        if field not in columns:
            raise BadLog(f"has no column for the {field}: name it with --{field}; it has {listing}")
    return columns


def _common_name(field: str, names: list[str]) -> str | None:
    by_lower: dict[str, list[str]] = {}
    for name in names:
        by_lower.setdefault(name.lower(), []).append(name)
    if field == "value" and "value" not in by_lower and {"price", "quantity"} <= set(by_lower):
        return f"{by_lower['price'][0]}*{by_lower['quantity'][0]}"
    same = next((by_lower[name] for name in NAMES[field] if name in by_lower), [])
    if len(same) > 1:
        raise BadLog(f"has two columns for the {field}, {' and '.join(same)}: name one with --{field}")
    return same[0] if same else None


def source_columns(field: str, columns: dict[str, str]) -> list[str]:
    """The columns that a field is read from: several for a product, or to take the first that has a value.

    None for a constant, and for a field that the log does not have.

    >>> columns = {"type": "=purchase", "value": "price*quantity", "user": "userId,anonymousId"}
    >>> [source_columns(field, columns) for field in ("type", "value", "user", "session")]
    [[], ['price', 'quantity'], ['userId', 'anonymousId'], []]
    """
    column = columns.get(field, "=")
    if column.startswith("="):
        return []
    if field == "time":
        return [column]
    return [name.strip() for name in column.split("*" if field == "value" else ",")]
