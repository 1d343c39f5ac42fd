"""Follow the recommendations: one line each for people, JSON lines for programs."""

from collections.abc import Callable, Iterator
from datetime import datetime

from confluent_kafka import Consumer, Message, TopicPartition

from streams import messages
from streams.kafka.client import consumer_config
from streams.settings import Settings

TOP = 5
"""Items on a line."""


def follow(settings: Settings, *topics: str, from_start: bool = False) -> Consumer:
    """A consumer of all partitions of these topics (short names), from now on or from their start.

    It joins no group and commits nothing.  `KafkaException` where Kafka cannot be reached.
    """
    consumer = Consumer(consumer_config(settings, 500, **{"log_level": 2, "error_cb": lambda error: None}))
    there = consumer.list_topics(timeout=10).topics
    partitions = [
        TopicPartition(name, number)
        for name in map(settings.topic, topics)
        for number in (there[name].partitions if name in there else ())
    ]
    for partition in partitions:
        start, end = consumer.get_watermark_offsets(partition, timeout=10)
        partition.offset = start if from_start else end
    consumer.assign(partitions)
    return consumer


def records(consumer: Consumer, wait_s: float) -> list[Message]:
    """What is there, after waiting for the first one up to `wait_s`; may be nothing."""
    first = consumer.poll(wait_s)
    if first is None:
        return []
    return [m for m in (first, *consumer.consume(10_000, 0)) if m.error() is None]


def recommendations(consumer: Consumer, user: str | None) -> Iterator[tuple[messages.Recommendation, bytes]]:
    """Each recommendation (of one user), and its bytes; for ever."""
    wanted = None if user is None else user.encode()
    while True:
        for record in records(consumer, 0.5):
            value = record.value()
            if value and (wanted is None or record.key() == wanted):
                yield messages.decode_recommendation(value), value


def line(made: messages.Recommendation) -> str:
    """A recommendation as one line of text.

    >>> from streams.messages import Recommendation, Recommended
    >>> line(Recommendation(recommendation_id="r", user="ann", time=0, event_id="e", event_type="view",
    ...     items=[Recommended("tent", 1.0, "popular now")], checkpoint=3, age_ms=4, model_age_ms=250))[9:]
    'ann  view  tent (popular now)  [age 4 ms, model 250 ms]'
    """
    at = datetime.fromtimestamp(made.time / 1000)
    items = ", ".join(f"{i.item} ({i.reason})" for i in made.items[:TOP]) or "nothing yet"
    model = "none yet" if made.model_age_ms is None else f"{made.model_age_ms} ms"
    return f"{at:%H:%M:%S} {made.user}  {made.event_type}  {items}  [age {made.age_ms} ms, model {model}]"


def subscribe(
    consumer: Consumer,
    write: Callable[[str], None],
    *,
    user: str | None = None,
    as_json: bool = False,
    count: int | None = None,
) -> None:
    """Write each recommendation that comes, until there were `count`."""
    for n, (made, value) in enumerate(recommendations(consumer, user), 1):
        write(value.decode() if as_json else line(made))
        if n == count:
            break
