"""Fields that are as good as absent: what producers write where they have no value."""

from collections.abc import Set
from typing import Any


def without_absent(record: Any, optional: Set[str]) -> Any:
    """A decoded record without its `optional` fields that are null, true, false or "", also one level below.

    A required field stays as it is, and so does a record that is not an object.

    >>> without_absent({"user": "", "session": "", "context": {"a": None, "b": 0}}, {"session", "context"})
    {'user': '', 'context': {'b': 0}}
    """
    if not isinstance(record, dict):
        return record
    present = {name: v for name, v in record.items() if name not in optional or not _is_absent(v)}
    for name in optional & present.keys():
        if isinstance(inner := present[name], dict):
            present[name] = {key: v for key, v in inner.items() if not _is_absent(v)}
    return present


def _is_absent(value: Any) -> bool:
    return value is None or value is True or value is False or value == ""
