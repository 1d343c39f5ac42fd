"""Sequences of items laid out step by step, as towers walk them."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.core import Floats, Rows
from models.kernels.jit import Array, kernel


class Sequences(NamedTuple):
    """Items in the order in which they came, step by step.

    First comes the first item (token) of every sequence, then the second of all that have one, and so on; the
    longest sequence is first.
    """

    items: Rows
    """int32[tokens]."""
    sizes: Rows
    """int32[steps]: number of sequences that have a step; descending."""
    last: Rows
    """int32[n]: the token at which the n-th packed sequence ends; -1: it was empty."""


class TrainingSequences(NamedTuple):
    """Sequences, laid out like `Sequences`, and what came after each of their tokens."""

    items: Rows
    """int32[tokens]."""
    sizes: Rows
    """int32[steps]."""
    targets: Rows
    """int32[tokens]."""
    weights: Floats
    """float32[tokens]: weight of the target; 0: it is not to be learnt."""


def pack(history: Rows) -> Sequences:
    """Sequences from int32[n, length], newest first, padded with -1.

    >>> packed = pack(np.array([[7, -1, -1], [3, 2, 1]], np.int32))
    >>> packed.items.tolist(), packed.sizes.tolist(), packed.last.tolist()
    ([1, 7, 2, 3], [2, 1, 1], [1, 3])
    """
    lengths = (history >= 0).sum(1)
    order, sizes = _layout(lengths)
    items, last = np.empty(int(sizes.sum()), np.int32), np.full(len(history), -1, np.int32)
    _lay_out(history, order, lengths, sizes, items)
    nonempty = order[lengths[order] > 0]
    last[nonempty] = (np.cumsum(sizes) - sizes)[lengths[nonempty] - 1] + np.arange(len(nonempty))
    return Sequences(items, sizes, last)


def pack_for_training(items: Rows, weights: Floats, counts: NDArray[np.int64]) -> TrainingSequences:
    """Sequences to learn, from sessions int32[n, length], newest first, with their `counts` of items and
    weights.

    An item is the target of the one before it; a session of one item teaches nothing.
    """
    lengths = np.maximum(counts - 1, 0)
    order, sizes = _layout(lengths)
    tokens = int(sizes.sum())
    out = TrainingSequences(
        np.empty(tokens, np.int32), sizes, np.empty(tokens, np.int32), np.empty(tokens, np.float32)
    )
    _lay_out(items[:, 1:], order, lengths, sizes, out.items)
    _lay_out(items[:, :-1], order, lengths, sizes, out.targets)
    _lay_out(weights[:, :-1], order, lengths, sizes, out.weights)
    return out


def _layout(lengths: NDArray[np.int64]) -> tuple[NDArray[np.intp], Rows]:
    """The order of the sequences, longest first, and how many have each step."""
    sizes = np.bincount(lengths)[:0:-1].cumsum()[::-1]
    return np.argsort(-lengths, kind="stable"), sizes.astype(np.int32)


@kernel
def _lay_out(values: Array, order: Array, lengths: Array, sizes: Array, out: Array) -> None:
    """Write values that are newest first step by step, oldest first."""
    start = 0
    for step in range(len(sizes)):
        for b in range(sizes[step]):
            n = order[b]
            out[start + b] = values[n, lengths[n] - 1 - step]
        start += sizes[step]
