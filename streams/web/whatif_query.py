"""A what-if as it stands in an address: `?drop=2&as=1:purchase&add=click:sku-7&context=device=tv`.

A form without script sends `add_type` and `add_item` in pairs, and empty fields; both are understood.
"""

from collections.abc import Iterable
from itertools import zip_longest

from streams.messages import MAX_ID_BYTES
from streams.step.whatif import MOST, Counterfactual
from streams.web.problem import Problem

NAMES = ("drop", "as", "add", "add_type", "add_item", "context")
TYPE_LENGTH = 64


def changes(query: Iterable[tuple[str, str]], default_type: str) -> Counterfactual:
    """The changes; `Problem` 400 for what cannot be.

    >>> changes([("drop", "2"), ("add", "cart:sku:7"), ("context", "device=tv")], "view")
    Counterfactual(dropped=frozenset({2}), retyped={}, added=(('cart', 'sku:7'),), context={'device': 'tv'})
    """
    given: dict[str, list[str]] = {name: [] for name in NAMES}
    for name, value in query:
        if name in given:
            given[name].append(value.strip())
    added = [_typed(text, default_type) for text in given["add"] if text]
    pairs = zip_longest(given["add_type"], given["add_item"], fillvalue="")
    added += [(type or default_type, item) for type, item in pairs if item]
    if len(added) > MOST:
        raise Problem(400, "Too much", f"At most {MOST} events can be added.")
    for type, item in added:
        if not 0 < len(type) <= TYPE_LENGTH or not 0 < len(item.encode()) <= MAX_ID_BYTES:
            raise Problem(400, "No event", f"“{type}:{item}” is no type and item.")
    retyped = dict(_numbered(text) for text in given["as"] if text.partition(":")[2])
    return Counterfactual(
        frozenset(_number(text) for text in given["drop"] if text), retyped, tuple(added), _context(given)
    )


def _typed(text: str, default_type: str) -> tuple[str, str]:
    type, colon, item = text.partition(":")
    return (type, item) if colon else (default_type, text)


def _numbered(text: str) -> tuple[int, str]:
    number, _, type = text.partition(":")
    return _number(number), type[:TYPE_LENGTH]


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < len(text) < 5):
        raise Problem(400, "No such event", f"“{text}” is no number of an event; the newest is 1.")
    return int(text)


def _context(given: dict[str, list[str]]) -> dict[str, str | float]:
    parts = [part for text in given["context"] for part in text.split(",") if part.strip()]
    found: dict[str, str | float] = {}
    for part in parts:
        name, equals, value = (word.strip() for word in part.partition("="))
        if not equals or not 0 < len(name) <= 64 or len(value) > 256:
            raise Problem(400, "No context", f"“{part}” is not name=value.")
        found[name] = value
    return found
