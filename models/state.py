"""State that travels from the learner to its replicas, as rows of a table.

    learner:  learn -> touched -> dump -> (Kafka) -> apply  :replica

A component (`models.components`) keeps what it has learnt in a `Table`, or in `Parameters` if it is a
network.  Its kernels write into the table's columns and set `dirty` for each row that they change.  All
columns are allocated zeroed at once: the operating system provides a page when a row in it is first written,
so a table never grows by copying.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.core import Rows
from models.kernels.jit import Array

Records = NDArray[np.void]
"""Rows as they travel; the field `row`, int32, is the row's number."""


class Table:
    """Named columns with one row an item, or another unit that the component counts.

    Parameters
    ----------
    rows
        Number of rows.
    fields
        Columns as numpy's dtypes list them: (name, dtype) or (name, dtype, shape).  Their order and types are
        the format of the rows that travel.
    packed
        Whether a row's columns lie side by side in memory.  By default each column is one contiguous array.
    applied
        Called with the records after they were applied, for what a component derives from its rows.

    Examples
    --------
    >>> learner, replica = (Table(100, [("count", "<i4"), ("vector", "<f4", 2)]) for _ in range(2))
    >>> learner["count"][[7, 9]] = 3, 4
    >>> learner.mark(np.array([7, 9]))
    >>> rows = learner.touched()
    >>> replica.apply(learner.dump(rows))
    >>> int(replica["count"].sum()), replica.used
    (7, 10)
    """

    def __init__(
        self,
        rows: int,
        fields: list[Any],
        packed: bool = False,
        applied: Callable[[Records], None] | None = None,
    ) -> None:
        self.rows = rows
        self.dtype: np.dtype[np.void] = np.dtype([("row", "<i4"), *fields])
        """A row as it travels."""
        self.dirty = np.zeros(rows, np.bool_)
        """bool[rows]: changed since the last call of `touched`."""
        self.used = 0
        """1 + the highest row that was ever marked or applied; rows that kernels set dirty do not count."""
        self.records: Records = np.zeros(rows if packed else 0, self.dtype)
        """The rows side by side, if the table is packed."""
        self._applied = applied
        self._columns: dict[str, Array] = {
            name: self.records[name] if packed else _zeros(rows, self.dtype[name])
            for name in (self.dtype.names or ())[1:]
        }

    def __getitem__(self, name: str) -> Array:
        return self._columns[name]

    @property
    def layout(self) -> str:
        """The format of a row in text: two tables of the same text understand each other's rows."""
        return repr(self.dtype.descr)

    def mark(self, rows: NDArray[Any]) -> None:
        """Note that these rows changed; negative ones are ignored."""
        if len(rows):
            self.used = max(self.used, int(rows.max()) + 1)
            self.dirty[rows[rows >= 0]] = True

    def touched(self) -> Rows:
        """Rows changed since the last call, ascending and distinct; calling resets them."""
        rows = np.flatnonzero(self.dirty).astype(np.int32)
        self.dirty[rows] = False
        return rows

    def dump(self, rows: Rows) -> Records:
        """These rows as they travel, `dtype`[len(rows)]."""
        records = np.zeros(len(rows), self.dtype)
        records["row"] = rows
        for name, column in self._columns.items():
            records[name] = column[rows]
        return records

    def apply(self, records: Records) -> None:
        """Store dumped rows; of a row that comes twice the last one counts.

        Rows beyond the table's are of a larger model, and left out.
        """
        if len(records) and records["row"].max() >= len(self.dirty):
            records = records[records["row"] < len(self.dirty)]
        if len(records):
            self._store(records)
            if self._applied is not None:
                self._applied(records)

    def _store(self, records: Records) -> None:
        rows = records["row"]
        for name, column in self._columns.items():
            column[rows] = records[name]
        self.used = max(self.used, int(rows.max()) + 1)

    def clear(self, rows: Rows) -> None:
        """Set these rows to zero, and mark them."""
        for column in self._columns.values():
            column[rows] = 0
        self.dirty[rows] = True


def _zeros(rows: int, dtype: np.dtype[Any]) -> Array:
    return np.zeros((rows, *dtype.shape), dtype.base)


class Parameters(Table):
    """The weights of a network as one row: `values` and Adagrad's accumulators `squares`, float32[size].

    Parameters
    ----------
    size
        Number of weights; they start at 0.
    first_squares
        What the accumulators start at.

    Examples
    --------
    >>> parameters = Parameters(3, first_squares=0.25)
    >>> parameters.mark_all()
    >>> parameters.dump(parameters.touched())["squares"].tolist()
    [[0.25, 0.25, 0.25]]
    """

    def __init__(self, size: int, first_squares: float) -> None:
        super().__init__(1, [("parameters", "<f4", (size,)), ("squares", "<f4", (size,))])
        self.values, self.squares = self["parameters"][0], self["squares"][0]
        self.squares[:] = first_squares

    def mark_all(self) -> None:
        """Note that the parameters changed."""
        self.dirty[:] = True


NOTHING = Table(0, [])
"""The state of a component that keeps none."""
