"""Items that the lists of an evaluation leave out: none, the user's latest, or all that the user had."""

from collections.abc import Callable, Sequence

import numpy as np

from models.core import Example, Rows
from models.evaluation.example_columns import Integers
from models.model import Model

Exclusion = Callable[[Model, Integers], Rows]
"""The rows to leave out of the lists for examples at these places of the log: int32[n, any], -1 pads."""


def exclude_nothing(model: Model, places: Integers) -> Rows:
    """Leave out no item."""
    return np.zeros((len(places), 0), np.int32)


def exclude_latest(examples: Sequence[Example]) -> Exclusion:
    """Leave out the user's latest item, as a worker does by default."""

    def rows(model: Model, places: Integers) -> Rows:
        histories = (examples[n].history for n in places.tolist())
        return np.array(model.items.rows(h[-1] if h else "" for h in histories), np.int32)[:, None]

    return rows


def exclude_seen(examples: Sequence[Example]) -> Exclusion:
    """Leave out all items of the user's earlier examples, however long ago."""
    user_places: dict[str, list[int]] = {}
    earlier = np.zeros(len(examples), np.int64)
    for n, example in enumerate(examples):
        same_user = user_places.setdefault(example.user, [])
        earlier[n] = len(same_user)
        same_user.append(n)

    def rows(model: Model, places: Integers) -> Rows:
        out = np.full((len(places), int(earlier[places].max(initial=0))), -1, np.int32)
        for at, n in enumerate(places.tolist()):
            seen = user_places[examples[n].user][: earlier[n]]
            out[at, : len(seen)] = model.items.rows(examples[place].item for place in seen)
        return out

    return rows
