"""The generator `matrix-factorisation`: factors of items, and of the users as their items describe them."""

from typing import Any, NamedTuple

import numpy as np

from models.blocks import TableWithBlocks
from models.core import HISTORY, Batch, Candidates, Floats, QueryBatch, Rows
from models.kernels.jit import Array
from models.kernels.optimizers import adagrad
from models.retrieval.recent_clicks import RecentClicks
from models.retrieval.vectors import EPSILON, retrieve, score, start_vectors
from models.state import Records

NO_REPEAT = np.zeros(HISTORY, np.float32)
"""A repeat of an item gains nothing."""


class Side(NamedTuple):
    """What one side of the factorisation has for each item."""

    bias: Array
    """float32[items]."""
    squares: Array
    """float32[items, 2]: Adagrad's accumulators of factors and bias; 0: the item has no factors yet."""
    factors: Array
    """float32[items, dim]."""


class MatrixFactorisation:
    """Matrix factorisation with biases; the user's side is folded in from the history, without state a user.

        r_ui = b_u + b_i + p_u · q_i        p_u = |H|^−½ Σ_{j ∈ H} y_j        b_u = |H|^−½ Σ_{j ∈ H} c_j

    H: the user's latest items, without order and sessions (Koren 2008, "Factorization Meets the
    Neighborhood", the implicit part of SVD++; Kabbur, Ning and Karypis 2013, FISM).  Learnt by logistic loss
    against negatives among the latest clicks, shared by a step, with the log of how often the item is
    expected among them taken off the logit (noise contrastive estimation: Gutmann and Hyvärinen 2010).  So
    r_ui is learnt to be log p(i | u), with b_u for the normaliser, which no other loss would have a use for.

    Both sides step by Adagrad with one accumulator a vector.  A row that is not finite is dropped and
    counted; norms are capped.  Torch is imported at the first `learn`.

    Cost, dim 32: learn 10 µs an example; propose, exact, O(items) a query; score 150 candidates in 3 µs.
    Memory: 8 × `dim` + 29 bytes an item, 28 a click of the ring.

    Parameters
    ----------
    capacity
        Number of item rows.
    dim
        Number of factors.
    learning_rate
        Step length of Adagrad.
    negatives
        Clicks that are drawn as negatives for each step.
    batch
        Examples of a step.
    ring
        Latest clicks that negatives are drawn from.
    max_norm
        Largest norm of a vector.
    seed
        Seed of the first factors and of the negatives.

    Examples
    --------
    >>> from models.small_batches import query_batch, session_batch
    >>> generator = MatrixFactorisation(10, ring=1024)
    >>> for _ in range(20):
    ...     generator.learn(session_batch([[0, 1], [2, 3]] * 20))
    >>> generator.propose(query_batch([[0]]), 1).rows.tolist()
    [[1]]
    """

    def __init__(
        self,
        capacity: int,
        dim: int = 32,
        learning_rate: float = 0.1,
        negatives: int = 256,
        batch: int = 512,
        ring: int = 1 << 15,
        max_norm: float = 8.0,
        seed: int = 0,
    ) -> None:
        self.dim, self.learning_rate, self.negatives, self.batch = dim, learning_rate, negatives, batch
        self.max_norm, self.seed = max_norm, seed
        self.dropped = 0
        """Updates of rows that were dropped because they were not finite."""
        self.state = TableWithBlocks(
            capacity,
            [
                ("bias", "<f4"), ("history_bias", "<f4"),
                ("squares", "<f4", 2), ("history_squares", "<f4", 2),
                ("factors", "<f4", dim), ("history_factors", "<f4", dim),
            ],
            {"steps": (1, np.int64), **RecentClicks.arrays(ring)},
            applied=self._applied,
        )  # fmt: skip
        self._item = Side(*(self.state[name] for name in ("bias", "squares", "factors")))
        """b, and q."""
        self._history = Side(*(self.state[f"history_{name}"] for name in ("bias", "squares", "factors")))
        """c, and y."""
        self._clicks = RecentClicks(self.state.blocks, capacity, ring)

    def learn(self, batch: Batch) -> None:
        """Take a step for every `self.batch` examples of users with a history."""
        known = batch.items >= 0
        items, weights, history = batch.items[known], batch.weights[known], batch.queries.history[known]
        for at in range(0, len(items), self.batch):
            part = slice(at, at + self.batch)
            self._clicks.append(items[part], batch.sessions[known][part], weights[part])
            self._start(np.unique(items[part]))
            before = self._without_unknown(history[part])
            useful = before[:, 0] >= 0
            if useful.any():
                self._step(items[part][useful], before[useful], weights[part][useful])

    def _start(self, rows: Rows) -> None:
        """Give new rows small vectors, and a bias that makes the first guess the popularity so far.

        Without it the first steps would move all factors the same way, to make up for the normaliser.
        """
        new = rows[self._item.squares[rows, 0] == 0]
        if len(new):
            for n, side in enumerate((self._item, self._history)):
                side.factors[new] = start_vectors(new, self.dim, 2 * self.seed + n)
                side.squares[new] = EPSILON
            self._item.bias[new] = np.log(self._clicks.odds(new))
            self.state.mark(new)

    def _without_unknown(self, history: Rows) -> Rows:
        """Histories without items that nothing was learnt of; the others move up."""
        known = (history >= 0) & (self._history.squares[history, 0] > 0)
        order = np.argsort(~known, axis=1, kind="stable")
        return np.take_along_axis(np.where(known, history, np.int32(-1)), order, 1)

    def _step(self, items: Rows, history: Rows, weights: Floats) -> None:
        import torch
        import torch.nn.functional as F

        torch.set_num_threads(1)  # the matrices are small, and serving needs the other cores
        steps = self.state.blocks["steps"]
        steps[0] += 1
        self.state.blocks.mark("steps")
        drawn = self._clicks.sample(self.negatives, np.random.default_rng([self.seed, int(steps[0])]))
        rows, at = np.unique(np.concatenate([items, drawn]), return_inverse=True)
        padded = np.where(history >= 0, history, history[:, :1])
        history_rows, columns = np.unique(padded, return_inverse=True)
        vote = torch.from_numpy(_votes(history))

        q, b = (_leaf(a[rows]) for a in (self._item.factors, self._item.bias))
        y, c = (_leaf(a[history_rows]) for a in (self._history.factors, self._history.bias))
        of_history = torch.from_numpy(columns.reshape(history.shape))
        p = torch.einsum("nh,nhd->nd", vote, y[of_history])  # (examples, dim)
        b_user = (vote * c[of_history]).sum(1, keepdim=True)
        noise = np.log(len(drawn) * self._clicks.odds(rows)).astype(np.float32)
        offset = b - torch.from_numpy(noise)
        target, other = torch.from_numpy(at[: len(items)]), torch.from_numpy(at[len(items) :])
        positive = b_user[:, 0] + offset[target] + (p * q[target]).sum(1)
        negative = b_user + offset[other] + p @ q[other].T  # (examples, negatives)
        loss = ((F.softplus(-positive) + F.softplus(negative).sum(1)) * torch.from_numpy(weights)).sum()
        of_q, of_b, of_y, of_c = (g.numpy() for g in torch.autograd.grad(loss, (q, b, y, c)))
        self._descend(self._item, rows.astype(np.int32), of_q, of_b)
        self._descend(self._history, history_rows.astype(np.int32), of_y, of_c)

    def _descend(self, side: Side, rows: Rows, factor_gradients: Floats, bias_gradients: Floats) -> None:
        self.dropped += adagrad(
            rows, factor_gradients, bias_gradients, self.learning_rate, self.max_norm,
            side.factors, side.bias, side.squares, self.state.dirty,
        )  # fmt: skip

    def _applied(self, records: Records) -> None:
        self._clicks.invalidate()

    def evict(self, rows: Rows) -> None:
        """Remove these items."""
        self.state.clear(rows)
        self._clicks.evict(rows)

    def propose(self, queries: QueryBatch, k: int) -> Candidates:
        """The k best of all items, exactly."""
        history = self._without_unknown(queries.history)
        return retrieve(
            history, self._users(history), self._item.factors, self._item.bias, self._item.squares,
            NO_REPEAT, self.state.used, k,
        )  # fmt: skip

    def score(self, queries: QueryBatch, rows: Rows) -> Floats:
        """Softmax of the scores of rows int32[n, m], float32[n, m]; 0 for -1 and unknown items."""
        history = self._without_unknown(queries.history)
        out = np.zeros(rows.shape, np.float32)
        score(
            history, self._users(history), rows,
            self._item.factors, self._item.bias, self._item.squares, NO_REPEAT, out,
        )  # fmt: skip
        return out

    def _users(self, history: Rows) -> Floats:
        """p_u, float32[n, dim]; b_u is the same for all items, and so does not change their order."""
        return np.asarray((_votes(history)[:, None] @ self._history.factors[history])[:, 0])


def _leaf(array: Array) -> Any:
    """A tensor of the array's values whose gradient is needed."""
    import torch

    return torch.from_numpy(array).requires_grad_()


def _votes(history: Rows) -> Floats:
    """|H|^−½ for each item of the history, float32[n, HISTORY]; 0 where there is none."""
    exists = (history >= 0).astype(np.float32)
    return np.asarray(exists / np.sqrt(np.maximum(exists.sum(1, keepdims=True), 1)))
