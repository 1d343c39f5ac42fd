"""State of a generator beside its item rows: named arrays that travel as rows after the items'.

The weights of a tower and a ring of recent clicks belong to no item.  They lie in one block of 4-byte
words; page j of the block travels as row `first` + j of the generator's table, in place of the fields that
follow `row`.  So a generator has one table, one dtype and one set of touched rows, whatever it keeps.
"""

from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from models.core import Rows

WORD = 4


class Pages:
    """Named arrays over one block, each given as (shape, dtype); zero at first.

    >>> row = np.dtype([("row", "<i4"), ("bias", "<f4"), ("vector", "<f4", 2)])
    >>> pages = Pages(100, row, step=(1, np.int64), weights=((2, 2), np.float32))
    >>> pages["weights"][1] = 0.5
    >>> pages.mark("weights")
    >>> pages.touched()
    array([100, 101], dtype=int32)
    >>> twin = Pages(100, row, step=(1, np.int64), weights=((2, 2), np.float32))
    >>> twin.apply(np.array([100, 101]), pages.dump(np.array([100, 101])))
    >>> twin["weights"].tolist()
    [[0.0, 0.0], [0.5, 0.5]]
    """

    def __init__(self, first: int, row: np.dtype[Any], **arrays: tuple[Any, DTypeLike]) -> None:
        self.first, self.width = first, row.itemsize // WORD - 1
        self._spans: dict[str, tuple[int, int]] = {}
        words = 0
        for name, (shape, dtype) in arrays.items():
            size = prod(np.atleast_1d(shape).tolist()) * np.dtype(dtype).itemsize // WORD
            self._spans[name] = words, words + size
            words += size + size % 2  # so that every array may be of 8-byte numbers
        self.count = -(-words // self.width)
        self._block = np.zeros(self.count * self.width, np.int32)
        self._arrays = {
            name: self._block[slice(*self._spans[name])].view(dtype).reshape(shape)
            for name, (shape, dtype) in arrays.items()
        }
        self._dirty = np.zeros(self.count, np.bool_)

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._arrays[name]

    def mark(self, name: str, start: int = 0, stop: int | None = None) -> None:
        """Elements `start` to `stop` of the array, flattened, have changed; all of them by default."""
        first, end = self._spans[name]
        words = self._arrays[name].itemsize // WORD
        stop = (end - first) // words if stop is None else stop
        if stop > start:
            a, b = first + start * words, first + stop * words
            self._dirty[a // self.width : -(-b // self.width)] = True

    def touched(self) -> Rows:
        """Rows marked since the last call, ascending; calling forgets them."""
        pages = np.flatnonzero(self._dirty)
        self._dirty[pages] = False
        return (self.first + pages).astype(np.int32)

    def dump(self, rows: NDArray[Any]) -> NDArray[np.int32]:
        """The words of these rows, int32[n, width]."""
        return np.asarray(self._block.reshape(self.count, self.width)[rows - self.first])

    def apply(self, rows: NDArray[Any], words: NDArray[np.int32]) -> None:
        """Take over dumped words; of a row that comes twice the last one counts."""
        self._block.reshape(self.count, self.width)[rows - self.first] = words


def as_words(records: NDArray[np.void]) -> NDArray[np.int32]:
    """Records of a table as int32[n, words], `row` first; a view, of no records, too."""
    return records.view(np.int32).reshape(len(records), records.dtype.itemsize // WORD)
