"""Kernels of the tower `mean`: decayed means of item vectors, and the way back from a gradient.

    u_t = Σ_j γ^(t−j) x_j / Σ_j γ^(t−j)

Tokens are laid out step by step, as in `models.retrieval.sequences.Sequences`.
"""

import numpy as np

from models.kernels.jit import ANY_ORDER, Array, kernel


@kernel
def means(x: Array, sizes: Array, keep: np.float32, u: Array) -> None:
    """Write u_t = (γ W_{t−1} u_{t−1} + x_t) / W_t with W_t = γ W_{t−1} + 1 for all tokens; `keep` is γ."""
    unit = u.dtype.type(1)
    total, start = unit * 0, 0
    for step in range(len(sizes)):
        before, total = total, total * keep + unit
        a, b = keep * before / total, unit / total
        for token in range(start, start + sizes[step]):
            if step == 0:
                u[token] = x[token]
            else:
                earlier = token - sizes[step - 1]
                for d in range(x.shape[1]):
                    u[token, d] = a * u[earlier, d] + b * x[token, d]
        start += sizes[step]


@kernel(fastmath=ANY_ORDER)
def means_backward(u_gradient: Array, u: Array, sizes: Array, keep: np.float32, x_gradient: Array) -> float:
    """Write the gradient of x, and return that of γ, which acts through W and through every u before."""
    steps = len(sizes)
    totals, slopes = np.ones(steps, u_gradient.dtype), np.zeros(steps, u_gradient.dtype)
    for step in range(1, steps):  # W, and its derivative by γ
        totals[step] += keep * totals[step - 1]
        slopes[step] = totals[step - 1] + keep * slopes[step - 1]
    keep_gradient, stop = 0.0, len(u_gradient)
    for step in range(steps - 1, -1, -1):
        start = stop - sizes[step]
        following = sizes[step + 1] if step + 1 < steps else 0
        scale = u_gradient.dtype.type(1) / totals[step]
        for token in range(start, stop):
            later = token + sizes[step]
            slope = u_gradient.dtype.type(0)
            for d in range(u_gradient.shape[1]):  # x_t has the gradient of W_t u_t
                g = u_gradient[token, d] * scale
                slope -= g * u[token, d]
                if token - start < following:
                    g += keep * x_gradient[later, d]
                x_gradient[token, d] = g
            keep_gradient += slope * slopes[step]
            if step:
                earlier = token - sizes[step - 1]
                through = u_gradient.dtype.type(0)
                for d in range(u_gradient.shape[1]):
                    through += x_gradient[token, d] * u[earlier, d]
                keep_gradient += through * totals[step - 1]
        stop = start
    return keep_gradient


@kernel
def last_means(history: Array, vectors: Array, keep: np.float32, out: Array) -> None:
    """Write the mean at the newest step of each history, int32[n, length], newest first; 0 if it is empty."""
    for n in range(len(history)):
        total = np.float32(0)
        for column in range(history.shape[1] - 1, -1, -1):
            a = history[n, column]
            if a >= 0:
                total = total * keep + np.float32(1)
                for d in range(out.shape[1]):
                    out[n, d] = out[n, d] * keep + vectors[a, d]
        if total > 0:
            for d in range(out.shape[1]):
                out[n, d] /= total
