"""Two towers, learnt online in torch and served without it: one over the sequence, one of the items.

    score(b | i_1 … i_t) = u_t · v_b + bias_b + Σ_{j: i_j = b} repeat_{t−j}      u = tower(v_{i_1} … v_{i_t})

An item has one vector for both sides (weight tying: Inan et al. 2017), and a bias.  `tower` is `mean`, `gru`
or `transformer` (models/retrieval/towers.py).  Repeats of the sequence's items have learnt weights by age,
because a product that says "similar to" cannot say "not the same again".

Learnt by softmax at every step of a sequence, over the targets of the step and `negatives` drawn from the
latest clicks, each logit corrected by the log of the odds that its item is among them (Yi et al. 2019,
"Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations"); the items of the own
sequence are always among them and are not corrected.  What is drawn stays for `redraw` clicks, so that a
checkpoint has few rows however small the micro-batches are.  Item rows step by Adagrad with one accumulator
a vector (Duchi et al. 2011), the tower by Adam (Kingma and Ba 2015).  A step learns the clicks of a
micro-batch, and `replay` times as many from a ring of recent ones again (Rolnick et al. 2019, "Experience
Replay for Continual Learning"), as whole sessions.

What is not finite is dropped and counted; norms are capped.  Item rows carry their accumulators, and the
rows after them (models/retrieval/pages.py) the tower, its moments, the ring and what is drawn, so that a
learner goes on from what was published.  Torch is imported at the first `learn`.

Cost, dim 64, one core: learn 13 µs an example (`mean`) in micro-batches of 256 and more, 20 µs in those of
50; score 150 candidates in 5 µs, after the tower's 1 (`mean`), 3 (`gru`) or 8 µs (`transformer`) a token;
propose, exact, 100 µs a query at 17,000 items.  Memory: 4 · `dim` + 26 bytes an item, 28 a click of the
ring.
"""

import threading
from importlib.util import find_spec
from typing import Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray

from models.core import HISTORY, Batch, Candidates, Floats, QueryBatch, Rows
from models.retrieval import nearest
from models.retrieval.pages import Pages, as_words
from models.retrieval.recent import Lessons, Recent
from models.retrieval.towers import TOWERS, split, start
from models.retrieval.vectors import EPSILON, adagrad, retrieve, score, start_vectors

ADAM = 0.9, 0.999, 1e-8
FAST = {"reassoc", "contract", "nsz"}
"""Sums in any order, but NaN and infinity stay what they are: they are looked for."""
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
        batch: int = 128,
        negatives: int = 256,
        redraw: int = 256,
        replay: float = 1.5,
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
        self.redraw, self.replay, self.dropout = redraw, replay, dropout
        self.max_norm, self.seed = max_norm, seed
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
        self._indexes = threading.Lock()
        self._dirty = np.zeros(capacity, np.bool_)
        self._numbers = np.zeros(capacity, np.int32)
        """Scratch of a step."""
        self._used = 0

        self._tower = TOWERS[tower]
        shapes = {**self._tower.shapes(dim, length), "repeat": (length,)}
        size = sum(int(np.prod(shape)) for shape in shapes.values())
        self._pages = Pages(
            capacity, self.dtype,
            steps=(2, np.int64), tower=(size, np.float32), moments=((2, size), np.float32),
            **Recent.arrays(ring), drawn=(negatives, np.int32), drawn_at=(1, np.int64),
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
        """A step for every `self.batch` clicks: on the sessions that go on with them, and replayed ones."""
        known = batch.items >= 0
        keys = (batch.sessions if self.by == "session" else batch.users)[known]
        items, weights = batch.items[known], batch.weights[known]
        for at in range(0, len(items), self.batch):
            part = slice(at, at + self.batch)
            self._start(items[part])
            places = self._recent.append(items[part], keys[part], weights[part])
            rng = self._rng()
            new = self._recent.ends(places)
            replayed = self._recent.some_ends(round(self.replay * len(places)), rng)
            latest = np.repeat([len(places), len(self._recent)], [len(new), len(replayed)])
            ends = np.concatenate([new, replayed])
            self._step(self._recent.lessons(ends, latest, self._tower.before, self.length), rng)

    def _rng(self) -> np.random.Generator:
        """Another one at each call; as the steps travel, a restored learner draws what it would have."""
        self._steps[0] += 1
        self._pages.mark("steps")
        return np.random.default_rng([self.seed, int(self._steps[0])])

    def _start(self, items: Rows) -> None:
        """Count, and give new items a small vector that depends on nothing but the seed and the row."""
        np.add.at(self._events, items, 1)
        self._dirty[items] = True
        self._used = max(self._used, int(items.max()) + 1)
        new = np.unique(items[self._squares[items, 0] == 0])
        if len(new):
            self._vectors[new] = start_vectors(new, self.dim, self.seed)
            self._squares[new] = EPSILON

    def _negatives(self, rng: np.random.Generator) -> Rows:
        """The drawn items, ascending and distinct; others after every `redraw` clicks.

        Early on they are drawn more often, for what a few clicks knew is not what is there to be known.
        """
        drawn, at, clicks = self._pages["drawn"], self._pages["drawn_at"], self._recent.clicks
        if clicks - at[0] >= min(self.redraw, clicks // 8):
            items = np.unique(self._recent.sample(self.negatives, rng))
            drawn[:], drawn[: len(items)], at[0] = 0, items + 1, clicks
            self._pages.mark("drawn")
            self._pages.mark("drawn_at")
        return drawn[drawn > 0] - 1

    def _step(self, lessons: Lessons, rng: np.random.Generator) -> None:
        """Learn these sequences."""
        import torch

        taught = np.flatnonzero(lessons.weights)
        if not len(taught):
            return
        torch.set_num_threads(1)  # the matrices are small, and serving needs the other cores
        rows, shared, targets, inputs = _number(
            self._negatives(rng), lessons.targets[taught], lessons.items, self._numbers
        )
        draws = self.negatives + len(taught)
        odds = self._recent.odds(rows[:shared])
        log_odds = np.log(-np.expm1(draws * np.log1p(-odds))).astype(np.float32)
        vectors, bias = self._vectors[rows], self._bias[rows]
        kept = self._kept((len(inputs), self.dim), rng)
        walked, back = self._tower.walk(
            self._pages["tower"], self._shapes, vectors[inputs] * kept, lessons.sizes
        )
        u = walked[taught]  # (taught, dim)
        own = _own(taught, lessons.sizes, inputs, self.length)

        # The softmax's gradient by hand: autograd would keep four copies of a (taught, shared) matrix.
        of_vectors, of_bias = np.zeros_like(vectors), np.zeros_like(bias)
        of_u, of_repeat = np.zeros_like(u), np.zeros(self.length, np.float32)
        users, v = torch.from_numpy(u), torch.from_numpy(vectors[:shared])
        logits = torch.empty(len(taught), shared + self.length)
        torch.addmm(torch.from_numpy(bias[:shared] - log_odds), users, v.T, out=logits[:, :shared])
        _add_own(own, shared, u, vectors, bias, log_odds, self._weights["repeat"], logits.numpy())
        error = torch.softmax(logits, 1, out=logits)
        _subtract(
            own, shared, targets, lessons.weights[taught], u, vectors, error.numpy(),
            of_vectors, of_bias, of_u, of_repeat,
        )  # fmt: skip
        error = error[:, :shared]
        torch.from_numpy(of_vectors[:shared]).addmm_(error.T, users)
        of_bias[:shared] += error.sum(0).numpy()
        torch.from_numpy(of_u).addmm_(error, v)

        of_walked = np.zeros_like(walked)
        of_walked[taught] = of_u
        of_x, of_tower = back(of_walked)
        _gather(of_vectors, inputs, of_x * kept)
        self._descend(rows, of_vectors, of_bias)
        split(of_tower, self._shapes)["repeat"][...] = of_repeat
        self._descend_tower(of_tower)

    def _kept(self, shape: tuple[int, int], rng: np.random.Generator) -> Floats:
        """By what inputs are multiplied: 0, or what makes up for those that are dropped out."""
        limit = round(256 * self.dropout)
        random = np.frombuffer(rng.bytes(shape[0] * shape[1]), np.uint8).reshape(shape)
        return (random >= limit) * np.float32(256 / (256 - limit))

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
        self._steps[1] += 1
        _adam(gradient, int(self._steps[1]), self.tower_rate, self._pages["tower"], self._pages["moments"])
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
        as_words(out)[~items, 1:] = self._pages.dump(rows[~items])
        return out

    def apply(self, rows: NDArray[np.void]) -> None:
        """See `Generator`."""
        items = rows["row"] < self._pages.first
        pages = rows[~items]
        if len(pages):
            self._pages.apply(pages["row"], as_words(pages)[:, 1:])
            self._recent.restored()
        rows = rows[items]
        if not len(rows):
            return
        at = rows["row"]
        self._events[at], self._bias[at] = rows["events"], rows["bias"]
        self._squares[at], self._vectors[at] = rows["squares"], rows["vector"]
        self._moved[at] = True
        self._used = max(self._used, int(at.max()) + 1)

    def evict(self, rows: Rows) -> None:
        """See `Generator`."""
        for table in (self._vectors, self._bias, self._squares, self._events):
            table[rows] = 0
        self._dirty[rows] = True
        self._recent.evict(rows)
        drawn = self._pages["drawn"]
        drawn[np.isin(drawn - 1, rows)] = 0
        self._pages.mark("drawn")
        if self._nearest is not None:
            self._nearest.evict(rows)

    def propose(self, queries: QueryBatch, k: int) -> Candidates:
        """The k best of all items; exactly, up to `nearest.EXACT` of them or where usearch is missing."""
        history = self._asked(queries)
        if self._used > nearest.EXACT and find_spec("usearch"):
            return self._approximate(queries, history, k)
        return retrieve(
            history, self._users(history), self._vectors, self._bias, self._squares,
            self._weights["repeat"], self._used, k,
        )  # fmt: skip

    def _approximate(self, queries: QueryBatch, history: Rows, k: int) -> Candidates:
        """The best of what a graph of near vectors finds; what moved since the last call is indexed first."""
        with self._indexes:
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

    def score(self, queries: QueryBatch, rows: Rows) -> Floats:
        """Softmax of the candidates' scores, float32[n, m], for rows int32[n, m]; 0 for -1 and unlearnt."""
        history = self._asked(queries)
        out = np.zeros(rows.shape, np.float32)
        score(
            history, self._users(history), rows, self._vectors, self._bias, self._squares,
            self._weights["repeat"], out,
        )  # fmt: skip
        return out

    def _asked(self, queries: QueryBatch) -> Rows:
        """int32[n, length]: the items that the tower looks at, newest first."""
        latest = queries.history[:, : self.length]
        if self.by == "user":
            return latest
        return np.where(np.arange(self.length) < queries.sizes[:, None], latest, np.int32(-1))

    def _users(self, history: Rows) -> Floats:
        """What the tower makes of each, float32[n, dim]; 0 where there is no item."""
        return self._tower.last(self._weights, self._vectors, history)


@njit(cache=True, nogil=True)
def _number(drawn, targets, inputs, numbers):  # type: ignore[no-untyped-def]
    """The distinct rows, first the drawn and the targets; how many these are; targets and inputs by their
    numbers among the rows.  `numbers`, int32[items], is 0 before and after.
    """
    rows = np.empty(len(drawn) + len(targets) + len(inputs), np.int32)
    at_targets, at_inputs = np.empty(len(targets), np.int32), np.empty(len(inputs), np.int32)
    count, shared = len(drawn), 0
    for n in range(count):
        rows[n], numbers[drawn[n]] = drawn[n], n + 1
    for given, at in ((targets, at_targets), (inputs, at_inputs)):
        shared = count
        for n in range(len(given)):
            row = given[n]
            if numbers[row] == 0:
                rows[count] = row
                count += 1
                numbers[row] = count
            at[n] = numbers[row] - 1
    for row in rows[:count]:
        numbers[row] = 0
    return rows[:count], shared, at_targets, at_inputs


@njit(cache=True, nogil=True)
def _own(taught, sizes, inputs, length):  # type: ignore[no-untyped-def]
    """int32[taught, length]: the items of each token's sequence so far, newest first; -1: no more."""
    own = np.full((len(taught), length), -1, np.int32)
    for n in range(len(taught)):
        token, step = taught[n], 0
        while token >= sizes[step]:
            token -= sizes[step]
            step += 1
        token = taught[n]
        for age in range(step + 1):
            own[n, age] = inputs[token]
            if age < step:
                token -= sizes[step - age - 1]
    return own


@njit(cache=True, nogil=True)
def _first(own, age):  # type: ignore[no-untyped-def]
    """The age at which the item of this age comes first: what comes twice is one candidate."""
    for newer in range(age):
        if own[newer] == own[age]:
            return newer
    return age


@njit(cache=True, nogil=True, fastmath=FAST)
def _add_own(own, shared, u, vectors, bias, log_odds, repeat, logits):  # type: ignore[no-untyped-def]
    """An own item is a candidate for certain: in the column of its age, if not among the shared ones."""
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


@njit(cache=True, nogil=True)
def _subtract(  # type: ignore[no-untyped-def]
    own, shared, targets, weights, u, vectors, error, of_vectors, of_bias, of_u, of_repeat
):
    """From probabilities to the gradient of the logits, and what follows from those of the own items."""
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
            of_repeat[age] += e
            if first == age and c >= shared:
                of_bias[c] += e
                for d in range(u.shape[1]):
                    of_vectors[c, d] += e * u[n, d]
                    of_u[n, d] += e * vectors[c, d]


@njit(cache=True, nogil=True)
def _gather(gradient, inputs, of_x):  # type: ignore[no-untyped-def]
    for n in range(len(inputs)):
        gradient[inputs[n]] += of_x[n]


@njit(cache=True, nogil=True)
def _adam(gradient, steps, rate, weights, moments):  # type: ignore[no-untyped-def]
    first, second, epsilon = ADAM
    rate *= np.sqrt(1 - second**steps) / (1 - first**steps)
    for n in range(len(weights)):
        g = gradient[n]
        moments[0, n] += (1 - first) * (g - moments[0, n])
        moments[1, n] += (1 - second) * (g * g - moments[1, n])
        weights[n] -= rate * moments[0, n] / (np.sqrt(moments[1, n]) + epsilon)
