"""Read topics as any consumer would: committed records only, in the order of their offsets."""

from typing import NamedTuple

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, TopicPartition

TIMEOUT_S = 15


class Record(NamedTuple):
    """A record of a topic."""

    partition: int
    offset: int
    time: int
    """Kafka's timestamp, ms."""
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


def read(brokers: str, topic: str, headers: bool = False) -> list[Record]:
    """The committed records that are in a topic now, each partition in order; none of a missing topic.

    They have their headers only if these are asked for: of a header whose name is no UTF-8, confluent-kafka
    makes a null pointer.
    """
    config = {
        "bootstrap.servers": brokers,
        "group.id": "chaos",  # never joined
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "isolation.level": "read_committed",
        "fetch.message.max.bytes": 32 * 1024 * 1024,
        "receive.message.max.bytes": 200_000_000,
    }
    consumer, records, ended = Consumer(config), [], set()
    try:
        partitions = consumer.list_topics(topic, TIMEOUT_S).topics[topic].partitions
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in partitions])
        while len(ended) < len(partitions):
            for message in consumer.consume(5000, 0.2):
                if (error := message.error()) is None:
                    records.append(_record(message, headers))
                elif error.code() == KafkaError._PARTITION_EOF:
                    ended.add(message.partition())
    finally:
        consumer.close()
    return records


def end_offsets(brokers: str, topic: str) -> dict[int, int]:
    """Offset after the last record, by partition; empty for a missing topic."""
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": "chaos"})
    try:
        partitions = consumer.list_topics(topic, TIMEOUT_S).topics[topic].partitions
        assigned = [TopicPartition(topic, partition) for partition in partitions]
        return {tp.partition: consumer.get_watermark_offsets(tp, TIMEOUT_S)[1] for tp in assigned}
    finally:
        consumer.close()


def _record(message: Message, headers: bool) -> Record:
    return Record(
        message.partition(),
        message.offset(),
        message.timestamp()[1],
        message.key(),
        message.value(),
        tuple(message.headers() or ()) if headers else (),
    )  # fmt: skip
