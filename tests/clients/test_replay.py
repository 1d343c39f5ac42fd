"""A replay ends when every event is answered, counts answers rightly, and says what is missing."""

import threading
import time
from contextlib import contextmanager

import pytest
from confluent_kafka import Producer

from streams import event_messages, messages
from streams.clients.publish import EventProducer, schedule
from streams.clients.replay import Ledger, Replay, text
from streams.clients.subscribe import follow, records
from streams.kafka.embedded import PARTITIONS, EmbeddedBroker
from streams.settings import Settings

# the ledger


def test_an_answer_counts_once_and_its_doubles_once():
    ledger = Ledger("r")
    ledger.add_event("r-1", now=10.0)
    ledger.add_event("r-2", now=10.0)
    for _ in range(3):
        ledger.add_recommendation("r-1", age_ms=4, now=10.5)
    assert (ledger.events, ledger.answered, ledger.answered_twice) == (2, 1, 1)
    assert list(ledger.unanswered) == [2]
    assert ledger.ages.percentiles()["max"] == 4
    assert ledger.measured_ages.percentiles()["max"] == 500


def test_answers_to_other_runs_count_for_nothing():
    ledger = Ledger("r")
    ledger.add_event("r-1", now=0.0)
    for event_id in ("q-1", "r-x-1", "r-", "r", "r-2", "r-99999999999999", "rr-1", "r-²"):
        ledger.add_recommendation(event_id, age_ms=1, now=1.0)
    assert (ledger.answered, ledger.answered_twice, len(ledger.unanswered)) == (0, 0, 1)


def test_a_dead_letter_is_an_answer():
    ledger = Ledger("r-1")
    ledger.add_event("r-1-7", now=0.0)
    ledger.add_dead_letter("r-1-7")
    assert (ledger.answered, ledger.dead_letters, len(ledger.unanswered)) == (0, 1, 0)


def test_an_event_that_needs_no_answer_is_not_waited_for():
    ledger = Ledger("r")
    ledger.add_event("r-1", now=0.0, needs_answer=False)
    assert (ledger.events, ledger.need_no_answer, len(ledger.unanswered)) == (1, 1, 0)


# against a broker

FOREIGN = [None, b"", b"[" * 100_000, b'{"event_id":"\xff"}', b'{"event_id":5}', b"{}", b"\xff\xfe"]
"""Values of dead letters that are not of this log."""


def event(n: int, type: str = "view") -> event_messages.Event:
    return event_messages.Event(event_id=f"r-{n}", user=f"u{n % 20}", item="i", type=type, time=1000 * n)


@contextmanager
def answering(settings: Settings, *, silent: str = "", twice: str = "", refused: str = ""):
    """A worker of the simplest kind; these event ids it does not answer, answers twice, refuses."""
    consumer, producer = (
        follow(settings, "events"),
        Producer({"bootstrap.servers": settings.brokers, "linger.ms": 0}),
    )
    stop, seen = threading.Event(), set()

    def answer() -> None:
        while not stop.is_set():
            for record in records(consumer, 0.05):
                cause = event_messages.decode_event(record.value())
                if cause.event_id in seen or cause.event_id == silent or cause.type == "impression":
                    continue
                seen.add(cause.event_id)
                if cause.event_id == refused:
                    for foreign in FOREIGN:
                        producer.produce(settings.topic("dead-letter"), foreign, headers=[("replay", None)])
                    producer.produce(settings.topic("dead-letter"), record.value(), record.key())
                    continue
                recommendation = messages.Recommendation(
                    recommendation_id=cause.event_id, user=cause.user, time=0, event_id=cause.event_id,
                    event_type=cause.type, items=[], checkpoint=0, age_ms=7, model_age_ms=None,
                )  # fmt: skip
                for _ in range(1 + (cause.event_id == twice)):
                    producer.produce(
                        settings.topic("recommendations"), messages.encode(recommendation), record.key()
                    )
            producer.poll(0)

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.fixture
def settings(embedded: EmbeddedBroker, request: pytest.FixtureRequest) -> Settings:
    replay_settings = Settings(
        brokers=embedded.brokers, embedded=True, partitions=PARTITIONS, topic_prefix=f"{request.node.name}."
    )
    embedded.create(*(replay_settings.topic(name) for name in ("events", "recommendations", "dead-letter")))
    return replay_settings


def replay(settings: Settings, events, timeout_s: float = 20, copies: int = 1, in_flight: int = 50) -> Replay:
    consumer = follow(settings, "recommendations", "dead-letter")
    run = Replay(settings, EventProducer(settings), consumer, "r")
    most = 0

    def show(_) -> None:
        nonlocal most
        most = max(most, len(run.ledger.unanswered))

    run.publish(schedule(events), show, in_flight=in_flight, timeout_s=timeout_s, copies=copies)
    assert most <= in_flight
    return run


def test_every_event_is_answered(settings):
    with answering(settings, twice="r-17", refused="r-30"):
        events = [event(n, "impression" if n == 5 else "view") for n in range(1000)]
        run = replay(settings, events, copies=2)
    result = run.result()
    assert run.problem() == ""
    expected = {
        "events": 1000,
        "published": 2000,
        "answered": 998,
        "answered_twice": 1,
        "dead_letters": 1,
        "need_no_answer": 1,
        "unanswered": 0,
    }
    assert {name: result[name] for name in expected} == expected
    assert result["age_ms"] == {"p50": 7, "p90": 7, "p99": 7, "max": 7}
    assert 0 < result["measured_age_ms"]["p50"] <= result["measured_age_ms"]["max"]
    assert result["seconds"] > 0
    assert "998, 1 of them more than once" in text(result)


def test_a_log_can_be_replayed_again_as_new_events(settings):
    with answering(settings):
        assert replay(settings, [event(n) for n in range(100)]).result()["answered"] == 100
        again = replay(settings, [event(n) for n in range(100, 200)])
        assert (again.result()["answered"], again.result()["answered_twice"]) == (100, 0)


def test_it_says_what_is_missing_when_nothing_comes_any_more(settings):
    began = time.monotonic()
    with answering(settings, silent="r-3"):
        run = replay(settings, [event(n) for n in range(10)], timeout_s=1)
    assert "1 of 10 events are unanswered (lines 3)" in run.problem()
    assert time.monotonic() - began < 10
