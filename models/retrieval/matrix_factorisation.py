"""Matrix factorisation with biases, the user's side folded in from the history: no state a user.

    r_ui = b_u + b_i + p_u · q_i        p_u = |H|^−½ Σ_{j ∈ H} y_j        b_u = |H|^−½ Σ_{j ∈ H} c_j

H: the user's latest items, whatever their order and session (Koren 2008, "Factorization Meets the
Neighborhood", the implicit part of SVD++; Kabbur, Ning and Karypis 2013, FISM).  Learnt by logistic loss
against `negatives` of the latest clicks, shared by a micro-batch, with the log of how many of them are
expected to be the item taken off the logit (noise contrastive estimation: Gutmann and Hyvärinen 2010).  So
r_ui is learnt to be log p(i | u), with b_u for the normaliser, which no other loss would have a use for.

Both sides step by Adagrad with one accumulator a vector; rows carry them, and the ring of recent clicks
travels in the rows after the items' (models/retrieval/pages.py).  What is not finite is dropped and counted;
norms are capped.  Torch is imported at the first `learn`.

Cost, dim 32: learn 10 µs an example; propose, exact, O(items) a query; score 150 candidates in 3 µs.
Memory: 8 · `dim` + 29 bytes an item, 28 a click of the ring.
"""

import numpy as np
from numpy.typing import NDArray

from models.core import HISTORY, Batch, Candidates, Floats, QueryBatch, Rows
from models.retrieval.pages import Pages, as_words
from models.retrieval.recent import Recent
from models.retrieval.vectors import EPSILON, adagrad, retrieve, score, start_vectors

NO_REPEAT = np.zeros(HISTORY, np.float32)


class MatrixFactorisation:
    """Factors of items, and what items say of who looked at them."""

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
        """Updates of rows dropped because they were not finite."""
        self.dtype = np.dtype(
            [
                ("row", "<i4"),
                ("biases", "<f4", 2),
                ("squares", "<f4", (2, 2)),
                ("factors", "<f4", (2, dim)),
            ]
        )
        self._factors = np.zeros((2, capacity, dim), np.float32)
        """q and y."""
        self._biases = np.zeros((2, capacity), np.float32)
        """b and c."""
        self._squares = np.zeros((2, capacity, 2), np.float32)
        """Adagrad's accumulators of factors and bias, of both sides."""
        self._dirty = np.zeros(capacity, np.bool_)
        self._used = 0
        self._pages = Pages(capacity, self.dtype, steps=(1, np.int64), **Recent.arrays(ring))
        self._recent = Recent(self._pages, capacity, ring)
        self.rows = capacity + self._pages.count

    def learn(self, batch: Batch) -> None:
        """One Adagrad step for every `self.batch` examples of users with a history."""
        known = batch.items >= 0
        items, weights, history = batch.items[known], batch.weights[known], batch.queries.history[known]
        for at in range(0, len(items), self.batch):
            part = slice(at, at + self.batch)
            self._recent.append(items[part], batch.sessions[known][part], weights[part])
            self._start(np.unique(items[part]))
            before = self._known(history[part])
            some = before[:, 0] >= 0
            if some.any():
                self._step(items[part][some], before[some], weights[part][some])

    def _start(self, rows: Rows) -> None:
        """Small vectors, and a bias that makes the first guess the popularity so far.

        Without it the first steps would move all factors the same way, to make up for the normaliser.
        """
        self._used = max(self._used, int(rows[-1]) + 1)
        new = rows[self._squares[0, rows, 0] == 0]
        if len(new):
            for side in (0, 1):
                self._factors[side, new] = start_vectors(new, self.dim, 2 * self.seed + side)
            self._biases[0, new] = np.log(self._recent.odds(new))
            self._squares[:, new] = EPSILON
            self._dirty[new] = True

    def _known(self, history: Rows) -> Rows:
        """Histories without items that nothing was learnt of; the others move up."""
        known = (history >= 0) & (self._squares[1, history, 0] > 0)
        order = np.argsort(~known, axis=1, kind="stable")
        return np.take_along_axis(np.where(known, history, np.int32(-1)), order, 1)

    def _step(self, items: Rows, history: Rows, weights: Floats) -> None:
        import torch
        import torch.nn.functional as F

        torch.set_num_threads(1)  # the matrices are small, and serving needs the other cores
        self._pages["steps"][0] += 1
        self._pages.mark("steps")
        rng = np.random.default_rng([self.seed, int(self._pages["steps"][0])])
        drawn = self._recent.sample(self.negatives, rng)
        rows, at = np.unique(np.concatenate([items, drawn]), return_inverse=True)
        padded = np.where(history >= 0, history, history[:, :1])
        seen, seen_at = np.unique(padded, return_inverse=True)
        vote = torch.from_numpy(_votes(history))

        q, b = (torch.from_numpy(one[0][rows]).requires_grad_() for one in (self._factors, self._biases))
        y, c = (torch.from_numpy(one[1][seen]).requires_grad_() for one in (self._factors, self._biases))
        columns = torch.from_numpy(seen_at.reshape(history.shape))
        p = torch.einsum("nh,nhd->nd", vote, y[columns])  # (examples, dim)
        b_user = (vote * c[columns]).sum(1, keepdim=True)
        noise = np.log(len(drawn) * self._recent.odds(rows)).astype(np.float32)
        offset = b - torch.from_numpy(noise)
        target, other = torch.from_numpy(at[: len(items)]), torch.from_numpy(at[len(items) :])
        positive = b_user[:, 0] + offset[target] + (p * q[target]).sum(1)
        negative = b_user + offset[other] + p @ q[other].T  # (examples, negatives)
        loss = F.softplus(-positive) + F.softplus(negative).sum(1)
        (loss * torch.from_numpy(weights)).sum().backward()  # type: ignore[no-untyped-call]
        for side, which, factors, bias in ((0, rows, q, b), (1, seen, y, c)):
            assert factors.grad is not None
            assert bias.grad is not None
            self._descend(side, which.astype(np.int32), factors.grad.numpy(), bias.grad.numpy())

    def _descend(self, side: int, rows: Rows, of_factors: Floats, of_bias: Floats) -> None:
        self.dropped += adagrad(
            rows, of_factors, of_bias, self.learning_rate, self.max_norm,
            self._factors[side], self._biases[side], self._squares[side], self._dirty,
        )  # fmt: skip

    def touched(self) -> Rows:
        """See `Generator`."""
        rows = np.flatnonzero(self._dirty[: self._used]).astype(np.int32)
        self._dirty[rows] = False
        return np.concatenate([rows, self._pages.touched()])

    def dump(self, rows: Rows) -> NDArray[np.void]:
        """See `Generator`."""
        out = np.zeros(len(rows), self.dtype)
        out["row"] = rows
        items = rows < self._pages.first
        at = rows[items]
        out["biases"][items], out["squares"][items] = (
            self._biases[:, at].T,
            self._squares[:, at].swapaxes(0, 1),
        )
        out["factors"][items] = self._factors[:, at].swapaxes(0, 1)
        as_words(out)[~items, 1:] = self._pages.dump(rows[~items])
        return out

    def apply(self, rows: NDArray[np.void]) -> None:
        """See `Generator`."""
        items = rows["row"] < self._pages.first
        pages, rows = rows[~items], rows[items]
        if len(pages):
            self._pages.apply(pages["row"], as_words(pages)[:, 1:])
            self._recent.restored()
        if not len(rows):
            return
        at = rows["row"]
        self._biases[:, at], self._squares[:, at] = rows["biases"].T, rows["squares"].swapaxes(0, 1)
        self._factors[:, at] = rows["factors"].swapaxes(0, 1)
        self._used = max(self._used, int(at.max()) + 1)

    def evict(self, rows: Rows) -> None:
        """See `Generator`."""
        for table in (self._factors, self._biases, self._squares):
            table[:, rows] = 0
        self._dirty[rows] = True
        self._recent.evict(rows)

    def propose(self, queries: QueryBatch, k: int) -> Candidates:
        """The k best of all items, exactly."""
        history = self._known(queries.history)
        return retrieve(
            history, self._users(history), self._factors[0], self._biases[0], self._squares[0],
            NO_REPEAT, self._used, k,
        )  # fmt: skip

    def score(self, queries: QueryBatch, rows: Rows) -> Floats:
        """Softmax of the candidates' scores, float32[n, m], for rows int32[n, m]; 0 for -1 and unlearnt."""
        history = self._known(queries.history)
        out = np.zeros(rows.shape, np.float32)
        score(
            history, self._users(history), rows, self._factors[0], self._biases[0], self._squares[0],
            NO_REPEAT, out,
        )  # fmt: skip
        return out

    def _users(self, history: Rows) -> Floats:
        """p_u, float32[n, dim]; b_u is the same for all items, and so orders none."""
        return np.asarray((_votes(history)[:, None] @ self._factors[1][history])[:, 0])


def _votes(history: Rows) -> Floats:
    """|H|^−½ for each item of the history, float32[n, HISTORY]; 0 where there is none."""
    there = (history >= 0).astype(np.float32)
    return np.asarray(there / np.sqrt(np.maximum(there.sum(1, keepdims=True), 1)))
