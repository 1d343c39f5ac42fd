"""An Apache-Kafka-compatible broker inside this process: librdkafka's mock cluster.

For the demo and for tests without Java.  It lives in memory, keeps 100,000 records or 5 MiB a
partition and cuts older ones, makes every topic with 4 partitions when it is first asked for, and
neither compacts nor fences.  Nothing for production.
"""

from confluent_kafka import Producer

PARTITIONS = 4
"""What librdkafka's mock gives each topic."""


class EmbeddedBroker:
    """Starts with the object and ends with it; `brokers` is its address on loopback."""

    def __init__(self) -> None:
        self._cluster = Producer({"bootstrap.servers": "mock", "test.mock.num.brokers": 1, "log_level": 3})
        metadata = self._cluster.list_topics(timeout=10)
        self.brokers = ",".join(f"{b.host}:{b.port}" for b in metadata.brokers.values())

    def create(self, *topics: str) -> None:
        """Have these topics made now, so that consumers find them."""
        for topic in topics:
            self._cluster.list_topics(topic, timeout=10)
