"""Kinds of records that went wrong once: how each is published, and what is right."""

import json
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from confluent_kafka import Producer

from tests.bench.process import Process
from tests.chaos.broker import LARGEST_BYTES
from tests.chaos.deployment import Deployment
from tests.chaos.pages import page, text_page
from tests.chaos.raw_produce import produce as produce_raw
from tests.chaos.records import read
from tests.chaos.shop import event
from tests.chaos.waiting import within

RESERVED = "__faust\0offset__"
"""The key under which a store keeps its own offset."""
YEAR_MS = 365 * 24 * 3600 * 1000


class Poison(NamedTuple):
    """A kind of record that went wrong once."""

    done: str
    expected: str
    publish: Callable[[Deployment], None]
    faults: Callable[[Deployment, Process], list[str]]
    """What is wrong; called again until nothing is, or time is up."""


# What users see of it


def recommendations(deployment: Deployment) -> list[dict[str, Any]]:
    records = read(deployment.broker.brokers, deployment.topic("recommendations"))
    return [json.loads(record.value) for record in records if record.value]


def _letters(deployment: Deployment) -> list[dict[str, Any]]:
    """The headers of the dead letters as text, and `bytes`, the size of the value."""
    letters = []
    for record in read(deployment.broker.brokers, deployment.topic("dead-letter"), headers=True):
        headers = {name: (value or b"").decode(errors="replace") for name, value in record.headers}
        letters.append(headers | {"key": record.key, "bytes": len(record.value or b"")})
    return letters


def _answered(*ids: str) -> Callable[[Deployment, Process | None], list[str]]:
    def faults(deployment: Deployment, worker: Process) -> list[str]:
        answered = {entry["event_id"] for entry in recommendations(deployment)}
        return [f"{name} is not answered" for name in ids if name not in answered]

    return faults


# The kinds


def _reserved(deployment: Deployment) -> None:
    for name in ("reserved", "reserved again"):  # the second one reads what the first one stored
        deployment.shop.produce(RESERVED.encode(), event(RESERVED, event_id=name))
        within(5, lambda name=name: not _answered(name)(deployment, None))
        time.sleep(1)  # until the first one is stored


def _header_name(deployment: Deployment) -> None:
    value = event("header-name", event_id="header-name")
    topic = deployment.topic("events")
    produce_raw(
        deployment.broker.brokers,
        topic,
        0,
        b"header-name",
        value,
        [(b"\xff\xfe", b"1")],
        int(time.time() * 1000),
    )


def _header_name_faults(deployment: Deployment, worker: Process) -> list[str]:
    lettered = any(letter["key"] == b"header-name" for letter in _letters(deployment))
    return [] if lettered else _answered("header-name")(deployment, worker)


def _header_value(deployment: Deployment) -> None:
    value = event("header-value", event_id="header-value")
    deployment.shop.produce(b"header-value", value, headers=[("trace", None), ("replay", None)])


def _large(user: str, size: int, compression: str) -> Callable[[Deployment], None]:
    def publish(deployment: Deployment) -> None:
        producer = Producer(
            {
                "bootstrap.servers": deployment.broker.brokers,
                "message.max.bytes": LARGEST_BYTES,
                "compression.type": compression,
            }
        )
        padding = {"context": {"padding": "a" * size}}
        producer.produce(deployment.topic("events"), event(user, **padding), user.encode())
        assert not producer.flush(60)

    return publish


def _large_faults(user: str) -> Callable[[Deployment, Process], list[str]]:
    def faults(deployment: Deployment, worker: Process) -> list[str]:
        letters = [letter for letter in _letters(deployment) if letter["key"] == user.encode()]
        if len(letters) != 1 or letters[0]["reason"] != "too-large":
            return [f"{len(letters)} dead letters, not one that is too-large"]
        return [] if letters[0]["bytes"] < 12_000_000 else ["the dead letter is not cut"]

    return faults


def _letter_header(deployment: Deployment) -> None:
    headers = {"reason": "empty", "detail": None, "topic": "t", "partition": "0", "offset": "0", "time": "0"}
    producer = Producer({"bootstrap.servers": deployment.broker.brokers})
    for sent in ([*headers.items()], [("trace", None)], []):
        producer.produce(deployment.topic("dead-letter"), b"", b"by hand", headers=sent)
    assert not producer.flush(30)


def _letter_page(deployment: Deployment, worker: Process) -> list[str]:
    letters = read(deployment.broker.brokers, deployment.topic("dead-letter"))
    places = [f"{letter.partition}:{letter.offset}" for letter in letters if letter.key == b"by hand"]
    paths = ["/dead-letters", *(f"/dead-letters?at={place}" for place in places)]
    return [f"{path} answers: {text_page(worker, path)[:80]}" for path in paths if page(worker, path) is None]


def _replay(deployment: Deployment) -> None:
    deployment.shop.produce(b"replay", b"{", headers=[("replay", b"1500000000000")])


def _replay_faults(deployment: Deployment, worker: Process) -> list[str]:
    letters = [letter for letter in _letters(deployment) if letter["key"] == b"replay"]
    return [] if letters and letters[0].get("replay") == "1500000000000" else ["its header is lost"]


def _aborted(deployment: Deployment) -> None:
    config = {"bootstrap.servers": deployment.broker.brokers, "partitioner": "murmur2_random"}
    producer = Producer(config | {"transactional.id": f"{deployment.prefix}aborts-{time.time_ns()}"})
    producer.init_transactions(10)
    producer.begin_transaction()
    for number in range(3):
        value = event("tx-abort", event_id=f"aborted-{number}", item=f"ghost-{number}")
        producer.produce(deployment.topic("events"), value, b"tx-abort")
    producer.flush()  # otherwise the client drops them before they are sent
    producer.abort_transaction(10)


def _aborted_faults(deployment: Deployment, worker: Process) -> list[str]:
    served = [entry for entry in recommendations(deployment) if entry["user"] == "tx-abort"]
    examples = read(deployment.broker.brokers, deployment.topic("examples"))
    taught = [record for record in examples if record.key == b"tx-abort"]
    overview = page(worker)
    lag = None if overview is None else sum(overview["lag"].values())
    wrong = [f"{len(served)} recommendations"] if served else []
    wrong += [f"{len(taught)} examples"] if taught else []
    wrong += [f"a lag of {lag}"] if lag else []
    return wrong + (["the user has a page"] if page(worker, "/users/tx-abort") else [])


def _record_time(deployment: Deployment) -> None:
    value = event("record-time", event_id="record-time")
    deployment.shop.produce(b"record-time", value, timestamp=int(time.time()))


def _record_time_faults(deployment: Deployment, worker: Process) -> list[str]:
    answers = [entry for entry in recommendations(deployment) if entry["user"] == "record-time"]
    user = page(worker, "/users/record-time")
    if not answers or user is None:
        return ["it is not answered"]
    wrong = []
    if (age := answers[-1]["age_ms"]) > YEAR_MS:
        wrong.append(f"an age of {age / YEAR_MS:.0f} years")
    if time.time() * 1000 - user["last"] > YEAR_MS:
        wrong.append(f"a history of {1970 + user['last'] // YEAR_MS}")
    return wrong


def _seconds(deployment: Deployment) -> None:
    deployment.shop.produce(b"seconds", event("seconds", event_id="milliseconds"))
    deployment.shop.produce(b"seconds", event("seconds", event_id="seconds", time=int(time.time())))


def _seconds_faults(deployment: Deployment, worker: Process) -> list[str]:
    letters = [letter for letter in _letters(deployment) if letter["key"] == b"seconds"]
    if len(letters) != 1:
        return [f"{len(letters)} dead letters, not one"]
    said = letters[0]["reason"] + letters[0]["detail"]
    return [] if "second" in said else [f"its reason does not name seconds: {said}"]


ABSENT: dict[str, dict[str, Any]] = {
    "null-context": {"context": None},
    "null-in-context": {"context": {"campaign": None}},
    "boolean-in-context": {"context": {"logged_in": True}},
    "empty-session": {"session": ""},
    "empty-recommendation-id": {"recommendation_id": ""},
}


def _absent(deployment: Deployment) -> None:
    for name, fields in ABSENT.items():
        deployment.shop.produce(b"absent", event("absent", event_id=name, **fields))


KINDS = (
    Poison(
        "two events of the user `__faust\\0offset__`",
        "answered",
        _reserved,
        _answered("reserved", "reserved again"),
    ),
    Poison("a header name that is no UTF-8", "answered, or a dead letter", _header_name, _header_name_faults),
    Poison("headers without a value", "answered", _header_value, _answered("header-value")),
    Poison(
        "an event of 13 MB", "a cut dead letter", _large("13mb", 13_000_000, "none"), _large_faults("13mb")
    ),
    Poison(
        "14 MB that are 14 KB with gzip",
        "a cut dead letter",
        _large("gz", 14_000_000, "gzip"),
        _large_faults("gz"),
    ),
    Poison("a header without a value on dead-letter", "the page lists it", _letter_header, _letter_page),
    Poison("an unusable record with a header `replay`", "the dead letter keeps it", _replay, _replay_faults),
    Poison("an aborted transaction", "nobody served, nothing taught, lag 0", _aborted, _aborted_faults),
    Poison("a record's time in seconds", "answered at its own time", _record_time, _record_time_faults),
    Poison("an event's time in seconds", "a dead letter that names seconds", _seconds, _seconds_faults),
    Poison("null, boolean and empty optional fields", "answered", _absent, _answered(*ABSENT)),
)
