"""The record on the topic `catalog`: an item of the shop, and how bytes become one or `Malformed`."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from models.catalog import MAX_VECTOR, Entry
from streams.messages import MAX_ID_BYTES, Id, Malformed, Milliseconds, Name, Timestamp, malformed, unreadable

MAX_BYTES = 1_000_000
"""Size of a record, at most: Kafka's default limit of a message."""

Short = Annotated[str, Meta(max_length=256)]
Path = Annotated[
    str, Meta(min_length=1, max_length=256, description='path of names, "Outdoor/Tents": also in "Outdoor"')
]
Vector = Annotated[list[float], Meta(min_length=1, max_length=MAX_VECTOR)]


class CatalogItem(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """On `catalog`, key = item id, compacted: what the shop knows of an item; no value withdraws it."""

    item: Id
    title: Annotated[str, Meta(max_length=500)] = ""
    text: Annotated[str, Meta(max_length=20_000, description="description, for finding similar items")] = ""
    categories: Annotated[list[Path], Meta(max_length=16, description="the main one first")] = []
    brand: Short = ""
    author: Short = ""
    price: Annotated[float, Meta(ge=0)] | None = None
    currency: Annotated[str, Meta(max_length=16, description="EUR, USD ...")] = ""
    available: Annotated[bool, Meta(description="false: sold out, never recommended")] = True
    since: Annotated[Milliseconds | Timestamp | None, Meta(description="may be recommended from then on")] = (
        msgspec.field(default=None, name="from")
    )
    until: Annotated[Milliseconds | Timestamp | None, Meta(description="may not be recommended then")] = None
    group: Annotated[str, Meta(max_length=256, description="the product of which it is a variant")] = ""
    tags: Annotated[list[Short], Meta(max_length=64)] = []
    attributes: Annotated[
        dict[Name, Short | float], Meta(max_length=32, description="short strings or numbers")
    ] = {}
    vectors: Annotated[
        dict[Name, Vector],
        Meta(max_length=8, description="vectors of the shop's own models: of images, texts, sound"),
    ] = {}
    image: Annotated[str, Meta(max_length=2048, description="address of a picture, for the pages")] = ""
    adult: bool = False
    schema: Annotated[int, Meta(ge=1, description="version of the record")] = msgspec.field(
        default=1, name="version"
    )

    def entry(self) -> Entry:
        """What rules and the generator `content` read of it."""
        return Entry(
            self.available, self.adult, _ms(self.since) or 0, _ms(self.until), self.price, self.currency,
            self.brand, self.author, self.group, tuple(self.categories), self.words(),
            tuple(self.tags), self.attributes, self.vectors,
        )  # fmt: skip

    def check_vectors(self, lengths: Mapping[str, int]) -> None:
        """`Malformed` if a vector has another length than its name's in `lengths`."""
        for name, vector in self.vectors.items():
            if len(vector) != lengths.get(name, len(vector)):
                raise Malformed(
                    "wrong-length",
                    f"vectors.{name} has {len(vector)} numbers, and catalog_vectors says {lengths[name]}:"
                    " the item is used without its vector",
                )

    def words(self) -> str:
        """The words by which it is compared with other items, those that say most first."""
        attributes = (
            f"{name}={value}".replace(" ", "_").replace("=", "_") for name, value in self.attributes.items()
        )
        return "\n".join(
            [self.title, *self.categories, self.brand, self.author, *self.tags, *attributes, self.text]
        )


def _ms(time: int | datetime | None) -> int | None:
    return time if time is None or isinstance(time, int) else max(round(time.timestamp() * 1000), 0)


encode_item = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(CatalogItem).decode


def decode_item(key: bytes | None, value: bytes) -> CatalogItem:
    """The item of a record's key and value; `Malformed` with the reason if it is not a valid one.

    >>> decode_item(b"tent", b'{"item":"tent","title":"A tent","available":false}').entry().available
    False
    >>> decode_item(b"tent", b'{"item":"boat"}')
    Traceback (most recent call last):
    ...
    streams.messages.Malformed: wrong-key: the key of the record must be the item's id, in UTF-8
    """
    if len(value) > MAX_BYTES:
        raise Malformed("too-large", f"{len(value)} bytes, at most {MAX_BYTES}")
    try:
        item = _decode(value)
    except msgspec.ValidationError as error:
        raise malformed(error) from None
    except UnicodeDecodeError as error:
        raise Malformed("invalid-utf8", str(error)) from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise Malformed(unreadable(value), str(error)) from None
    if len(item.item.encode()) > MAX_ID_BYTES:
        raise Malformed("out-of-range", f"an id of more than {MAX_ID_BYTES} bytes")
    if key != item.item.encode():
        raise Malformed("wrong-key", "the key of the record must be the item's id, in UTF-8")
    numbers = [item.price or 0.0, *(v for v in item.attributes.values() if isinstance(v, float))]
    if not all(math.isfinite(x) for x in [*numbers, *(x for v in item.vectors.values() for x in v)]):
        raise Malformed("out-of-range", "a number is not finite")
    for name, time in (("from", item.since), ("until", item.until)):
        if isinstance(time, datetime) and time < _EPOCH:
            raise Malformed("time-out-of-range", f"{name} is before 1970: {time}")
    return item


_EPOCH = datetime.fromtimestamp(0, UTC)
