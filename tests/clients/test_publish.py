"""Publishing: when an event of a log would have arrived, when it is due, what is counted."""

import random
from itertools import islice

import pytest
from confluent_kafka import Consumer, TopicPartition

from streams import event_messages
from streams.clients.publish import EventProducer, ScheduledEvent, arrivals, publish_events, schedule
from streams.kafka.embedded import PARTITIONS, EmbeddedBroker
from streams.settings import Settings

MONTH = 30 * 86_400_000


def event(n: int, time: int | None = None) -> event_messages.Event:
    return event_messages.Event(
        event_id=f"r-{n}", user=f"u{n % 50}", item="i", type="view", time=n if time is None else time
    )


def quiet(text) -> None:
    pass


# arrivals


def test_in_a_sorted_log_every_event_arrives_at_its_time():
    rng = random.Random(1)
    times = sorted(rng.randrange(100_000) for _ in range(2000))  # with ties and gaps
    assert list(arrivals(times)) == times


@pytest.mark.parametrize("length", range(5))
def test_short_logs(length):
    assert list(arrivals(range(length))) == list(range(length))


def test_month_ahead_stamps_move_nobody_else():
    times = list(range(0, 1_000_000, 1000))
    ahead = {0, 1, 2, 17, 300, 301, 302, 303, 500, 900}
    lying = [time + MONTH if n in ahead else time for n, time in enumerate(times)]
    replayed_at = list(arrivals(lying))
    for n, time in enumerate(times):
        assert replayed_at[n] == time or (n in ahead and abs(replayed_at[n] - time) <= 4000)


def test_late_events_move_nobody_else():
    times = list(range(0, 1_000_000, 1000))
    late = {5, 300, 301, 302, 500, 997}
    lying = [max(0, time - 200_000) if n in late else time for n, time in enumerate(times)]
    replayed_at = list(arrivals(lying))
    for n, time in enumerate(times):
        assert replayed_at[n] == time or (n in late and abs(replayed_at[n] - time) <= 4000)


def test_arrivals_never_go_back():
    rng = random.Random(1)
    replayed_at = list(arrivals([rng.randrange(1_000_000) for _ in range(1000)]))
    assert replayed_at == sorted(replayed_at)


def test_arrivals_read_no_further_than_they_look_ahead():
    def times():
        yield from range(65)
        raise AssertionError("read too far")

    assert list(islice(arrivals(times(), lookahead=64), 1)) == [0]


# schedule


def test_at_once_or_at_a_rate_or_by_event_time():
    events = [event(n, time=5000 * n) for n in range(4)]
    assert [due.after_s for due in schedule(events)] == [0, 0, 0, 0]
    assert [due.after_s for due in schedule(events, rate=2)] == [0, 0.5, 1.0, 1.5]
    assert [due.after_s for due in schedule(events, speed=10)] == [0, 0.5, 1.0, 1.5]
    assert [due.after_s for due in schedule(events, speed=10, live=True)] == [0, 0.5, 1.0, 1.5]


def test_a_replayed_event_says_when_it_arrived_and_a_live_one_does_not():
    events = [event(n, time=5000 * n) for n in range(4)]
    assert [due.arrival for due in schedule(events)] == [0, 5000, 10_000, 15_000]
    assert [due.arrival for due in schedule(events, live=True)] == [None] * 4


# producing


@pytest.fixture(scope="module")
def broker():
    broker = EmbeddedBroker()
    broker.create("events", "copies.events", "full.events")
    return broker


def settings(broker: EmbeddedBroker, prefix: str = "") -> Settings:
    return Settings(brokers=broker.brokers, embedded=True, partitions=PARTITIONS, topic_prefix=prefix)


def read(broker: EmbeddedBroker, topic: str, count: int):
    consumer = Consumer({"bootstrap.servers": broker.brokers, "group.id": "test", "fetch.wait.max.ms": 10})
    consumer.assign([TopicPartition(topic, p, 0) for p in range(PARTITIONS)])
    records = consumer.consume(count, 20)
    consumer.close()
    return records


def test_events_are_keyed_by_user_and_carry_their_arrival(broker):
    producer = EventProducer(settings(broker))
    publish_events(schedule([event(n, time=n) for n in range(500)]), producer, quiet)
    assert (producer.delivered, producer.failed) == (500, 0)
    records = read(broker, "events", 500)
    assert len(records) == 500
    for record in records:
        payload = event_messages.decode_event(record.value())
        assert record.key() == payload.user.encode()
        assert record.headers() == [("replay", str(payload.time).encode())]
    assert len({(record.key(), record.partition()) for record in records}) == 50


def test_copies_and_live_events(broker):
    producer = EventProducer(settings(broker, "copies."))
    publish_events(schedule([event(n) for n in range(10)], live=True), producer, quiet, copies=3)
    records = read(broker, "copies.events", 30)
    assert producer.delivered == len(records) == 30
    assert all(record.headers() is None for record in records)


def test_a_full_buffer_is_waited_for(broker):
    producer = EventProducer(settings(broker, "full."), **{"queue.buffering.max.messages": 10})
    publish_events(schedule([event(n) for n in range(1000)]), producer, quiet)
    assert (producer.delivered, producer.failed) == (1000, 0)


def test_what_is_refused_is_counted_with_its_reason(broker):
    producer = EventProducer(settings(broker), **{"message.max.bytes": 2000})
    large = event_messages.Event(
        event_id="e", user="u", item="i", type="view", time=1, context={"a": "x" * 3000}
    )
    publish_events(schedule([event(1), large, event(2)]), producer, quiet)
    assert (producer.sent, producer.delivered, producer.failed) == (3, 2, 1)
    assert "too large" in producer.reason


def test_when_kafka_is_gone_publishing_ends_and_says_so():
    gone = Settings(brokers="127.0.0.1:1")
    producer = EventProducer(gone, **{"message.timeout.ms": 300, "queue.buffering.max.messages": 100})

    def endless():
        n = 0
        while True:
            n += 1
            yield ScheduledEvent(0.0, None, event(n))

    publish_events(endless(), producer, quiet)
    assert producer.delivered == 0
    assert producer.failed == producer.sent > 0
    assert "timed out" in producer.reason
