"""The catalog of an evaluation: the same in all its models, from the first event on."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from models.model import Model


class ListedItems:
    """Items of a catalog, which the models of an evaluation are told of as those of a worker are.

    Parameters
    ----------
    records
        The encoded record by item id, as the models' catalogs take it; empty: there is no catalog.
    category_names
        The names of the categories by their codes.
    """

    def __init__(
        self, records: Mapping[str, bytes], category_names: Mapping[int, str] = MappingProxyType({})
    ) -> None:
        self._records, self.category_names = records, category_names

    def reserve(self, model: Model) -> None:
        """Give all items a row, as the learner does; those of the end get none where there are too few."""
        for item in self._records:
            model.items.reserve(item)

    def advance(self, model: Model, now: int) -> None:
        """Tell the model of the items that got a row since the last call, at event time `now`, ms."""
        if not self._records:
            return
        model.catalog.begin()
        found = [(item, self._records[item]) for item in model.items.take_assigned() if item in self._records]
        if found:
            rows = np.array(model.items.rows(item for item, _ in found), np.int32)
            records = np.frombuffer(b"".join(record for _, record in found), model.catalog.record)
            model.catalog.put(rows, records)
        model.catalog.advance(now)
        model.refresh()
