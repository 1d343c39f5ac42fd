"""Types of settings that pydantic does not have."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct
from pydantic import AfterValidator, Field

from models.catalog import MAX_VECTOR
from models.catalog_filter import CatalogFilter
from models.rerank.rules import make_rule

PLACEMENT_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


class Placement(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A named list: for a product page, a basket, a category page, a mail."""

    answers: frozenset[str] = frozenset()
    """Types of events that are answered with this list, too, beside requests that name it."""
    start: Literal["history", "item", "cart"] = "history"
    """What it starts from: the user's history, the item of the event, or what is in the cart."""
    generators: dict[str, Annotated[float, Meta(ge=0)]] | None = None
    """Weights of the generators in its blend; None: the ranker of the settings orders all candidates."""
    rules: list[dict[str, Any]] | None = None
    """Its own rules; None: those of the settings."""
    where: dict[str, Any] = {}
    """What the catalog must say of its items (`models.catalog_filter`)."""
    list_length: Annotated[int, Meta(ge=1, le=200)] | None = None
    """Items in the list; None: as many as the settings say."""


def make_placements(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, Placement]:
    """The placements of the setting; `ValueError` says which one is wrong, and why.

    >>> make_placements({"basket": {"start": "cart"}})["basket"].start
    'cart'
    """
    placements = {}
    for name, setting in settings.items():
        if not PLACEMENT_NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a name of up to 64 small letters, digits, - and _")
        try:
            placement = placements[name] = msgspec.convert(setting, Placement)
            CatalogFilter(placement.where)
            for rule in placement.rules or ():
                make_rule(rule)
            if placement.generators is not None and not any(placement.generators.values()):
                raise ValueError("generators: at least one must have a weight above 0")
        except (ValueError, msgspec.ValidationError) as error:
            raise ValueError(f"{name}: {error}") from None
    return placements


def check_vectors(
    rules: Sequence[Mapping[str, Any]],
    placements: Mapping[str, Mapping[str, Any]],
    lengths: Mapping[str, int],
) -> None:
    """`ValueError` if a rule is over a vector that is not kept, by the names of `lengths`."""
    known = ["embeddings", "words", *lengths]
    by_name = {"rules": rules} | {
        f"placements: {name}": p.get("rules") or () for name, p in placements.items()
    }
    for name, settings in by_name.items():
        for setting in settings:
            if setting.get("over", known[0]) not in known:
                raise ValueError(
                    f"{name}: {setting['rule']}: over: {setting['over']!r} is not"
                    f" {', '.join(known)}; catalog_vectors says which vectors are kept"
                )


def check_filters(placements: Mapping[str, Mapping[str, Any]], filters: Sequence[str]) -> None:
    """`ValueError` if a placement filters by what is not kept, or a filter is named twice."""
    if len(set(filters)) < len(filters):
        raise ValueError("catalog_filters: a name is there twice")
    for name, placement in placements.items():
        if missing := CatalogFilter(placement.get("where") or {}).reads - {*filters}:
            raise ValueError(
                f"placements: {name}: where: {', '.join(sorted(missing))} not in catalog_filters"
            )


def _host_name(host: str) -> str:
    if not host or set(host) & set("/ ;,'\""):
        raise ValueError("is not a host name or address")
    return host


def _brokers(text: str) -> str:
    servers = [server.strip() for server in text.split(",")]
    for server in servers:
        if "://" in server:
            raise ValueError(
                f"{server} names a protocol: expected host:port, and the protocol in security_protocol"
            )
        if not server or server.startswith(":"):
            raise ValueError("has an empty host: expected host:port[,host:port]")
    return ",".join(servers)


def _root_path(path: str) -> str:
    if not re.fullmatch(r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._~-]+)*/?", path):
        raise ValueError("is not a path such as /freshet")
    return path.removesuffix("/")


def _finite(value: Any) -> Any:
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _finite(part)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is not a finite number")
    return value


def _rules(settings: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
    for setting in settings:
        make_rule(setting)
    return settings


def _placements(settings: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    make_placements(settings)
    return settings


def _vector_lengths(lengths: dict[str, int]) -> dict[str, int]:
    for name, length in lengths.items():
        if not 1 <= length <= MAX_VECTOR:
            raise ValueError(f"{name}: a vector has from 1 to {MAX_VECTOR} numbers")
    return lengths


Brokers = Annotated[str, AfterValidator(_brokers)]
"""Kafka's bootstrap servers as both clients take them: without a protocol and blanks."""
HostName = Annotated[str, AfterValidator(_host_name)]
"""A host name or an address."""
RootPath = Annotated[str, AfterValidator(_root_path)]
"""A path of a URL, from the first slash, without a slash at the end; or empty."""
Parameters = Annotated[dict[str, dict[str, Any]], AfterValidator(_finite)]
"""Parameters by name, by what they are for; no number is NaN or infinite."""
RuleSettings = Annotated[tuple[dict[str, Any], ...], AfterValidator(_rules)]
"""Rules in their order, each with its name as `rule` and its parameters."""
PlacementSettings = Annotated[dict[str, dict[str, Any]], AfterValidator(_placements)]
"""Placements by name, each with the fields of `Placement`."""
VectorLengths = Annotated[dict[str, int], AfterValidator(_vector_lengths)]
"""Numbers in a vector of the catalog, by its name."""
AttributeName = Annotated[str, Field(min_length=1, max_length=64)]
"""The name of an attribute of the catalog."""
