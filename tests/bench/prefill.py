"""State written before a measurement: a model that knows the items, users with a history."""

import random
import time
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import islice
from typing import Any

from confluent_kafka import Producer

from models.checkpoint import Checkpoint
from models.core import HISTORY, Example
from models.units import DAY_MS
from streams import topics
from streams.kafka.client import producer_config
from streams.kafka.model_writer import ModelWriter
from streams.runtime.factory import make_model
from streams.settings import Settings
from streams.step.users import User, encode_user
from tests.bench.clicks import EVENTS_A_USER, ITEMS, clicks
from tests.bench.deployment import Bench, progress

CLICKS = 600_000
"""Clicks that the model has learnt, 15 an item."""
ROWS_A_CHECKPOINT = 50_000


def fill_model(settings: Settings, bench: Bench) -> None:
    """Publish a model that has learnt `CLICKS` clicks and knows every item."""
    writer, checkpoint = ModelWriter(settings), Checkpoint()
    layouts = make_model(settings).parts.published()
    rows_of_all = _rows(settings.max_items, bench.scaled(CLICKS), bench.seed)
    for rows in batches(rows_of_all.items(), ROWS_A_CHECKPOINT):
        checkpoint.number += 1
        checkpoint.time, checkpoint.rows = int(time.time() * 1000), len(rows)
        checkpoint.layouts, checkpoint.max_items = layouts, settings.max_items
        writer.publish(dict(rows), checkpoint)


@cache
def _rows(max_items: int, n: int, seed: int) -> dict[bytes, bytes | None]:
    progress(f"filling a model: {n:,} clicks on {ITEMS:,} items")
    settings = Settings(max_items=max_items, seed=seed)
    model = make_model(settings)
    now = int(time.time() * 1000)
    model.learn([Example("u", 0, now, "click", f"i{item}") for item in range(ITEMS)])
    for batch in batches(examples(n, seed, now), settings.learn_batch):
        model.learn(batch)
    return model.dump_touched()


def examples(n: int, seed: int, now: int) -> Iterator[Example]:
    """Generate n clicks as examples, each with the history of its user."""
    recent: dict[int, tuple[int, int, tuple[str, ...]]] = {}
    for click in clicks(n, n // EVENTS_A_USER, seed, walk=2):
        session, size, history = recent.get(click.user, (-1, 0, ()))
        size = min(size, HISTORY) if session == click.session else 0
        item = f"i{click.item}"
        yield Example(f"u{click.user}", 0, now, "click", item, 1.0, None, history, size, click.session)
        recent[click.user] = click.session, size + 1, (*history, item)[-HISTORY:]


def fill_users(settings: Settings, n: int, seed: int, events: int = 20) -> int:
    """Write n user records of `events` events each to the users' changelog; returns the bytes written."""
    rng = random.Random(seed)
    producer = Producer(producer_config(settings, **{"linger.ms": 50, "log_level": 3}))
    topic, size = settings.topic(topics.USERS_CHANGELOG), 0
    start = int(time.time() * 1000 - DAY_MS)
    for number in range(n):
        items = tuple(f"i{rng.randrange(ITEMS)}" for _ in range(events + settings.list_length))
        value = encode_user(
            User(
                events=events,
                items=items[:events],
                types=("click",) * events,
                times=tuple(range(start, start + 1000 * events, 1000)),
                session=f"{number}.0",
                session_start=start,
                sessions=1,
                last=start + 1000 * events,
                seen=rng.randbytes(8 * events),
                slate_id=f"0-{number}",
                slate=items[events:],
                session_size=events,
            )
        )
        size += len(value)
        while True:
            try:
                producer.produce(topic, value, f"u{number}")
                break
            except BufferError:
                producer.poll(0.1)
    producer.flush()
    return size


def batches(values: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Split values into lists of `size`; the last may be shorter."""
    upcoming = iter(values)
    while batch := list(islice(upcoming, size)):
        yield batch
