"""Each example is learnt once, whatever comes twice."""

import random
from dataclasses import dataclass

from models.checkpoint import Checkpoint
from models.core import BOUGHT, CARTED, Example, Query
from models.learning import learn
from models.model import Model
from streams.messages import decode_example, encode
from tests.models import arrays


@dataclass
class Record:
    """A record of `examples`."""

    partition: int
    offset: int
    value: bytes | None


def example(offset: int, item: str = "a") -> bytes:
    return encode(Example("u", offset, 1000 * offset, "view", item, history=("b", "c"), session_size=2))


def fresh() -> tuple[Model, Checkpoint]:
    return Model(["popularity", "next"], 100), Checkpoint()


def events(model: Model, item: str) -> int:
    return int(model.generators["popularity"].events[model.items.row(item)])


def test_repeated_examples_are_skipped_by_the_offset_of_their_event():
    model, checkpoint = fresh()
    records = [Record(0, n, example(o)) for n, o in enumerate([5, 6, 6, 5, 7])] + [Record(1, 0, example(5))]
    learn(records, decode_example, model, checkpoint)
    assert events(model, "a") == 4
    assert (checkpoint.examples, checkpoint.repeated) == (4, 2)
    assert checkpoint.positions == {0: 5, 1: 1}
    assert checkpoint.learnt_to == {0: 7, 1: 5}


def test_unreadable_examples_are_counted_and_passed():
    model, checkpoint = fresh()
    learn(
        [Record(0, 0, b"{"), Record(0, 1, None), Record(0, 2, example(1))], decode_example, model, checkpoint
    )
    assert (checkpoint.unusable, checkpoint.examples, checkpoint.positions) == (2, 1, {0: 3})


def test_interrupted_equals_uninterrupted():
    """Learners that die anywhere and continue from the published rows count the same as one alone."""
    rng = random.Random(7)
    log = {p: [example(n, f"i{rng.randrange(9)}") for n in range(200)] for p in range(3)}
    whole, everything = fresh()
    for p in log:
        learn([Record(p, n, v) for n, v in enumerate(log[p])], decode_example, whole, everything)
    published: dict[bytes, bytes | None] = {}
    last = Checkpoint()
    while last.examples < 600:
        model, checkpoint = fresh()
        model.apply(model.prepare(published.items()))
        checkpoint = Checkpoint.decode(last.encode())
        for _ in range(rng.randrange(1, 6)):
            p = rng.randrange(3)
            start = checkpoint.positions.get(p, 0)
            part = [Record(p, n, log[p][n]) for n in range(start, min(start + rng.randrange(40), 200))]
            learn(part, decode_example, model, checkpoint)
            if rng.random() < 0.3:
                break  # killed before publishing
        else:
            published |= model.dump_touched()
            last = Checkpoint.decode(checkpoint.encode())
    counts = {i: events(whole, i) for i in whole.items.ids}
    restored, _ = fresh()
    restored.apply(restored.prepare(published.items()))
    assert {i: events(restored, i) for i in restored.items.ids} == counts
    assert sum(counts.values()) == 600


def test_checkpoints_of_other_versions_are_read():
    assert Checkpoint.decode(b'{"number": 3, "tomorrow": true}') == Checkpoint(number=3)


def test_kinds_and_ages_stay_with_their_items():
    model = Model(["popularity"], 100)
    model.learn([arrays.example(item) for item in "abc"])
    history, types, times = (
        ("a", "?", "b", "c"),
        ("cart", "view", "purchase", "other"),
        (1000, 2000, 3000, 4000),
    )
    batch = model.queries(
        [
            Query(history, 4, 9000, {}, types, times),
            Query(history, 4, 9000, {}, types, times, asked=4000),
            Query(history, 4, 9000),
            Query(history, 4, 0, {}, types, times),
        ]
    )
    assert batch.history[:, :4].tolist() == [[2, 1, 0, -1]] * 4
    known = [0, BOUGHT, CARTED, 0]
    assert batch.kinds[:, :4].tolist() == [known, known, [0, 0, 0, 0], known]
    assert batch.ages[:, :4].tolist() == [[5, 6, 8, 0], [0, 1, 3, 0], [0, 0, 0, 0], [0, 0, 0, 0]]


def test_items_without_a_row_are_left_out_of_queries():
    """By hand: a, b and c have rows; only items with a row count in a session."""
    model = Model(["popularity"], 100)
    model.learn([arrays.example(item) for item in "abc"])
    queries = [
        Query(("a", "?", "b", "c"), 3, 0, {}),
        Query(("?",), 9, 0, {}),
        Query(("?", "a", "b"), 2, 0, {}),
        Query((), 1, 0, {}),
        Query(("c", "a"), 9, 0, {}),
    ]
    batch = model.queries(queries)
    assert batch.history[:, :3].tolist() == [[2, 1, 0], [-1, -1, -1], [1, 0, -1], [-1, -1, -1], [0, 2, -1]]
    assert (batch.history[:, 3:] == -1).all()
    assert batch.sizes.tolist() == [2, 0, 2, 0, 2]
