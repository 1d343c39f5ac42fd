"""The columns of a log: which of them is which field of an event, by their names."""

from collections.abc import Iterable, Sequence

from streams.clients.log_errors import BadLog

NAMES = {
    "user": ("user", "user_id", "userid", "visitorid", "visitor_id", "session_id", "sessionid"),
    "item": ("item", "item_id", "itemid", "product_id", "productid"),
    "type": ("type", "event", "event_type", "action"),
    "time": ("time", "timestamp", "ts", "event_time"),
    "event_id": ("event_id", "eventid"),
    "session": ("session", "session_id", "sessionid"),
    "value": ("value",),
    "recommendation_id": ("recommendation_id",),
}
"""Common names of the columns of each field, best first; case does not matter.  A log of sessions without
users is read as if each session were a user of its own."""

REQUIRED = ("user", "item", "time")


def match_columns(names: Iterable[str], chosen: dict[str, str], context: Sequence[str]) -> dict[str, str]:
    """Column by field, for the fields that the log has: the chosen column, else one with a common name.

    `BadLog` where a chosen, a context or a required column is missing.

    >>> match_columns(["user_id", "item_id", "ts", "price", "quantity"], {}, [])
    {'user': 'user_id', 'item': 'item_id', 'time': 'ts', 'value': 'price*quantity'}
    """
    stripped = [name.strip() for name in names]
    columns = {}
    for field in NAMES:
        column = chosen.get(field, _common_name(field, stripped))
        if column:
            columns[field] = column
    wanted = [name for field in columns for name in source_columns(field, columns)]
    listing = ", ".join(stripped)
    for name in [*wanted, *context]:
        if name not in stripped:
            raise BadLog(f"has no column {name}; it has {listing}")
    for field in REQUIRED:
        if field not in columns:
            raise BadLog(f"has no column for the {field}: name it with --{field}; it has {listing}")
    return columns


def _common_name(field: str, names: list[str]) -> str | None:
    by_lower = {name.lower(): name for name in names}
    if field == "value" and "value" not in by_lower and {"price", "quantity"} <= set(by_lower):
        return f"{by_lower['price']}*{by_lower['quantity']}"
    return next((by_lower[name] for name in NAMES[field] if name in by_lower), None)


def source_columns(field: str, columns: dict[str, str]) -> list[str]:
    """The columns that a field is read from: usually one; none for a constant; several for a product.

    >>> columns = {"type": "=purchase", "value": "price*quantity"}
    >>> source_columns("type", columns), source_columns("value", columns)
    ([], ['price', 'quantity'])
    """
    column = columns.get(field, "=")
    return [] if column.startswith("=") else column.split("*") if field == "value" else [column]
