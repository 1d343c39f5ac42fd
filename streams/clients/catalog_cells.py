"""What the cells of a shop's export mean: availability, prices, lists, times.

Besides plain values this understands the formats of Google's product data, which many shops export.
"""

import re
from collections.abc import Callable
from typing import Any

import msgspec

from streams.clients.log_ids import NO_VALUE

AVAILABLE = frozenset(
    {"true", "yes", "y", "available", "in stock", "instock", "limited", "preorder", "backorder"}
)
UNAVAILABLE = frozenset(
    {"false", "no", "n", "unavailable", "out of stock", "outofstock", "sold out", "soldout", "discontinued"}
)  # fmt: skip
_PRICE = re.compile(r"(?P<before>[A-Z]{3} )?(?P<number>\d+(\.\d+)?)(?P<after> ?[A-Z]{3})?")


def is_absent(value: Any) -> bool:
    """Whether a cell has no value: it is null, empty or one of the words for that."""
    return value is None or (isinstance(value, str) and value.strip() in NO_VALUE) or value in ([], {})


def available(value: Any) -> bool:
    """Whether a cell says that the item can be had; a number is the stock.

    >>> [available(value) for value in ("in_stock", "out of stock", "0", 12, True)]
    [True, False, False, True, True]
    """
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower().replace("_", " ")
    if text in AVAILABLE or text in UNAVAILABLE:
        return text in AVAILABLE
    try:
        return float(text) > 0
    except ValueError:
        raise ValueError(
            f"invalid availability {value!r}: expected true, false, in stock, out of stock, or a number"
        ) from None


def price(value: Any) -> tuple[float, str]:
    """The number and the currency of a price; the currency is empty if the cell has none.

    >>> price("249.00 EUR"), price(12)
    ((249.0, 'EUR'), (12.0, ''))
    """
    parsed = _PRICE.fullmatch(str(value).strip()) if not isinstance(value, bool) else None
    if parsed is None:
        raise ValueError(f"invalid price {value!r}: expected a number such as 249.00, or 249.00 EUR")
    return float(parsed["number"]), (parsed["before"] or parsed["after"] or "").strip()


def texts(value: Any) -> list[str]:
    """The texts of a list, or of a cell in which | is between them.

    >>> texts("light | two persons"), texts(["light"])
    (['light', 'two persons'], ['light'])
    """
    parts = value if isinstance(value, list) else str(value).split("|")
    return [text for part in parts if (text := text_of(part))]


def paths(value: Any) -> list[str]:
    """Paths of categories; " > " is the same as "/".

    >>> paths("Sport > Tents | Sale")
    ['Sport/Tents', 'Sale']
    """
    return [re.sub(r"\s*>\s*", "/", path) for path in texts(value)]


def text_of(value: Any) -> str:
    """A text; numbers as they are written."""
    if isinstance(value, list | dict):
        raise ValueError(f"invalid text {value!r}: expected a string")
    return str(value).strip()


def number_or_text(value: Any) -> float | str:
    """An attribute: a number stays one in JSON, a cell of a table is a text."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    return text_of(value)


def numbers(value: Any) -> list[float]:
    """A vector: a list of numbers, or a cell with one as JSON.

    >>> numbers("[0.5, -1]")
    [0.5, -1.0]
    """
    try:
        if isinstance(value, str):
            return msgspec.json.decode(value, type=list[float])
        return msgspec.convert(value, list[float])
    except (msgspec.ValidationError, msgspec.DecodeError):
        raise ValueError("invalid vector: expected a list of numbers, such as [0.5, -1]") from None


FIELDS: dict[str, tuple[tuple[str, ...], Callable[[Any], Any]]] = {
    "title": (("title", "name", "product_name", "item_name"), text_of),
    "text": (("text", "description", "body"), text_of),
    "categories": (
        ("categories", "category", "product_type", "google_product_category", "category_path",
         "genres", "genre"),
        paths,
    ),
    "brand": (("brand", "manufacturer", "vendor"), text_of),
    "author": (("author", "artist", "creator", "author_id", "artist_id"), text_of),
    "price": (("price",), price),
    "currency": (("currency",), text_of),
    "available": (("available", "availability", "in_stock", "stock"), available),
    "from": (("from", "available_from", "availability_date"), str),
    "until": (("until", "available_until", "expiration_date"), str),
    "group": (("group", "item_group_id", "parent_id", "parent"), text_of),
    "tags": (("tags", "keywords"), texts),
    "image": (("image", "image_link", "image_url"), text_of),
    "adult": (("adult",), available),
}  # fmt: skip
"""Common names of the columns of each field, best first, and what a cell of it means; times are ms."""
ITEM = ("item", "item_id", "itemid", "product_id", "productid", "sku", "id")
