"""Two towers, learnt online in torch and served without it: one over the sequence, one of the items.

    score(b | i_1 … i_t) = u_t · v_b + bias_b + Σ_{j: i_j = b} repeat_{t−j}      u = tower(v_{i_1} … v_{i_t})

An item has one vector for both sides (weight tying: Inan et al. 2017), and a bias.  `tower` is `mean`, `gru`
or `transformer` (models/retrieval/towers.py).  Repeats of the sequence's items have learnt weights by age,
because a product that says "similar to" cannot say "not the same again".

Learnt by softmax at every step of a sequence, over the items of the micro-batch and `negatives` drawn from
the latest clicks, each logit corrected by the log of the odds that its item is among them (Yi et al. 2019,
"Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations"); the items of the own
sequence are always among them and are not corrected.  Item rows step by Adagrad with one accumulator a
vector (Duchi et al. 2011), the tower by Adam (Kingma and Ba 2015).  After each micro-batch `replay` times as
many clicks of a ring of recent ones are learnt again (Rolnick et al. 2019, "Experience Replay for Continual
Learning"), as whole sessions.

What is not finite is dropped and counted; norms are capped.  Item rows carry their accumulators, and the
rows after them (models/retrieval/pages.py) the tower, its moments and the ring, so that a learner goes on
from what was published.  Torch is imported at the first `learn`.

Cost, dim 64, one core: learn 10 µs (`mean`), 20 (`gru`) or 35 µs (`transformer`) a click or replayed click
in micro-batches of 512; score 150 candidates in 5 µs, after the tower's 1 (`mean`), 3 or 8 µs a token;
propose, exact, 100 µs a query at 17,000 items.  Memory: 4 · `dim` + 22 bytes an item, 28 a click of the
ring.
"""

from importlib.util import find_spec
from typing import Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray

from models.core import HISTORY, Batch, Candidates, Floats, Queries, Rows
from models.retrieval import nearest
from models.retrieval.pages import Pages
from models.retrieval.recent import Lessons, Recent, Sequences, pack
from models.retrieval.towers import TOWERS, arrays, split, start
from models.retrieval.vectors import EPSILON, adagrad, retrieve, score, start_vectors

ADAM = 0.9, 0.999, 1e-8
SEARCHED = 2
"""Rows asked of the approximate search for each that is wanted: the best of twice as many."""


class TwoTower:
    """Item vectors and a tower over the latest items of a session, or of a user."""

    def __init__(
        self,
        capacity: int,
        tower: Literal["mean", "gru", "transformer"] = "gru",
        by: Literal["session", "user"] = "session",
        dim: int = 64,
        length: int = 16,
        batch: int = 512,
        negatives: int = 256,
        replay: float = 1.0,
        ring: int = 1 << 18,
        window: int = 1 << 16,
        dropout: float = 0.4,
        learning_rate: float = 0.1,
        tower_rate: float = 0.004,
        max_norm: float = 8.0,
        seed: int = 0,
    ) -> None:
        if length > HISTORY:
            raise ValueError(f"a query has {HISTORY} items, and so length={length} never comes")
        self.by, self.dim, self.length, self.batch, self.negatives = by, dim, length, batch, negatives
        self.replay, self.dropout, self.max_norm, self.seed = replay, dropout, max_norm, seed
        self.learning_rate, self.tower_rate = learning_rate, tower_rate
        self.dropped = 0
        """Updates dropped because they were not finite: rows of items, and steps of the tower."""
        self.dtype = np.dtype(
            [
                ("row", "<i4"),
                ("events", "<i4"),
                ("bias", "<f4"),
                ("squares", "<f4", 2),
                ("vector", "<f4", dim),
            ]
        )
        self._vectors = np.zeros((capacity, dim), np.float32)
        self._bias = np.zeros(capacity, np.float32)
        self._squares = np.zeros((capacity, 2), np.float32)
        """Adagrad's accumulators of vector and bias; 0: the item has no vector yet."""
        self._events = np.zeros(capacity, np.int32)
        self._nearest: nearest.Nearest | None = None
        self._moved = np.zeros(capacity, np.bool_)
        """Rows that `_nearest` does not know as they are."""
        self._dirty = np.zeros(capacity, np.bool_)
        self._used = 0

        self._tower = TOWERS[tower]
        shapes = {**self._tower.shapes(dim, length), "repeat": (length,)}
        size = sum(int(np.prod(shape)) for shape in shapes.values())
        self._pages = Pages(
            capacity, self.dtype,
            steps=(2, np.int64), tower=(size, np.float32), moments=((2, size), np.float32),
            **Recent.arrays(ring),
        )  # fmt: skip
        self.rows = capacity + self._pages.count
        self._steps = self._pages["steps"]
        """Draws of random numbers, and steps of the tower."""
        self._shapes = shapes
        self._weights = split(self._pages["tower"], shapes)
        rng = np.random.default_rng(seed)
        for name, weight in self._weights.items():
            weight[...] = start(rng, name, weight.shape)
        self._recent = Recent(self._pages, capacity, window)

    @property
    def vectors(self) -> Floats:
        """The items' vectors, float32[capacity, dim]; to be read only."""
        return self._vectors

    @property
    def events(self) -> NDArray[np.int32]:
        """Examples learnt of each row's item, int32[capacity]; to be read only."""
        return self._events

    def learn(self, batch: Batch) -> None:
        """One step on the sessions of every `self.batch` clicks, then steps on replayed sessions."""
        known = batch.items >= 0
        keys = (batch.sessions if self.by == "session" else batch.users)[known]
        items, weights = batch.items[known], batch.weights[known]
        for at in range(0, len(items), self.batch):
            part = slice(at, at + self.batch)
            self._start(items[part])
            places = self._recent.append(items[part], keys[part], weights[part])
            self._step(self._recent.lessons(self._recent.ends(places), self.length, len(places)))
            replayed = round(self.replay * len(places))
            for done in range(0, replayed, self.batch):
                draws = min(self.batch, replayed - done)
                self._step(self._recent.lessons(self._recent.some_ends(draws, self._rng()), self.length))

    def _rng(self) -> np.random.Generator:
        """Another one at each call; as the steps travel, a restored learner draws what it would have."""
        self._steps[0] += 1
        self._pages.mark("steps")
        return np.random.default_rng([self.seed, int(self._steps[0])])

    def _start(self, items: Rows) -> None:
        """Count, and give new items a small vector that depends on nothing but the seed and the row."""
        rows, counts = np.unique(items, return_counts=True)
        self._events[rows] += counts.astype(np.int32)
        self._dirty[rows] = True
        self._used = max(self._used, int(rows[-1]) + 1)
        new = rows[self._squares[rows, 0] == 0]
        if len(new):
            self._vectors[new] = start_vectors(new, self.dim, self.seed)
            self._squares[new] = EPSILON

    def _step(self, lessons: Lessons) -> None:
        """Learn these sequences."""
        import torch

        sizes = lessons.sequences.sizes
        taught = np.flatnonzero(lessons.weights)
        if not len(taught):
            return
        torch.set_num_threads(1)  # the matrices are small, and serving needs the other cores
        rng = self._rng()
        targets = lessons.targets[taught]
        drawn = self._recent.sample(self.negatives, rng)
        rows, at = np.unique(np.concatenate([targets, lessons.sequences.items, drawn]), return_inverse=True)
        targets, inputs = np.split(at[: len(at) - len(drawn)].astype(np.int32), [len(targets)])
        odds = self._recent.odds(rows)
        log_odds = np.log(-np.expm1((len(taught) + len(drawn)) * np.log1p(-odds))).astype(np.float32)

        vectors = torch.from_numpy(self._vectors[rows])
        weights = torch.from_numpy(self._pages["tower"]).clone().requires_grad_()
        x = vectors[torch.from_numpy(inputs)]
        if self.dropout:
            kept = np.float32(1 / (1 - self.dropout)) * (rng.random(x.shape, np.float32) >= self.dropout)
            x = x * torch.from_numpy(kept)
        x.requires_grad_()
        u = self._tower.forward(torch, split(weights, self._shapes), x, sizes)[taught]  # (taught, dim)

        # The softmax's gradient by hand: autograd would keep four copies of a (taught, rows) matrix.
        with torch.no_grad():
            repeat = self._weights["repeat"]
            logits = torch.addmm(torch.from_numpy(self._bias[rows] - log_odds), u, vectors.T)
            _add_repeats(logits.numpy(), taught, sizes, inputs, repeat, log_odds)
            error = torch.softmax(logits, 1, out=logits)
            _subtract_targets(error.numpy(), targets, lessons.weights[taught])
            gradient = (error.T @ u).numpy()
            of_repeat = np.zeros_like(repeat)
            _sum_repeats(error.numpy(), taught, sizes, inputs, of_repeat)
            of_u = error @ vectors
        u.backward(of_u)
        assert x.grad is not None
        of_x = x.grad.numpy()
        if self.dropout:
            of_x *= kept
        _gather(gradient, inputs, of_x)
        self._descend(rows, gradient, error.sum(0).numpy())
        of_tower = weights.grad  # None: the mean of one is that one
        dense = np.zeros_like(self._pages["tower"]) if of_tower is None else of_tower.numpy()
        split(dense, self._shapes)["repeat"][...] = of_repeat
        self._descend_tower(dense)

    def _descend(self, rows: Rows, of_vectors: Floats, of_bias: Floats) -> None:
        """Adagrad on the items of a step; float32[n, dim] and float32[n]."""
        self.dropped += adagrad(
            rows, of_vectors, of_bias, self.learning_rate, self.max_norm,
            self._vectors, self._bias, self._squares, self._dirty,
        )  # fmt: skip
        self._moved[rows] = True

    def _descend_tower(self, gradient: Floats) -> None:
        """Adam on the tower, all of it or nothing."""
        if not np.isfinite(gradient).all():
            self.dropped += 1
            return
        first, second, epsilon = ADAM
        self._steps[1] += 1
        steps = int(self._steps[1])
        moments = self._pages["moments"]
        moments[0] += (1 - first) * (gradient - moments[0])
        moments[1] += (1 - second) * (gradient * gradient - moments[1])
        rate = self.tower_rate * np.sqrt(1 - second**steps) / (1 - first**steps)
        tower = self._pages["tower"]
        tower -= np.float32(rate) * moments[0] / (np.sqrt(moments[1]) + np.float32(epsilon))
        self._pages.mark("tower")
        self._pages.mark("moments")

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
        out["events"][items], out["bias"][items] = self._events[at], self._bias[at]
        out["squares"][items], out["vector"][items] = self._squares[at], self._vectors[at]
        out.view(np.int32).reshape(len(rows), -1)[~items, 1:] = self._pages.dump(rows[~items])
        return out

    def apply(self, rows: NDArray[np.void]) -> None:
        """See `Generator`."""
        items = rows["row"] < self._pages.first
        pages = rows[~items]
        if len(pages):
            self._pages.apply(pages["row"], pages.view(np.int32).reshape(len(pages), -1)[:, 1:])
            self._recent.restored()
        rows = rows[items]
        if not len(rows):
            return
        at = rows["row"]
        self._events[at], self._bias[at] = rows["events"], rows["bias"]
        self._squares[at], self._vectors[at] = rows["squares"], rows["vector"]
        self._moved[at] = True
        self._used = max(self._used, int(at.max()) + 1)

    def forget(self, rows: Rows) -> None:
        """See `Generator`."""
        for table in (self._vectors, self._bias, self._squares, self._events):
            table[rows] = 0
        self._dirty[rows] = True
        self._recent.forget(rows)
        if self._nearest is not None:
            self._nearest.forget(rows)

    def propose(self, queries: Queries, k: int) -> Candidates:
        """The k best of all items; exactly, up to `nearest.EXACT` of them or where usearch is missing."""
        history = self._asked(queries)
        if self._used > nearest.EXACT and find_spec("usearch"):
            return self._approximate(queries, history, k)
        return retrieve(
            history, self._users(history), self._vectors, self._bias, self._squares,
            self._weights["repeat"], self._used, k,
        )  # fmt: skip

    def _approximate(self, queries: Queries, history: Rows, k: int) -> Candidates:
        """The best of what a graph of near vectors finds; what moved since the last call is indexed first."""
        if self._nearest is None:
            self._nearest = nearest.Nearest(self.dim)
            self._moved[: self._used] = True
        moved = np.flatnonzero(self._moved).astype(np.int32)
        self._moved[moved] = False
        learnt = moved[self._squares[moved, 1] > EPSILON]
        self._nearest.update(learnt, self._vectors[learnt], self._bias[learnt])
        rows = self._nearest.search(self._users(history), SEARCHED * k)
        rows[history[:, 0] < 0] = -1
        scores = self.score(queries, rows)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        rows, scores = np.take_along_axis(rows, order, 1), np.take_along_axis(scores, order, 1)
        rows[scores <= 0] = -1
        return Candidates(rows, scores, np.where(rows >= 0, 0, -1).astype(np.int8))

    def score(self, queries: Queries, rows: Rows) -> Floats:
        """Softmax of the candidates' scores, float32[n, m], for rows int32[n, m]; 0 for -1 and unlearnt."""
        history = self._asked(queries)
        out = np.zeros(rows.shape, np.float32)
        score(
            history, self._users(history), rows, self._vectors, self._bias, self._squares,
            self._weights["repeat"], out,
        )  # fmt: skip
        return out

    def _asked(self, queries: Queries) -> Rows:
        """int32[n, length]: the items that the tower looks at, newest first."""
        latest = queries.history[:, : self.length]
        if self.by == "user":
            return latest
        return np.where(np.arange(self.length) < queries.sizes[:, None], latest, np.int32(-1))

    def _users(self, history: Rows) -> Floats:
        """What the tower makes of each, float32[n, dim]; 0 where there is no item."""
        if self._tower.last:
            return self._tower.last(self._weights, self._vectors, history)
        sequences: Sequences = pack(history)
        out = np.zeros((len(history), self.dim), np.float32)
        if len(sequences.items):
            u = self._tower.forward(arrays, self._weights, self._vectors[sequences.items], sequences.sizes)
            some = sequences.last >= 0
            out[some] = u[sequences.last[some]]
        return out


@njit(cache=True, nogil=True)
def _add_repeats(logits, taught, sizes, inputs, repeat, log_odds):  # type: ignore[no-untyped-def]
    """What the items of each token's sequence get for being repeats, and no correction for being drawn."""
    for n in range(len(taught)):
        token, step = taught[n], 0
        while token >= sizes[step]:
            token -= sizes[step]
            step += 1
        token = taught[n]
        for age in range(step + 1):
            c = inputs[token]
            if not _met(inputs, sizes, taught[n], step, age, c):
                logits[n, c] += log_odds[c]
            logits[n, c] += repeat[age]
            if age < step:
                token -= sizes[step - age - 1]


@njit(cache=True, nogil=True)
def _met(inputs, sizes, token, step, age, item):  # type: ignore[no-untyped-def]
    """Whether the item is among the `age` latest of the token's sequence."""
    for later in range(age):
        if inputs[token] == item:
            return True
        token -= sizes[step - later - 1]
    return False


@njit(cache=True, nogil=True)
def _sum_repeats(error, taught, sizes, inputs, of_repeat):  # type: ignore[no-untyped-def]
    """The gradient of the weights that `_add_repeats` added."""
    for n in range(len(taught)):
        token, step = taught[n], 0
        while token >= sizes[step]:
            token -= sizes[step]
            step += 1
        token = taught[n]
        for age in range(step + 1):
            of_repeat[age] += error[n, inputs[token]]
            if age < step:
                token -= sizes[step - age - 1]


@njit(cache=True, nogil=True)
def _subtract_targets(error, targets, weights):  # type: ignore[no-untyped-def]
    """From probabilities to the gradient of the logits."""
    for n in range(len(targets)):
        error[n, targets[n]] -= 1
        if weights[n] != 1:
            error[n] *= weights[n]


@njit(cache=True, nogil=True)
def _gather(gradient, inputs, of_x):  # type: ignore[no-untyped-def]
    for n in range(len(inputs)):
        gradient[inputs[n]] += of_x[n]
