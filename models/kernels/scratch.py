"""Scratch arrays for kernels: zero before and after each call, and separate for each thread."""

import threading

import numpy as np
from numpy.typing import DTypeLike

from models.kernels.jit import Array


class Scratch(threading.local):
    """Arrays that are allocated at a thread's first access, so that several threads may propose at once.

    >>> Scratch((4, np.int8)).arrays[0]
    array([0, 0, 0, 0], dtype=int8)
    """

    def __init__(self, *shapes: tuple[int, DTypeLike]) -> None:
        self.arrays: tuple[Array, ...] = tuple(np.zeros(size, dtype) for size, dtype in shapes)
