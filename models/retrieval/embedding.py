"""Item embeddings learnt online from what came next, in torch; served without it.

    u(session) = Σ_j 0.6^age_j · in_j / Σ_j 0.6^age_j
    score(b | session) = u · out_b + bias_b

learnt by softmax over the batch's own targets and sampled negatives, each logit corrected by the log of
its probability of being sampled (Yi et al. 2019, "Sampling-Bias-Corrected Neural Modeling for Large
Corpus Item Recommendations"), with one Adagrad accumulator a row (Duchi et al. 2011).  The rows carry
their accumulators, so that a learner goes on from the published rows.

Updates that are not finite are dropped and counted; norms are capped.  Torch is imported at the first
`learn`: a replica never pays for it.  Cost: learn about 10 µs an example; score 3 µs for 250 candidates;
propose, exact, O(items) a session.  Memory: 8 × `dim` + 24 bytes an item.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from models.core import Batch, Candidates, Floats, Queries, Rows

AGE_DECAY = 0.6
EPSILON = 1e-6


class Embedding:
    """Input and output vectors of items, int32 rows by `dim` float32."""

    def __init__(
        self,
        capacity: int,
        dim: int = 32,
        learning_rate: float = 0.1,
        negatives: int = 256,
        batch: int = 256,
        max_norm: float = 8.0,
        seed: int = 0,
    ) -> None:
        self.dim, self.learning_rate, self.negatives, self.batch = dim, learning_rate, negatives, batch
        self.rows, self.max_norm, self.seed = capacity, max_norm, seed
        self.dropped = 0
        """Updates dropped because they were not finite."""
        self.dtype = np.dtype(
            [
                ("row", "<i4"),
                ("events", "<i4"),
                ("squares", "<f4", 3),
                ("bias", "<f4"),
                ("input", "<f4", dim),
                ("output", "<f4", dim),
            ]
        )
        self._input = np.zeros((capacity, dim), np.float32)
        self._output = np.zeros((capacity, dim), np.float32)
        self._bias = np.zeros(capacity, np.float32)
        self._squares = np.zeros((capacity, 3), np.float32)
        """Adagrad's accumulators of input, output and bias."""
        self._events = np.zeros(capacity, np.int32)
        self._dirty = np.zeros(capacity, np.bool_)
        self._used = 0

    @property
    def vectors(self) -> Floats:
        """The input vectors, float32[capacity, dim]; to be read only."""
        return self._input

    @property
    def events(self) -> NDArray[np.int32]:
        """Examples learnt of each row's item, int32[capacity]; to be read only."""
        return self._events

    def learn(self, batch: Batch) -> None:
        """One Adagrad step for every `self.batch` examples that have a session."""
        known, before = batch.items >= 0, batch.queries.session
        rows = batch.items[known]
        np.add.at(self._events, rows, 1)
        if len(rows):
            self._start(np.unique(np.concatenate([rows, before[before >= 0]])))
        useful = known & (before[:, 0] >= 0)
        items, sessions, weights = batch.items[useful], before[useful], batch.weights[useful]
        for at in range(0, len(items), self.batch):
            part = slice(at, at + self.batch)
            self._step(items[part], sessions[part], weights[part])

    def _start(self, rows: Rows) -> None:
        """Give new rows a small vector that depends on nothing but the seed and the row."""
        self._used = max(self._used, int(rows[-1]) + 1)
        self._dirty[rows] = True
        new = rows[self._squares[rows, 0] == 0]
        if len(new):
            self._input[new] = _start_vectors(new, self.dim, self.seed)
            self._squares[new] = EPSILON

    def _step(self, items: Rows, sessions: Rows, weights: Floats) -> None:
        import torch
        import torch.nn.functional as F

        torch.set_num_threads(1)  # the batches are small, and serving needs the other cores
        rng = np.random.default_rng([self.seed, int(self._events[: self._used].sum())])
        popularity = self._events[: self._used] ** 0.75
        total = np.cumsum(popularity)
        sampled = np.searchsorted(total, rng.random(self.negatives) * total[-1]).astype(np.int32)
        candidates = np.concatenate([items, sampled])
        outputs, output_at = np.unique(candidates, return_inverse=True)
        inputs, input_at = np.unique(np.maximum(sessions, 0), return_inverse=True)
        vote = (sessions >= 0) * np.float32(AGE_DECAY) ** np.arange(sessions.shape[1], dtype=np.float32)
        vote /= vote.sum(1, keepdims=True)

        v = torch.from_numpy(self._input[inputs]).requires_grad_()
        w = torch.from_numpy(self._output[outputs]).requires_grad_()
        b = torch.from_numpy(self._bias[outputs]).requires_grad_()
        u = torch.einsum("bh,bhd->bd", torch.from_numpy(vote), v[torch.from_numpy(input_at)])  # (batch, dim)
        at = torch.from_numpy(output_at)
        log_q = torch.from_numpy(np.log(popularity[candidates] / total[-1]).astype(np.float32))
        logits = u @ w[at].T + b[at] - log_q  # (batch, batch + negatives)
        targets = torch.arange(len(items))
        same = at[None, :] == at[: len(items), None]
        same[targets, targets] = False
        loss = F.cross_entropy(logits.masked_fill(same, -torch.inf), targets, reduction="none")
        (loss * torch.from_numpy(weights)).sum().backward()  # type: ignore[no-untyped-call]

        for table, column, rows, gradient in (
            (self._input, 0, inputs, v.grad),
            (self._output, 1, outputs, w.grad),
            (self._bias, 2, outputs, b.grad),
        ):
            assert gradient is not None
            self._adagrad(table, column, rows, gradient.numpy())
        self._dirty[inputs] = True
        self._dirty[outputs] = True

    def _adagrad(self, table: Floats, column: int, rows: NDArray[Any], gradient: Floats) -> None:
        square = gradient**2 if gradient.ndim == 1 else (gradient**2).mean(1)
        finite = np.isfinite(square)
        if not finite.all():
            self.dropped += int((~finite).sum())
            rows, gradient, square = rows[finite], gradient[finite], square[finite]
        self._squares[rows, column] += square
        step = self.learning_rate / np.sqrt(self._squares[rows, column] + EPSILON)
        new = table[rows] - (step * gradient if gradient.ndim == 1 else step[:, None] * gradient)
        if new.ndim == 2:
            norm = np.sqrt((new**2).sum(1, keepdims=True))
            new *= np.minimum(1.0, self.max_norm / np.maximum(norm, EPSILON))
        table[rows] = new

    def touched(self) -> Rows:
        """See `Generator`."""
        rows = np.flatnonzero(self._dirty[: self._used]).astype(np.int32)
        self._dirty[rows] = False
        return rows

    def dump(self, rows: Rows) -> NDArray[np.void]:
        """See `Generator`."""
        out = np.zeros(len(rows), self.dtype)
        out["row"], out["events"], out["squares"] = rows, self._events[rows], self._squares[rows]
        out["bias"], out["input"], out["output"] = self._bias[rows], self._input[rows], self._output[rows]
        return out

    def apply(self, rows: NDArray[np.void]) -> None:
        """See `Generator`."""
        if not len(rows):
            return
        at = rows["row"]
        self._events[at], self._squares[at] = rows["events"], rows["squares"]
        self._bias[at], self._input[at], self._output[at] = rows["bias"], rows["input"], rows["output"]
        self._used = max(self._used, int(at.max()) + 1)

    def forget(self, rows: Rows) -> None:
        """See `Generator`."""
        for table in (self._input, self._output, self._bias, self._squares, self._events):
            table[rows] = 0
        self._dirty[rows] = True

    def propose(self, queries: Queries, k: int) -> Candidates:
        """The k best of all items, exactly: O(items) a session."""
        sessions = queries.session
        used = self._used  # once: a page asks from a thread of its own
        n, found = len(sessions), min(k, used)
        out = Candidates(
            np.full((n, k), -1, np.int32), np.zeros((n, k), np.float32), np.full((n, k), -1, np.int8)
        )
        learnt = self._squares[:used, 1] > EPSILON
        for at in range(n):  # one at a time bounds memory; the pages ask for one
            if sessions[at, 0] < 0 or not found:
                continue
            u = _context(sessions[at], self._input, AGE_DECAY)
            score = np.where(learnt, self._output[:used] @ u + self._bias[:used], -np.inf)
            best = np.argpartition(-score, found - 1)[:found]
            best = best[np.lexsort((best, -score[best]))]
            best = best[np.isfinite(score[best])]
            out.rows[at, : len(best)] = best
            out.scores[at, : len(best)] = _softmax(score[best])
            out.sources[at, : len(best)] = 0
        return out

    def score(self, queries: Queries, rows: Rows) -> Floats:
        """Softmax of the candidates' scores, float32[n, m], for rows int32[n, m]; 0 for -1 and unlearnt."""
        out = np.zeros(rows.shape, np.float32)
        _score(queries.session, rows, self._input, self._output, self._bias, self._squares, AGE_DECAY, out)
        return out


def _softmax(score: NDArray[Any]) -> NDArray[Any]:
    if not len(score):
        return score
    e = np.exp(score - score.max())
    return np.asarray(e / e.sum())


@njit(cache=True, nogil=True)
def _start_vectors(rows, dim, seed):  # type: ignore[no-untyped-def]
    """Uniform in ±0.5/dim by splitmix64 of (seed, row, column)."""
    out = np.empty((len(rows), dim), np.float32)
    for n in range(len(rows)):
        for d in range(dim):
            z = np.uint64(seed) * np.uint64(0x9E3779B97F4A7C15)
            z += np.uint64(rows[n]) * np.uint64(dim) + np.uint64(d)
            z = (z + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
            z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            z = z ^ (z >> np.uint64(31))
            out[n, d] = (np.float64(z >> np.uint64(11)) / 9007199254740992.0 - 0.5) / dim
    return out


@njit(cache=True, nogil=True)
def _context(session, inputs, age_decay):  # type: ignore[no-untyped-def]
    u = np.zeros(inputs.shape[1], np.float32)
    vote, total = np.float32(1.0), np.float32(0.0)
    for column in range(len(session)):
        a = session[column]
        if a < 0:
            break
        for d in range(len(u)):
            u[d] += vote * inputs[a, d]
        total += vote
        vote *= np.float32(age_decay)
    if total > 0:
        for d in range(len(u)):
            u[d] /= total
    return u


@njit(cache=True, nogil=True, fastmath=True)
def _dot(u, v):  # type: ignore[no-untyped-def]
    total = np.float32(0.0)
    for d in range(len(u)):
        total += u[d] * v[d]
    return total


@njit(cache=True, nogil=True)
def _score(sessions, rows, inputs, outputs, bias, squares, age_decay, out):  # type: ignore[no-untyped-def]
    m = rows.shape[1]
    for n in range(len(sessions)):
        if sessions[n, 0] < 0:
            continue
        u = _context(sessions[n], inputs, age_decay)
        highest = np.float32(-np.inf)
        for j in range(m):
            b = rows[n, j]
            if b >= 0 and squares[b, 1] > EPSILON:
                out[n, j] = _dot(u, outputs[b]) + bias[b]
                highest = max(highest, out[n, j])
            else:
                out[n, j] = -np.inf
        total = np.float32(0.0)
        for j in range(m):
            out[n, j] = np.exp(out[n, j] - highest) if out[n, j] > -np.inf else np.float32(0.0)
            total += out[n, j]
        if total > 0:
            for j in range(m):
                out[n, j] /= total
