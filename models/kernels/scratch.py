"""Arrays that a kernel works in: zero before and after a call, and every thread has its own."""

import threading
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


class Scratch(threading.local):
    """Made when a thread first asks, so that several threads may propose from one model at once.

    >>> Scratch((4, np.int8)).arrays[0]
    array([0, 0, 0, 0], dtype=int8)
    """

    def __init__(self, *shapes: tuple[int, DTypeLike]) -> None:
        self.arrays: tuple[NDArray[Any], ...] = tuple(np.zeros(size, dtype) for size, dtype in shapes)
