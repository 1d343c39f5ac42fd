"""Records that once stopped a worker, on a real broker: each is answered or a dead letter, and it goes on."""

import time
from typing import Any

from confluent_kafka import Producer
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from streams import topics
from streams.clients.subscribe import follow, records
from streams.event_messages import Event
from streams.kafka.client import confluent, producer_config
from streams.messages import DeadLetter, decode_example, decode_recommendation, encode, now_ms
from streams.step.dead_letters import CUT_BYTES, MOST_BATCH_BYTES, UNREAD, own_headers
from streams.step.users import decode_user
from tests.broker.cluster import Cluster, Process, wait_for
from tests.raw_batch import CODECS, produce

FAUST_OFFSET_KEY = "__faust\0offset__"
LARGE = 20 * 1024 * 1024


def event(event_id: str, user: str = "ann", item: str = "tent", time: Any = None) -> Event:
    """A view of now."""
    return Event(event_id=event_id, user=user, type="view", item=item, time=time or now_ms())


def allow_large_events(cluster: Cluster) -> None:
    """Set the limit of the topic `events` to 20 MiB."""
    entry = ConfigEntry("max.message.bytes", str(LARGE), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(
        ResourceType.TOPIC, cluster.settings.topic("events"), incremental_configs=[entry]
    )
    admin = AdminClient(confluent(cluster.settings))
    admin.incremental_alter_configs([resource])[resource].result(30)


def publish_large(cluster: Cluster, value: bytes, headers: Any = None, **config: Any) -> None:
    """Publish one event of ann's that is larger than a client sends by itself."""
    producer = Producer(producer_config(cluster.settings, **{"message.max.bytes": LARGE} | config))
    errors: list[Any] = []
    producer.produce(
        cluster.settings.topic("events"), value, b"ann", headers=headers,
        on_delivery=lambda error, message: errors.append(error),
    )  # fmt: skip
    producer.flush(30)
    assert errors == [None]


def dead_letters(cluster: Cluster) -> list[tuple[DeadLetter, Any]]:
    """The dead letters, with the records that they are."""
    return [(DeadLetter.from_headers(m.headers()), m) for m in cluster.read("dead-letter")]


def goes_on(cluster: Cluster, worker: Process, done: set[str]) -> None:
    """Wait until the events with these ids are answered and nothing is behind; the worker did not restart."""
    wait_for(lambda: answered_events(cluster) >= done, f"{done} answered")
    wait_for(lambda: cluster.lag() == 0, "every event committed")
    assert worker.ready()
    assert b"Traceback" not in worker.log.read_bytes(), "no agent restarted"


def answered_events(cluster: Cluster) -> set[str]:
    """Ids of the events that were answered."""
    return {decode_recommendation(m.value()).event_id for m in cluster.read("recommendations")}


def test_no_record_stops_a_partition(kafka, tmp_path):
    with Cluster(kafka.brokers, tmp_path, partitions=1) as cluster:
        allow_large_events(cluster)
        worker = cluster.start("worker")
        wait_for(worker.ready, "worker ready")
        events = cluster.settings.topic("events")

        # an id that is the store's own key, across a restart
        cluster.publish([event(f"key-{n}", user=FAUST_OFFSET_KEY) for n in range(2)])
        goes_on(cluster, worker, {"key-0", "key-1"})
        assert worker.stop() == 0
        changelog = cluster.settings.topic(topics.USERS_CHANGELOG)
        produce(kafka.brokers, changelog, 0, [(b"eve", b"not a user", [])], time_ms=now_ms())
        worker = cluster.start("worker")
        cluster.publish([event("key-2", user=FAUST_OFFSET_KEY)])
        wait_for(worker.ready, "worker ready again")
        goes_on(cluster, worker, {"key-2"})
        stored = {m.key(): m.value() for m in cluster.read(topics.USERS_CHANGELOG)}
        assert decode_user(stored[FAUST_OFFSET_KEY.encode()]).events == 3
        assert worker.get("/users/__faust%00offset__")["user"] == FAUST_OFFSET_KEY

        # header names that are not UTF-8, compressed by every codec; a dead letter with one
        for codec in CODECS:
            value = encode(event(f"name-{codec}"))
            odd = [(b"\xff\xfe", b"x"), (b"replay", None)]
            produce(kafka.brokers, events, 0, [(b"ann", value, odd)], time_ms=now_ms(), codec=codec)
        produce(kafka.brokers, events, 0, [(b"ann", b"{", odd)], time_ms=now_ms())
        goes_on(cluster, worker, {f"name-{codec}" for codec in CODECS})
        ((letter, message),) = dead_letters(cluster)
        assert letter.reason == "malformed-json"
        assert own_headers(message.headers()) == [("\\xff\\xfe", b"x"), ("replay", None)]

        # larger than a dead letter can be, on the wire and uncompressed
        own = [("replay", b"1500000000000")]
        publish_large(cluster, b"x" * 13_000_000, own)
        publish_large(cluster, b"x" * 14_000_000, own, **{"compression.type": "gzip"})
        cluster.publish([event("after")])
        goes_on(cluster, worker, {"after"})
        for (letter, message), size in zip(dead_letters(cluster)[1:], (13_000_000, 14_000_000), strict=True):
            assert (letter.reason, letter.value_bytes, letter.cut) == ("too-large", size, "value")
            assert message.value() == b"x" * CUT_BYTES
            assert own_headers(message.headers()) == own
            assert (letter.topic, letter.partition) == (events, 0)

        # a batch that would fill the memory, of which Kafka has a few kilobytes
        produce(kafka.brokers, events, 0, [(b"ann", bytes(MOST_BATCH_BYTES), [])], now_ms(), codec="gzip")
        cluster.publish([event("after the batch")])
        goes_on(cluster, worker, {"after the batch"})
        ((letter, message),) = dead_letters(cluster)[3:]
        assert (letter.reason, letter.partition, message.value()) == ("too-large", 0, UNREAD)

        # records with a time in seconds, or none
        for time_ms in (int(time.time()), -1):
            value = encode(event(f"stamp{time_ms}", user="bob"))
            produce(kafka.brokers, events, 0, [(b"bob", value, [])], time_ms=time_ms)
            goes_on(cluster, worker, {f"stamp{time_ms}"})
        examples = [decode_example(m.value()) for m in cluster.read("examples")]
        assert all(now_ms() - example.time < 600_000 for example in examples), "no arrival in 1970"

        # a user record that cannot be decoded: the step fails on that event alone
        cluster.publish([event("eve", user="eve"), event("bob", user="bob")])
        wait_for(lambda: "bob" in answered_events(cluster), "bob answered")
        wait_for(lambda: cluster.lag() == 0, "every event committed")
        ((letter, message),) = dead_letters(cluster)[4:]
        assert (letter.reason, message.key()) == ("unprocessable", b"eve")
        assert "ValidationError" in letter.detail
        assert worker.ready()
        wait_for(lambda: worker.get("/")["dead_letters"].get("unprocessable") == 1, "counted")

        # readers of the topics `events` and `dead-letter`, with foreign records on them
        for name in ("events", "dead-letter"):
            consumer = follow(cluster.settings, name, from_start=True)
            wait_for(lambda c=consumer: b"eve" in {m.key() for m in records(c, 0.2)}, f"{name} read")
            consumer.close()
        foreign = [(b"detail", None), (b"reason", b"empty"), (b"time", b"9" * 30)]
        odd_letters = [(None, b"v", foreign), *[(None, None, [(b"\xff", b"x"), (b"reason", b"x")])] * 39]
        letters = cluster.settings.topic("dead-letter")
        at = produce(kafka.brokers, letters, 0, odd_letters, time_ms=now_ms())
        listed = wait_for(lambda: worker.get("/dead-letters"), "the page of dead letters")["letters"]
        assert len(listed) == 5 + 40
        for offset in range(at, at + 10):
            assert worker.get(f"/dead-letters?at=0:{offset}")["letter"]["at"] == f"0:{offset}"
        assert worker.ready()
