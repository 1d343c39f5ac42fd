"""An Apache-Kafka-compatible broker inside this process: librdkafka's mock cluster.

For the demo and for tests without Java; not for production.  It lives in memory, keeps 100,000 records or
5 MiB a partition and cuts older ones, creates every topic with 4 partitions when a client first names it, and
neither compacts nor fences.
"""

from confluent_kafka import Producer

PARTITIONS = 4
"""Partitions that librdkafka's mock gives to each topic."""


class EmbeddedBroker:
    """Starts with the object and ends with it; `brokers` is its address on loopback."""

    def __init__(self) -> None:
        self._cluster = Producer({"bootstrap.servers": "mock", "test.mock.num.brokers": 1, "log_level": 3})
        metadata = self._cluster.list_topics(timeout=10)
        self.brokers = ",".join(f"{b.host}:{b.port}" for b in metadata.brokers.values())

    def create(self, *topics: str) -> None:
        """Create these topics now, so that consumers find them."""
        for topic in topics:
            self._cluster.list_topics(topic, timeout=10)
