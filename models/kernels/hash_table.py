"""A hash table from uint64 keys to slots, with deletion: linear probing over one array of int32.

`table`, int32[power of two], holds slot + 1, or 0 where it is free; `keys[slot]` is the key of a slot.  At
most half of the table may be in use.
"""

import numpy as np

from models.kernels.jit import Array, kernel
from models.kernels.splitmix import GOLDEN


def size_for(entries: int) -> int:
    """The smallest power of two that is at least twice `entries`.

    >>> size_for(5)
    16
    """
    return 1 << (2 * entries - 1).bit_length()


@kernel
def find(table: Array, keys: Array, key: np.uint64) -> np.uint64:
    """Position of the key in the table, or the free position where it belongs."""
    mask = np.uint64(len(table) - 1)
    at = (key * GOLDEN >> np.uint64(20)) & mask
    while table[at] != 0 and keys[table[at] - 1] != key:
        at = (at + np.uint64(1)) & mask
    return at


@kernel
def insert(table: Array, keys: Array, slots: Array) -> None:
    """Insert slots in order; of several slots with the same key the last one is kept."""
    for slot in slots:
        table[find(table, keys, keys[slot])] = slot + 1


@kernel
def remove(table: Array, keys: Array, slot: int) -> None:
    """Remove the slot, unless its key is at another slot by now; entries that it displaced move up."""
    mask = np.uint64(len(table) - 1)
    hole = find(table, keys, keys[slot])
    if table[hole] != slot + 1:
        return
    at = hole
    while True:
        at = (at + np.uint64(1)) & mask
        if table[at] == 0:
            break
        home = (keys[table[at] - 1] * GOLDEN >> np.uint64(20)) & mask
        if ((at - home) & mask) >= ((at - hole) & mask):
            table[hole] = table[at]
            hole = at
    table[hole] = 0
