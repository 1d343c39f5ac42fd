"""Publish a catalog, and withdraw the items that it does not have."""

import time
from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from streams.catalog_messages import CatalogItem, encode_item
from streams.clients.progress import Show
from streams.errors import UserError
from streams.kafka.client import producer_config
from streams.kafka.follower import Follower
from streams.settings import Settings

DELIVERY_TIMEOUT_S = 30
READ_TIMEOUT_S = 120
MOST_WITHDRAWN = 0.5
"""Share of the published items that is withdrawn without being asked for again."""


class TooManyMissing(UserError):
    """A file lacks most of what is published."""


class CatalogProducer:
    """Publishes items and withdrawals, and counts what Kafka acknowledged."""

    def __init__(self, settings: Settings) -> None:
        self._topic = settings.topic("catalog")
        self._producer = Producer(
            producer_config(
                settings,
                **{
                    "linger.ms": 20,
                    "message.timeout.ms": DELIVERY_TIMEOUT_S * 1000,
                    "on_delivery": self._report,
                    "log_level": 2,  # failures are counted, and the first reason is kept
                    "error_cb": lambda error: None,
                },
            )
        )
        self.delivered = self.failed = 0
        self.reason: str | None = None
        """Why the first record failed."""

    def send(self, item: str, value: bytes | None) -> None:
        """Pass a record to the Kafka client, waiting while its buffer is full."""
        while self.delivered or not self.failed:  # else Kafka is not there
            try:
                self._producer.produce(self._topic, value, item, 0)
                self._producer.poll(0)
                return
            except BufferError:
                self._producer.poll(0.1)
            except KafkaException as error:  # refused before it was sent
                self._fail(error.args[0])
                return
        self.failed += 1

    def flush(self) -> None:
        """Wait until every record is delivered or has failed."""
        self._producer.flush(DELIVERY_TIMEOUT_S + 5)

    def _report(self, error: KafkaError | None, message: Any) -> None:
        if error is None:
            self.delivered += 1
        else:
            self._fail(error)

    def _fail(self, error: KafkaError) -> None:
        self.failed += 1
        self.reason = self.reason or error.str()


def published(settings: Settings) -> dict[str, bytes]:
    """A hash of the current record of each published item.  `TimeoutError` if it cannot be read."""
    hashes: dict[str, bytes] = {}

    def take(key: bytes, value: bytes | None, offset: int, stamp: int) -> None:
        item = key.decode(errors="surrogateescape")
        if value is None:
            hashes.pop(item, None)
        else:
            hashes[item] = _hash(value)

    follower = Follower(settings, "catalog", take)
    follower.start()
    try:
        end = time.monotonic() + READ_TIMEOUT_S
        while not follower.caught_up:
            if time.monotonic() > end:
                raise TimeoutError(f"{settings.topic('catalog')} could not be read within {READ_TIMEOUT_S} s")
            time.sleep(0.05)
    finally:
        follower.stop()
    return hashes


def publish_items(
    items: Iterable[CatalogItem], producer: CatalogProducer, show: Show, known: dict[str, bytes]
) -> set[str]:
    """Publish the items, but for those that are `known` as they are; returns the ids of all."""
    ids: set[str] = set()

    def summary() -> str:
        return f"{len(ids):,} items read, {producer.delivered:,} delivered, {producer.failed:,} failed"

    for item in items:
        value = encode_item(item)
        ids.add(item.item)
        if known.get(item.item) != _hash(value):
            producer.send(item.item, value)
        show(summary)
    return ids


def missing(known: dict[str, bytes], ids: set[str], most: bool) -> list[str]:
    """Published items that a file lacks; `TooManyMissing` if that is most of them, unless `most` is set."""
    lacking = sorted(known.keys() - ids)
    if len(lacking) > MOST_WITHDRAWN * len(known) and not most:
        raise TooManyMissing(
            f"the file lacks {len(lacking):,} of {len(known):,} published items, so nothing is withdrawn;"
            " if that is meant, add --withdraw-most"
        )
    return lacking


def _hash(value: bytes) -> bytes:
    return blake2b(value, digest_size=8).digest()
