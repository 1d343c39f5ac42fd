"""What rules read of the items, beside the users' queries."""

from typing import NamedTuple

from models.catalog import Catalog
from models.core import Floats
from models.rows import ItemRows
from models.statistics import ItemStatistics


class ItemData(NamedTuple):
    """The items of a model by row, for rules to read."""

    items: ItemRows
    catalog: Catalog
    statistics: ItemStatistics
    vectors: Floats | None = None
    """Embeddings, float32[capacity, dim]; None: the model has none."""

    @classmethod
    def empty(cls, capacity: int, catalog: Catalog | None = None) -> "ItemData":
        """Items of which nothing is known, or only what this catalog says.

        >>> len(ItemData.empty(10).catalog)
        0
        """
        return cls(ItemRows(capacity), catalog or Catalog(capacity), ItemStatistics(capacity))
