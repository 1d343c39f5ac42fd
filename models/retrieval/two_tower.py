"""The generators `embedding`, `gru` and `transformer`: a tower over the sequence, vectors of items."""

from importlib.util import find_spec
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.blocks import TableWithBlocks
from models.core import HISTORY, Batch, Candidates, Floats, QueryBatch, Rows
from models.kernels.optimizers import adagrad, adam
from models.retrieval import nearest
from models.retrieval.recent_clicks import RecentClicks
from models.retrieval.sampled_softmax import add_rows, dropout_mask, number_rows, own_items, softmax_step
from models.retrieval.sequences import TrainingSequences
from models.retrieval.towers import TOWERS, first_weights, split
from models.retrieval.vectors import EPSILON, begin_like, retrieve, score, start_vectors
from models.state import Records

SEARCHED = 2
"""Rows that the approximate search returns for each candidate."""


class TwoTower:
    """Item vectors and a tower over the latest items of a session, or of a user; learnt online.

        score(b | i_1 … i_t) = u_t · v_b + bias_b + Σ_{j: i_j = b} repeat_{t−j}     u = tower(v_i_1 … v_i_t)

    An item has one vector for both sides (weight tying: Inan, Khosravi and Socher 2017), and a bias.  Repeats
    of the sequence's items have learnt weights by age: a product of like vectors cannot be low for a repeat.

    Learnt by softmax at every step of a sequence, over the targets of the step and negatives drawn from the
    latest clicks, each logit corrected by the log of the odds that its item is among them (Yi et al. 2019,
    "Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations"); the items of the own
    sequence are always among them and are not corrected.  Item rows step by Adagrad with one accumulator a
    vector (Duchi, Hazan and Singer 2011), the tower by Adam (Kingma and Ba 2015).  A step learns the clicks
    of a micro-batch, and replays sessions from a ring of recent clicks (Rolnick et al. 2019, "Experience
    Replay for Continual Learning").  Steps that are not finite are dropped and counted; norms are capped.
    Torch is imported at the first `learn`, and not to propose.

    Cost, dim 64, one core: learn 13 µs an example (`mean`) in micro-batches of 256 and more; score 150
    candidates in 5 µs, after the tower's 1 (`mean`), 3 (`gru`) or 8 µs (`transformer`) a token; propose,
    exact, 100 µs a query at 17,000 items.  Memory: 4 × `dim` + 26 bytes an item, 28 a click of the ring.

    Parameters
    ----------
    capacity
        Number of item rows.
    tower
        `mean`, `gru` or `transformer` (`models.retrieval.towers`).
    by
        Whether a sequence is a `session`, or a `user`'s history.
    dim
        Dimension of the vectors.
    length
        Latest items that the tower reads, at most `HISTORY`; raises `ValueError` above.
    batch
        Clicks of a step.
    negatives
        Clicks drawn as negatives, beside the targets of the step.
    redraw
        Clicks after which negatives are drawn again; more make smaller checkpoints.
    replay
        Clicks that are replayed for each new one.  More gained recall and lost MRR, and cost as much again.
    ring, window
        Latest clicks that sessions are replayed from, and that negatives are drawn from.
    dropout
        Share of the input vectors' entries that is dropped out while learning.
    learning_rate, tower_rate
        Step lengths of Adagrad and of Adam.
    max_norm
        Largest norm of an item's vector.
    seed
        Seed of the first vectors and weights, of negatives, replay and dropout.

    Examples
    --------
    >>> from models.small_batches import query_batch, session_batch
    >>> generator = TwoTower(10, "mean", ring=1024)
    >>> for _ in range(20):
    ...     generator.learn(session_batch([[0, 1], [2, 3]] * 20))
    >>> generator.propose(query_batch([[0]]), 1).rows.tolist()
    [[1]]
    """

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
            raise ValueError(f"invalid length {length}: expected at most {HISTORY}, the items of a query")
        self.by, self.dim, self.length, self.batch, self.negatives = by, dim, length, batch, negatives
        self.redraw, self.replay, self.dropout = redraw, replay, dropout
        self.max_norm, self.seed = max_norm, seed
        self.learning_rate, self.tower_rate = learning_rate, tower_rate
        self.dropped = 0
        """Updates that were dropped because they were not finite: of item rows, and of the tower."""
        self._tower = TOWERS[tower]
        self._shapes = {**self._tower.shapes(dim, length), "repeat": (length,)}
        size = sum(int(np.prod(shape)) for shape in self._shapes.values())
        self.state = TableWithBlocks(
            capacity,
            [("events", "<i4"), ("bias", "<f4"), ("squares", "<f4", 2), ("vector", "<f4", dim)],
            {
                "steps": (2, np.int64), "tower": (size, np.float32), "moments": ((2, size), np.float32),
                **RecentClicks.arrays(ring), "drawn": (negatives, np.int32), "drawn_at": (1, np.int64),
            },
            applied=self._applied,
        )  # fmt: skip
        self.events: NDArray[np.int32] = self.state["events"]
        """Examples learnt of each item, int32[capacity]; read-only."""
        self.vectors: Floats = self.state["vector"]
        """The items' vectors, float32[capacity, dim]; read-only."""
        self._bias, self._squares = self.state["bias"], self.state["squares"]
        self._blocks = self.state.blocks
        self._steps = self._blocks["steps"]
        """Calls of `_rng`, and steps of the tower."""
        self._weights = split(self._blocks["tower"], self._shapes)
        rng = np.random.default_rng(seed)
        for name, weight in self._weights.items():
            weight[...] = first_weights(rng, name, weight.shape)
        self._clicks = RecentClicks(self._blocks, capacity, window)
        self._numbers = np.zeros(capacity, np.int32)
        """Scratch of a step."""
        self._index = nearest.MovingVectors(capacity, dim)

    def learn(self, batch: Batch) -> None:
        """Take a step for every `self.batch` clicks, on their sessions and on replayed ones."""
        known = batch.items >= 0
        items, weights = batch.items[known], batch.weights[known]
        keys = (batch.sessions if self.by == "session" else batch.users)[known]
        for at in range(0, len(items), self.batch):
            part = slice(at, at + self.batch)
            self._start(items[part])
            places = self._clicks.append(items[part], keys[part], weights[part])
            rng = self._rng()
            new = self._clicks.ends(places)
            replayed = self._clicks.sample_ends(round(self.replay * len(places)), rng)
            latest = np.repeat([len(places), len(self._clicks)], [len(new), len(replayed)])
            ends = np.concatenate([new, replayed])
            self._step(self._clicks.training_sequences(ends, latest, self._tower.before, self.length), rng)

    def _rng(self) -> np.random.Generator:
        """A new generator at each call; as the steps travel, a restored learner draws the same numbers."""
        self._steps[0] += 1
        self._blocks.mark("steps")
        return np.random.default_rng([self.seed, int(self._steps[0])])

    def _start(self, items: Rows) -> None:
        """Count the items, and give new ones a small vector that depends only on the seed and the row."""
        np.add.at(self.events, items, 1)
        self.state.mark(items)
        new = np.unique(items[self._squares[items, 0] == 0])
        if len(new):
            self.vectors[new] = start_vectors(new, self.dim, self.seed)
            self._squares[new] = EPSILON

    def begin_like(self, rows: Rows, near: Rows, parts: Floats) -> None:
        """Give rows without examples, int32[n], the sum of their `near`, int32[n, m] padded with -1, each
        times its part, float32[n, m]; it is published with their first example.
        """
        unseen = self.events[rows] == 0
        rows = rows[unseen]
        begin_like(rows, near[unseen], parts[unseen], self.vectors, self._bias, self._squares)
        self.state.used = max(self.state.used, int(rows.max(initial=-1)) + 1)
        self._index.moved[rows] = True

    def _negatives(self, rng: np.random.Generator) -> Rows:
        """The drawn items, ascending and distinct; others after every `redraw` clicks.

        Early on they are drawn more often, because the items of a few clicks do not stand for all.
        """
        drawn, at, clicks = self._blocks["drawn"], self._blocks["drawn_at"], self._clicks.total
        if clicks - at[0] >= min(self.redraw, clicks // 8):
            items = np.unique(self._clicks.sample(self.negatives, rng))
            drawn[:], drawn[: len(items)], at[0] = 0, items + 1, clicks
            self._blocks.mark("drawn")
            self._blocks.mark("drawn_at")
        return drawn[drawn > 0] - 1

    def _step(self, sequences: TrainingSequences, rng: np.random.Generator) -> None:
        """Learn these sequences."""
        import torch

        taught = np.flatnonzero(sequences.weights)
        if not len(taught):
            return
        torch.set_num_threads(1)  # the matrices are small, and serving needs the other cores
        rows, shared, targets, inputs = number_rows(
            self._negatives(rng), sequences.targets[taught], sequences.items, self._numbers
        )
        draws = self.negatives + len(taught)
        log_odds = np.log(-np.expm1(draws * np.log1p(-self._clicks.odds(rows[:shared])))).astype(np.float32)
        vectors = self.vectors[rows]
        mask = dropout_mask((len(inputs), self.dim), self.dropout, rng)
        walked, backward = self._tower.walk(
            self._blocks["tower"], self._shapes, vectors[inputs] * mask, sequences.sizes
        )
        gradients = softmax_step(
            walked[taught], vectors, self._bias[rows], log_odds, self._weights["repeat"],
            own_items(taught, sequences.sizes, inputs, self.length), targets, sequences.weights[taught],
        )  # fmt: skip
        walked_gradient = np.zeros_like(walked)
        walked_gradient[taught] = gradients.u
        input_gradient, tower_gradient = backward(walked_gradient)
        add_rows(gradients.vectors, inputs, input_gradient * mask)
        self._descend(rows, gradients.vectors, gradients.bias)
        split(tower_gradient, self._shapes)["repeat"][...] = gradients.repeat
        self._descend_tower(tower_gradient)

    def _descend(self, rows: Rows, vector_gradients: Floats, bias_gradients: Floats) -> None:
        """Take an Adagrad step of the items; float32[n, dim] and float32[n]."""
        self.dropped += adagrad(
            rows, vector_gradients, bias_gradients, self.learning_rate, self.max_norm,
            self.vectors, self._bias, self._squares, self.state.dirty,
        )  # fmt: skip
        self._index.moved[rows] = True

    def _descend_tower(self, gradient: Floats) -> None:
        """Take an Adam step of the tower, unless the gradient is not finite."""
        if not np.isfinite(gradient).all():
            self.dropped += 1
            return
        self._steps[1] += 1
        adam(gradient, int(self._steps[1]), self.tower_rate, self._blocks["tower"], self._blocks["moments"])
        self._blocks.mark("tower")
        self._blocks.mark("moments")

    def _applied(self, records: Records) -> None:
        self._clicks.invalidate()
        rows = records["row"]
        self._index.moved[rows[(rows >= 0) & (rows < len(self._index.moved))]] = True

    def evict(self, rows: Rows) -> None:
        """Remove these items."""
        self.state.clear(rows)
        self._clicks.evict(rows)
        drawn = self._blocks["drawn"]
        drawn[np.isin(drawn - 1, rows)] = 0
        self._blocks.mark("drawn")
        self._index.evict(rows)

    def propose(self, queries: QueryBatch, k: int) -> Candidates:
        """The k best of all items; exactly, up to `nearest.EXACT` items or where usearch is missing."""
        history = self._sequences(queries)
        if self.state.used > nearest.EXACT and find_spec("usearch"):
            return self._approximate(queries, history, k)
        return retrieve(
            history, self._users(history), self.vectors, self._bias, self._squares,
            self._weights["repeat"], self.state.used, k,
        )  # fmt: skip

    def _approximate(self, queries: QueryBatch, history: Rows, k: int) -> Candidates:
        """The best of what the index returns."""
        users = self._users(history)
        rows = self._index.search(
            users, SEARCHED * k, self.vectors, self._bias, self._squares, self.state.used
        )
        rows[history[:, 0] < 0] = -1
        scores = self.score(queries, rows)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        rows, scores = np.take_along_axis(rows, order, 1), np.take_along_axis(scores, order, 1)
        rows[scores <= 0] = -1
        return Candidates(rows, scores, np.where(rows >= 0, 0, -1).astype(np.int8))

    def score(self, queries: QueryBatch, rows: Rows) -> Floats:
        """Softmax of the scores of rows int32[n, m], float32[n, m]; 0 for -1 and unknown items."""
        history = self._sequences(queries)
        out = np.zeros(rows.shape, np.float32)
        score(
            history, self._users(history), rows, self.vectors, self._bias, self._squares,
            self._weights["repeat"], out,
        )  # fmt: skip
        return out

    def _sequences(self, queries: QueryBatch) -> Rows:
        """The items that the tower reads, int32[n, length], newest first."""
        latest = queries.history[:, : self.length]
        if self.by == "user":
            return latest
        return np.where(np.arange(self.length) < queries.sizes[:, None], latest, np.int32(-1))

    def _users(self, history: Rows) -> Floats:
        """The tower's vector of each sequence, float32[n, dim]; 0 if it is empty."""
        return self._tower.last(self._weights, self.vectors, history)
