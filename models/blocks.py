"""Arrays that belong to no item, such as the weights of a tower, as further rows of a table.

So a component has one table, one dtype and one set of touched rows.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from models.core import Rows
from models.kernels.jit import Array
from models.state import Records, Table

WORD = 4
"""Bytes of a word of `Blocks`."""


class Blocks:
    """Named arrays that belong to no item and travel as rows after a table's own: weights, rings.

    They lie in one block of 4-byte words.  Page j of the block is row `first` + j of the table, its words in
    place of the fields that follow `row`.  It travels as row −1 − j, so that its key does not depend on the
    number of items.

    Parameters
    ----------
    first
        Number of the first page's row.
    row
        The table's dtype, which a page has to fit.
    arrays
        (shape, dtype) of each array by name; they start at 0.

    Examples
    --------
    >>> row = np.dtype([("row", "<i4"), ("bias", "<f4"), ("vector", "<f4", 2)])
    >>> blocks = Blocks(100, row, {"step": (1, np.int64), "weights": ((2, 2), np.float32)})
    >>> blocks["weights"][1] = 0.5
    >>> blocks.mark("weights")
    >>> blocks.touched().tolist()
    [100, 101]
    """

    def __init__(self, first: int, row: np.dtype[Any], arrays: dict[str, tuple[Any, DTypeLike]]) -> None:
        self.first, self.width = first, row.itemsize // WORD - 1
        self._spans: dict[str, tuple[int, int]] = {}
        words = 0
        for name, (shape, dtype) in arrays.items():
            size = int(np.prod(shape)) * np.dtype(dtype).itemsize // WORD
            self._spans[name] = words, words + size
            words += size + size % 2  # so that every array may be of 8-byte numbers
        self.count = -(-words // self.width)
        block = np.zeros(self.count * self.width, np.int32)
        self._pages = block.reshape(self.count, self.width)
        self._arrays = {
            name: block[slice(*self._spans[name])].view(dtype).reshape(shape)
            for name, (shape, dtype) in arrays.items()
        }
        self._dirty = np.zeros(self.count, np.bool_)

    def __getitem__(self, name: str) -> Array:
        return self._arrays[name]

    def mark(self, name: str, start: int = 0, stop: int | None = None) -> None:
        """Note that elements `start` to `stop` of the flattened array changed; all of them by default."""
        first, end = self._spans[name]
        words = self._arrays[name].itemsize // WORD
        stop = (end - first) // words if stop is None else stop
        if stop > start:
            a, b = first + start * words, first + stop * words
            self._dirty[a // self.width : -(-b // self.width)] = True

    def touched(self) -> Rows:
        """Rows of the pages changed since the last call, ascending; calling resets them."""
        pages = np.flatnonzero(self._dirty)
        self._dirty[pages] = False
        return (self.first + pages).astype(np.int32)

    def dump(self, rows: Rows) -> NDArray[np.int32]:
        """The words of these rows, int32[n, width]."""
        return np.asarray(self._pages[rows - self.first])

    def apply(self, pages: NDArray[np.intp], words: NDArray[np.int32]) -> None:
        """Store dumped words of these pages; of a page that comes twice the last one counts."""
        self._pages[pages] = words

    @property
    def layout(self) -> str:
        """The arrays in text: two blocks of the same text understand each other's pages."""
        return repr({name: (array.shape, array.dtype.str) for name, array in self._arrays.items()})


class TableWithBlocks(Table):
    """A table followed by `blocks`, as further rows.

    Parameters
    ----------
    items, fields, applied
        As of `Table`; `items` is its number of rows, to which the blocks' pages add.
    blocks
        (shape, dtype) of each array of the blocks by name.

    Examples
    --------
    >>> arrays = {"clicks": (5, np.int32)}
    >>> learner, replica = (TableWithBlocks(10, [("vector", "<f4", 2)], arrays) for _ in range(2))
    >>> learner.blocks["clicks"][4] = 3
    >>> learner.blocks.mark("clicks", 4, 5)
    >>> replica.apply(learner.dump(learner.touched()))
    >>> replica.blocks["clicks"].tolist(), replica.rows
    ([0, 0, 0, 0, 3], 13)
    """

    def __init__(
        self,
        items: int,
        fields: list[Any],
        blocks: dict[str, tuple[Any, DTypeLike]],
        applied: Callable[[Records], None] | None = None,
    ) -> None:
        super().__init__(items, fields, applied=applied)
        self.blocks = Blocks(items, self.dtype, blocks)
        self.rows += self.blocks.count

    @property
    def layout(self) -> str:
        """The format of a row and of the blocks in text."""
        return f"{super().layout} {self.blocks.layout}"

    def touched(self) -> Rows:
        """Rows and pages changed since the last call, ascending; calling resets them."""
        return np.concatenate([super().touched(), self.blocks.touched()])

    def dump(self, rows: Rows) -> Records:
        """These rows and pages as they travel; the rows come first."""
        items = rows < self.blocks.first
        records = np.zeros(len(rows), self.dtype)
        records[items] = super().dump(rows[items])
        records["row"] = np.where(items, rows, self.blocks.first - 1 - rows)
        _words(records)[~items, 1:] = self.blocks.dump(rows[~items])
        return records

    def _store(self, records: Records) -> None:
        items = records["row"] >= 0
        if items.any():
            super()._store(records[items])
        pages = records[~items]
        self.blocks.apply(-1 - pages["row"].astype(np.intp), _words(pages)[:, 1:])


def _words(records: Records) -> NDArray[np.int32]:
    """Records as int32[n, words], a view."""
    return records.view(np.int32).reshape(len(records), records.dtype.itemsize // WORD)
