"""Follow the recommendations: a line of text each for people, JSON lines for programs."""

import logging
from collections.abc import Callable, Iterator
from datetime import datetime

import msgspec
from confluent_kafka import Consumer, Message, TopicPartition

from streams import messages
from streams.kafka.client import consumer_config
from streams.printable import printable, printable_json
from streams.settings import Settings

log = logging.getLogger(__name__)

MAX_PRINTED_ITEMS = 5
TIMEOUT_S = 10


def follow(settings: Settings, *topics: str, from_start: bool = False) -> Consumer:
    """A consumer of all partitions of these topics (short names), from their end or from their start.

    It joins no group and commits nothing.  Raises `KafkaException` where Kafka cannot be reached.
    """
    consumer = Consumer(consumer_config(settings, 500, **{"log_level": 2, "error_cb": lambda error: None}))
    metadata = consumer.list_topics(timeout=TIMEOUT_S).topics
    partitions = [
        TopicPartition(name, number)
        for name in map(settings.topic, topics)
        for number in (metadata[name].partitions if name in metadata else ())
    ]
    for partition in partitions:
        start, end = consumer.get_watermark_offsets(partition, timeout=TIMEOUT_S)
        partition.offset = start if from_start else end
    consumer.assign(partitions)
    return consumer


def records(consumer: Consumer, wait_s: float) -> list[Message]:
    """The records that have arrived, after waiting up to `wait_s` for the first one; may be empty."""
    first = consumer.poll(wait_s)
    if first is None:
        return []
    return [m for m in (first, *consumer.consume(10_000, 0)) if m.error() is None]


def recommendations(
    consumer: Consumer, user: str | None, placement: str | None
) -> Iterator[tuple[messages.Recommendation, bytes]]:
    """Each recommendation, of one user and placement or of all, with its bytes; never ends."""
    key = b"" if user is None else user.encode()
    while True:
        for record in records(consumer, 0.5):
            value = record.value()
            if not value or not (record.key() or b"").startswith(key):
                continue
            try:
                recommendation = messages.decode_recommendation(value)
            except msgspec.MsgspecError as error:
                place = f"partition {record.partition()}, offset {record.offset()}"
                log.warning("%s is skipped: not a valid recommendation (%s)", place, error)
                continue
            if user in (None, recommendation.user) and placement in (None, recommendation.placement):
                yield recommendation, value


def format_line(recommendation: messages.Recommendation) -> str:
    """A recommendation as one line of text.

    >>> from streams.messages import Recommendation, Recommended
    >>> format_line(Recommendation(recommendation_id="r", user="ann", time=0, event_id="e", event_type="view",
    ...     items=[Recommended("tent", 1.0, "popular now")], checkpoint=3, age_ms=4, model_age_ms=250))[9:]
    'ann  view  tent (popular now)  [age 4 ms, model 250 ms]'
    """
    time = datetime.fromtimestamp(recommendation.time / 1000)
    shown = recommendation.items[:MAX_PRINTED_ITEMS]
    items = ", ".join(f"{item.item} ({item.reason})" for item in shown) or "nothing yet"
    model_age = recommendation.model_age_ms
    model = "none yet" if model_age is None else f"{model_age} ms"
    placement = f"  {recommendation.placement}" if recommendation.placement else ""
    return printable(
        f"{time:%H:%M:%S} {recommendation.user}{placement}  {recommendation.event_type}  {items}"
        f"  [age {recommendation.age_ms} ms, model {model}]"
    )


def format_json(value: bytes) -> str:
    """A record's JSON as one line of text, whoever wrote it."""
    if b"\n" in value or b"\r" in value:
        value = msgspec.json.format(value, indent=-1)
    return printable_json(value).decode()


def print_recommendations(
    consumer: Consumer,
    write: Callable[[str], None],
    *,
    user: str | None = None,
    placement: str | None = None,
    as_json: bool = False,
    count: int | None = None,
) -> None:
    """Write each recommendation as it arrives; returns after `count` of them."""
    for n, (recommendation, value) in enumerate(recommendations(consumer, user, placement), 1):
        write(format_json(value) if as_json else format_line(recommendation))
        if n == count:
            break
