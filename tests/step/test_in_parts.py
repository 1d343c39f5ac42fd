"""A step that fails: the record at fault becomes a dead letter; what is not a record's fault is raised."""

from dataclasses import dataclass, field, replace

import pytest

from streams.messages import DeadLetter, decode_recommendation
from streams.step.in_parts import serve_in_parts
from streams.step.serve import serve
from streams.step.users import decode_user
from tests.step.test_serve import NOW, POLICY, Echo, Record, record


@dataclass
class Picky(Echo):
    """A recommender that raises for a user who saw one of these items."""

    hates: frozenset[str] = field(default_factory=frozenset)
    best: frozenset[str] = frozenset({"hit"})

    def recommend(self, queries, k):
        for query in queries:
            for item in self.hates.intersection(query.history or ["nothing"]):
                raise ZeroDivisionError(f"of {item}")
        return super().recommend(queries, k)

    def popular(self, k):
        return self.best


def in_parts(records, stored=None, recommender=None, step=serve_in_parts):
    lookup = stored if callable(stored) else lambda _, key: (stored or {}).get(key)
    return step(records, "events", lookup, recommender or Echo(), POLICY, lambda: NOW + 10)


@pytest.mark.parametrize("at", [0, 1, 7, 12])
def test_the_record_at_fault_becomes_a_dead_letter_and_all_others_are_served(at):
    records = [record(n, user=f"u{n % 3}", item=f"i{n}") for n in range(13)]
    records[at] = record(at, user="odd", item="bad")
    model = Picky(hates=frozenset({"bad"}))
    with pytest.raises(ZeroDivisionError):
        in_parts(records, recommender=model, step=serve)
    writes = in_parts(records, recommender=model)
    ((key, value, headers),) = writes.outputs["dead-letter"][3]
    letter = DeadLetter.from_headers(headers)
    assert (key, value, letter.offset) == (b"odd", records[at].value, at)
    assert (letter.reason, letter.detail) == ("unprocessable", "ZeroDivisionError: of bad")
    assert writes.counts.dead_letters == {"unprocessable": 1}
    others = in_parts(records[:at] + records[at + 1 :], step=serve)
    assert writes.users == others.users
    for topic in ("recommendations", "examples"):
        assert writes.outputs[topic] == others.outputs[topic]
    assert (writes.new_users, writes.ages_ms) == (others.new_users, others.ages_ms)
    assert writes.counts == replace(others.counts, dead_letters={"unprocessable": 1})


def test_a_user_whose_stored_record_is_damaged_is_not_the_end_of_the_others():
    records = [record(1, user="ann"), record(2, user="bob"), record(3, user="ann")]
    writes = in_parts(records, stored={b"ann": b"41"})
    letters = [DeadLetter.from_headers(headers) for _, _, headers in writes.outputs["dead-letter"][3]]
    assert [letter.reason for letter in letters] == ["unprocessable"] * 2
    assert [letter.offset for letter in letters] == [1, 3]
    assert "ValidationError" in letters[0].detail
    assert list(writes.users[3]) == [b"bob"]
    alone = in_parts([record(1, user="ann")], stored={b"ann": b"41"})
    assert alone.counts.dead_letters == {"unprocessable": 1}


def test_two_events_of_one_user_around_the_record_at_fault():
    model = Picky(hates=frozenset({"bad"}))
    records = [record(1, item="a"), record(2, user="odd", item="bad"), record(3, item="b")]
    writes = in_parts(records, recommender=model)
    assert decode_user(writes.users[3][b"u"]).items == ("a", "b")
    answers = [decode_recommendation(value) for _, value, _ in writes.outputs["recommendations"][3]]
    assert [[i.item for i in answer.items] for answer in answers] == [["a"], ["b", "a"]]


@pytest.mark.parametrize(
    "model",
    [Picky(hates=frozenset({"nothing", "i0", "i1"})), Picky(hates=frozenset({"i0", "hit"}))],
    ids=["for nobody", "for who saw best sellers"],
)
def test_a_model_that_fails_for_everybody_ends_the_worker(model):
    """Otherwise the whole stream would become dead letters."""
    for records in ([record(0, item="i0")], [record(0, item="i0"), record(1, user="v", item="i1")]):
        with pytest.raises(ZeroDivisionError):
            in_parts(records, recommender=model)


def test_a_store_that_fails_ends_the_worker():
    def broken(partition, key):
        raise OSError("no such file")

    with pytest.raises(OSError, match="no such file"):
        in_parts([record(1), record(2)], stored=broken)


def test_a_record_without_a_key_is_tried_alone_too(monkeypatch):
    monkeypatch.setattr("streams.step.serve._decode", lambda record, policy: 1 / 0)
    writes = in_parts([Record(None, b"x", 1), Record(b"u", b"x", 2)])
    assert writes.counts.dead_letters == {"unprocessable": 2}
