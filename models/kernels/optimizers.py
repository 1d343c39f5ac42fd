"""Optimisers: Adagrad on rows of item vectors, Adam on the flat weights of a network."""

import numpy as np

from models.kernels.jit import ANY_ORDER, Array, kernel

ADAM = 0.9, 0.999, 1e-8
"""Decay of the first and of the second moment, and epsilon: the values of Kingma and Ba 2015."""


@kernel(fastmath=ANY_ORDER)
def adagrad(
    rows: Array,
    vector_gradients: Array,
    bias_gradients: Array,
    rate: float,
    max_norm: float,
    vectors: Array,
    bias: Array,
    squares: Array,
    dirty: Array,
) -> int:
    """Take one Adagrad step of the vector and the bias of each row, and mark the rows in `dirty`.

    A vector has one accumulator, `squares[row, 0]`; that of the bias is `squares[row, 1]`.  Vectors longer
    than `max_norm` are scaled to it.  Rows whose gradient is not finite are left as they are; returns how
    many.
    """
    dropped, dim = 0, vectors.shape[1]
    for n in range(len(rows)):
        row, square = rows[n], np.float32(0)
        for d in range(dim):
            square += vector_gradients[n, d] * vector_gradients[n, d]
        if not (np.isfinite(square) and np.isfinite(bias_gradients[n])):
            dropped += 1
            continue
        squares[row, 0] += square / np.float32(dim)
        squares[row, 1] += bias_gradients[n] * bias_gradients[n]
        step = np.float32(rate) / np.sqrt(squares[row, 0])
        norm = np.float32(0)
        for d in range(dim):
            vectors[row, d] -= step * vector_gradients[n, d]
            norm += vectors[row, d] * vectors[row, d]
        if norm > max_norm * max_norm:
            vectors[row] *= np.float32(max_norm / np.sqrt(norm))
        bias[row] -= np.float32(rate) * bias_gradients[n] / np.sqrt(squares[row, 1])
        dirty[row] = True
    return dropped


@kernel
def adam(gradient: Array, steps: int, rate: float, weights: Array, moments: Array) -> None:
    """Take step number `steps` (the first is 1) of Adam; `moments` is float32[2, len(weights)]."""
    first, second, epsilon = ADAM
    rate *= np.sqrt(1 - second**steps) / (1 - first**steps)
    for n in range(len(weights)):
        g = gradient[n]
        moments[0, n] += (1 - first) * (g - moments[0, n])
        moments[1, n] += (1 - second) * (g * g - moments[1, n])
        weights[n] -= rate * moments[0, n] / (np.sqrt(moments[1, n]) + epsilon)
