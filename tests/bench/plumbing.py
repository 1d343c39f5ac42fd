"""`streams/kafka` alone: chunks in, one value of 150 bytes a user, one constant answer an event, all durable.

    python -m tests.bench.plumbing BROKERS PREFIX FOLDER

No events are decoded and nobody is recommended to: what is left is what Kafka, RocksDB and the changelog
cost.  Exactness is paid for: each value holds the offset of the last event applied.
"""

import struct
import sys

import faust

from deploy.kafka import free_port
from streams.kafka.writer import BatchWriter
from streams.runtime.faust_app import make_app
from streams.settings import Settings
from streams.topics import COMPACTED, ROCKSDB, SERVING_APP, topics

OFFSET = struct.Struct(">q")
ANSWER = b'{"items":["item-0","item-1","item-2"],"padded":"%s"}' % (b"x" * 100)
FILLING = b"x" * 142


def plumbing(brokers: str, prefix: str, folder: str) -> faust.App:
    """The app."""
    settings = Settings(brokers=brokers, topic_prefix=prefix, data_dir=folder, web_port=free_port())
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    app = make_app(SERVING_APP, settings, chunk_topics=("events",))
    raw = {"key_type": bytes, "value_type": bytes, "partitions": settings.partitions}
    events = app.topic(settings.topic("events"), key_serializer="raw", value_serializer="raw", **raw)
    users = app.Table("users", extra_topic_configs=COMPACTED, options=dict(ROCKSDB), **raw)
    writer = BatchWriter(app, users, topics(settings))

    @app.agent(events, name="plumbing")
    async def answer(stream):  # type: ignore[no-untyped-def]
        stream = stream.noack()
        async for _ in stream:
            event = stream.current_event
            changed = {tp.partition: {} for tp in event.message.ends}
            answers = {partition: [] for partition in changed}
            for record in event.message.chunk:
                values = changed[record.partition]
                stored = values.get(record.key) or writer.get(record.partition, record.key)
                if stored and OFFSET.unpack_from(stored)[0] >= record.offset:
                    continue
                values[record.key] = OFFSET.pack(record.offset) + FILLING
                answers[record.partition].append((record.key, ANSWER, []))
            await writer.write(stream, event, changed, {"recommendations": answers})

    return app


if __name__ == "__main__":
    made = plumbing(*sys.argv[1:])
    faust.Worker(made, loglevel="WARN").execute_from_commandline()
