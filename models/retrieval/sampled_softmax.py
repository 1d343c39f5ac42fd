"""The step of `TwoTower`: softmax over sampled candidates, and its gradient, written by hand.

The candidates of a token are the *shared* ones, which are drawn or targets of the step, and its *own*, the
items of its sequence so far, in `length` further columns by age.  Autograd would keep four copies of the
matrix of logits (tokens, shared + length).
"""

from typing import NamedTuple

import numpy as np

from models.core import Floats, Rows
from models.kernels.jit import ANY_ORDER, Array, kernel


class Gradients(NamedTuple):
    """Gradients of the loss of a step."""

    vectors: Floats
    """float32[rows, dim]."""
    bias: Floats
    """float32[rows]."""
    u: Floats
    """float32[tokens, dim]."""
    repeat: Floats
    """float32[length]."""


def softmax_step(
    u: Floats,
    vectors: Floats,
    bias: Floats,
    log_odds: Floats,
    repeat: Floats,
    own: Rows,
    targets: Rows,
    weights: Floats,
) -> Gradients:
    """The gradients of the weighted cross-entropy of n tokens' targets.

        logit_c = u · v_c + bias_c − log_odds_c + Σ_{age: own_age = c} repeat_age

    `u` is float32[n, dim]; `vectors` and `bias` are of the rows of the step, the first len(log_odds) of which
    are the shared candidates, with the log of the odds that each is among them; own items are candidates for
    certain, and not corrected.  `own`, int32[n, length], and `targets`, int32[n], are numbers of rows.
    """
    import torch

    shared, length = len(log_odds), own.shape[1]
    out = Gradients(
        np.zeros_like(vectors), np.zeros_like(bias), np.zeros_like(u), np.zeros(length, np.float32)
    )
    users, v = torch.from_numpy(u), torch.from_numpy(vectors[:shared])
    logits = torch.empty(len(u), shared + length)
    torch.addmm(torch.from_numpy(bias[:shared] - log_odds), users, v.T, out=logits[:, :shared])
    _add_own(own, shared, u, vectors, bias, log_odds, repeat, logits.numpy())
    error = torch.softmax(logits, 1, out=logits)
    _subtract_targets(own, shared, targets, weights, u, vectors, error.numpy(), out)
    error = error[:, :shared]
    torch.from_numpy(out.vectors[:shared]).addmm_(error.T, users)
    out.bias[:shared] += error.sum(0).numpy()
    torch.from_numpy(out.u).addmm_(error, v)
    return out


def dropout_mask(shape: tuple[int, int], dropout: float, rng: np.random.Generator) -> Floats:
    """Factors of inputs, float32: 0 to drop one out, else the inverse of the share that is kept.

    >>> dropout_mask((2, 4), 0.5, np.random.default_rng(1)).tolist()
    [[2.0, 2.0, 0.0, 0.0], [2.0, 2.0, 0.0, 2.0]]
    """
    limit = round(256 * dropout)
    random = np.frombuffer(rng.bytes(shape[0] * shape[1]), np.uint8).reshape(shape)
    return (random >= limit) * np.float32(256 / (256 - limit))


@kernel
def number_rows(
    drawn: Array, targets: Array, inputs: Array, numbers: Array
) -> tuple[Array, int, Array, Array]:
    """The distinct rows of a step, numbered; first come the drawn ones and the targets.

    Returns the rows, how many are drawn or targets, and the targets and the inputs by number.  `numbers`,
    int32[items], is scratch, 0 before and after.
    """
    rows = np.empty(len(drawn) + len(targets) + len(inputs), np.int32)
    target_numbers, input_numbers = np.empty(len(targets), np.int32), np.empty(len(inputs), np.int32)
    count, shared = len(drawn), 0
    for n in range(count):
        rows[n], numbers[drawn[n]] = drawn[n], n + 1
    for items, out in ((targets, target_numbers), (inputs, input_numbers)):
        shared = count
        for n in range(len(items)):
            row = items[n]
            if numbers[row] == 0:
                rows[count] = row
                count += 1
                numbers[row] = count
            out[n] = numbers[row] - 1
    for row in rows[:count]:
        numbers[row] = 0
    return rows[:count], shared, target_numbers, input_numbers


@kernel
def own_items(tokens: Array, sizes: Array, inputs: Array, length: int) -> Array:
    """int32[tokens, length]: the items of each token's sequence so far, newest first, padded with -1."""
    own = np.full((len(tokens), length), -1, np.int32)
    for n in range(len(tokens)):
        token, step = tokens[n], 0
        while token >= sizes[step]:
            token -= sizes[step]
            step += 1
        token = tokens[n]
        for age in range(step + 1):
            own[n, age] = inputs[token]
            if age < step:
                token -= sizes[step - age - 1]
    return own


@kernel
def add_rows(out: Array, numbers: Array, rows: Array) -> None:
    """Add each row to that of its number in `out`; a number may come twice."""
    for n in range(len(numbers)):
        out[numbers[n]] += rows[n]


@kernel
def _first(own: Array, age: int) -> int:
    """The age at which the item of this age comes first: a repeated item is one candidate."""
    for newer in range(age):
        if own[newer] == own[age]:
            return newer
    return age


@kernel(fastmath=ANY_ORDER)
def _add_own(
    own: Array,
    shared: int,
    u: Array,
    vectors: Array,
    bias: Array,
    log_odds: Array,
    repeat: Array,
    logits: Array,
) -> None:
    """Write the logits of own items, in the column of their age if they are not among the shared ones."""
    for n in range(len(own)):
        logits[n, shared:] = -np.inf
        for age in range(own.shape[1]):
            c = own[n, age]
            if c < 0:
                break
            first = _first(own[n], age)
            at = c if c < shared else shared + first
            if first == age and c < shared:
                logits[n, at] += log_odds[c]
            elif first == age:
                logit = bias[c]
                for d in range(u.shape[1]):
                    logit += u[n, d] * vectors[c, d]
                logits[n, at] = logit
            logits[n, at] += repeat[age]


@kernel
def _subtract_targets(
    own: Array,
    shared: int,
    targets: Array,
    weights: Array,
    u: Array,
    vectors: Array,
    error: Array,
    out: Gradients,
) -> None:
    """Turn probabilities into the gradient of the logits, and add up what follows from those of own items."""
    for n in range(len(own)):
        error[n, targets[n]] -= 1
        if weights[n] != 1:
            error[n] *= weights[n]
        for age in range(own.shape[1]):
            c = own[n, age]
            if c < 0:
                break
            first = _first(own[n], age)
            e = error[n, c if c < shared else shared + first]
            out.repeat[age] += e
            if first == age and c >= shared:
                out.bias[c] += e
                for d in range(u.shape[1]):
                    out.vectors[c, d] += e * u[n, d]
                    out.u[n, d] += e * vectors[c, d]
