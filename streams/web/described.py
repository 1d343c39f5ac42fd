"""What the catalog says of the items on a page: titles, prices and pictures beside their ids."""

import asyncio
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from streams.catalog_messages import CatalogItem
from streams.runtime.catalog import LiveCatalog
from streams.web.site import Page

TEMPLATES = frozenset({"item", "items", "map", "preview", "user"})
"""Pages that show items."""
MOST_ITEMS = 5_000
"""Items of a page that are looked up, at most: 10 µs each, in a thread."""
MOST_ASKED = 200
"""Items that a request may name."""


class DescribedItems:
    """Adds `described` to the figures of a page: title, price, picture and main category by item."""

    def __init__(self, catalog: LiveCatalog, image_hosts: frozenset[str]) -> None:
        self._catalog, self._image_hosts = catalog, image_hosts

    async def add(self, page: Page) -> None:
        """Add them, unless another worker has done so; nothing without a catalog."""
        if page.template in TEMPLATES and self._catalog.in_use and "described" not in page.data:
            items = list(dict.fromkeys(items_in(page.data)))[:MOST_ITEMS]
            page.data["described"] = await asyncio.to_thread(self._described, items)

    async def page(self, request: web.Request) -> web.Response:
        """Describe the items of the query, `/described.json?id=A&id=B`, as JSON."""
        items = request.query.getall("id", [])[:MOST_ASKED]
        return web.json_response(await asyncio.to_thread(self._described, items))

    def _described(self, items: Iterable[str]) -> dict[str, dict[str, Any]]:
        records = ((item, self._catalog.record(item)) for item in items)
        return {item: described(record, self._image_hosts) for item, record in records if record is not None}


def described(record: CatalogItem, image_hosts: frozenset[str]) -> dict[str, Any]:
    """What a page shows of an item beside its id, without what is not known.

    >>> described(CatalogItem(item="a", title="Tent", categories=["Outdoor/Tents"]), frozenset())
    {'title': 'Tent', 'category': 'Outdoor/Tents'}
    """
    figures = {
        "title": record.title,
        "price": record.price,
        "currency": record.currency if record.price is not None else "",
        "category": record.categories[0] if record.categories else "",
        "image": record.image if may_be_shown(record.image, image_hosts) else "",
    }
    return {name: value for name, value in figures.items() if value not in ("", None)}


def may_be_shown(image: str, hosts: frozenset[str]) -> bool:
    """Whether pages may show the picture at this address: https, and of an allowed host.

    >>> hosts = frozenset({"images.example"})
    >>> [may_be_shown(f"{start}.example/a.jpg", hosts) for start in ("https://images", "http://images",
    ...  "https://other", "https://me@images", "https://images.example:8443/x")]
    [True, False, False, False, False]
    """
    try:
        address = urlsplit(image)
    except ValueError:
        return False
    return address.scheme == "https" and address.netloc.lower() in hosts


def items_in(figures: Any, name: str = "") -> Iterator[str]:
    """The ids of all items in the figures of a page: under `item`, and the texts under `items` and `gone`.

    >>> list(items_in({"item": "a", "history": [{"item": "b"}], "sent": {"items": ["c"]}, "user": "d"}))
    ['a', 'b', 'c']
    """
    if isinstance(figures, dict):
        for key, value in figures.items():
            if key == "item" and isinstance(value, str):
                yield value
            else:
                yield from items_in(value, key)
    elif isinstance(figures, list | tuple):
        for value in figures:
            if isinstance(value, str):
                if name in ("items", "gone"):
                    yield value
            else:
                yield from items_in(value, name)
