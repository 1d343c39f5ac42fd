"""Segments of predictions: by what is known of the user, of the item, of the target, and by event type."""

from collections.abc import Sequence

import numpy as np

from models.core import Example
from models.evaluation.example_columns import ExampleColumns, Mask
from models.evaluation.run import RunResult

NEW_USER, LIGHT_USER = 5, 20
"""Earlier events of a user: fewer is a new user, fewer than the second a light one, else a heavy one."""
NEW_ITEM = 10
"""Examples learnt of an item: fewer is a new item."""


def segments(examples: Sequence[Example], columns: ExampleColumns, result: RunResult) -> dict[str, Mask]:
    """Which predictions of a run belong to each segment, by name; empty segments are left out."""
    places, item_events = result.predicted, result.item_events
    user_events = columns.user_events[places]
    known, repeats_latest = columns.known_to_user[places], columns.repeats_latest[places]
    masks = {
        "user: new": user_events < NEW_USER,
        "user: light": (user_events >= NEW_USER) & (user_events < LIGHT_USER),
        "user: heavy": user_events >= LIGHT_USER,
        "item: not learnt yet": item_events == 0,
        "item: new": (item_events > 0) & (item_events < NEW_ITEM),
        "item: known": item_events >= NEW_ITEM,
        "target: latest item": repeats_latest,
        "target: repeat": known & ~repeats_latest,
        "target: novel": ~known,
    }
    types = np.array([examples[n].type for n in places.tolist()], dtype=object)
    masks |= {f"type: {name}": types == name for name in sorted(set(types.tolist()))}
    return {name: mask for name, mask in masks.items() if mask.any()}
