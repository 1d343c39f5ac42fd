"""The record of each topic as JSON Schema."""

from typing import Any

import msgspec

from models.core import Example
from streams.catalog_messages import CatalogItem
from streams.event_messages import Event
from streams.messages import DeadLetter, MetricsRow, Recommendation, SettingChange

RECORDS: dict[str, Any] = {
    "events": Event,
    "catalog": CatalogItem,
    "recommendations": Recommendation,
    "examples": Example,
    "dead-letter": DeadLetter,
    "metrics": MetricsRow,
    "settings": SettingChange,
}


def schema(name: str) -> dict[str, Any]:
    """The JSON Schema (2020-12) of the record on a topic; `KeyError` for a topic that has none."""
    generated = msgspec.json.schema(RECORDS[name])
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": name, **generated}
