"""The latest records of a topic, read when somebody asks."""

import time

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from streams.kafka.client import consumer_config, is_no_record
from streams.settings import Settings


def latest(settings: Settings, topic: str, count: int, patience_s: float) -> list[Message]:
    """About the latest `count` records, as many of each partition, in its order; blocks.

    `KafkaException` if Kafka does not answer.  What is not read within `patience_s` is left out.
    """
    consumer = Consumer(consumer_config(settings, **{"enable.partition.eof": True, "log_level": 0}))
    try:
        name = settings.topic(topic)
        there = consumer.list_topics(name, patience_s).topics[name].partitions
        partitions = [TopicPartition(name, number) for number in there]
        for one in partitions:
            low, high = consumer.get_watermark_offsets(one, patience_s)
            one.offset = max(low, high - -(-count // len(partitions)))
        consumer.assign(partitions)
        found: list[Message] = []
        ended, until = set(), time.monotonic() + patience_s
        while len(ended) < len(partitions) and time.monotonic() < until:
            for message in consumer.consume(500, 0.1):
                if not is_no_record(message):
                    found.append(message)
                elif message.error().code() == KafkaError._PARTITION_EOF:
                    ended.add(message.partition())
        return found
    finally:
        consumer.close()
