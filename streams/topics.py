"""Every topic once: what it holds, its key, partitions, retention and compaction.

`freshet topics` creates them (streams/kafka/admin.py), and every process checks them at start.
"""

from dataclasses import dataclass, replace

from models.units import HOUR_MS
from streams.settings import Settings

SERVING_APP, LEARNING_APP = "freshet-serving", "freshet-learning"
USERS_CHANGELOG = f"{SERVING_APP}-users-changelog"
"""The name that Faust gives to the table's changelog."""

STAMPED = {"message.timestamp.type": "LogAppendTime"}
"""Kafka stamps what workers and learners write: it refuses a stamp of a clock that is an hour ahead."""

COMPACTED = STAMPED | {
    "cleanup.policy": "compact",
    "segment.bytes": str(64 * 1024 * 1024),
    "min.cleanable.dirty.ratio": "0.2",
    "max.compaction.lag.ms": str(HOUR_MS),  # bounds what a restore reads
}

ROCKSDB = {
    # Faust's defaults are a 2 GiB cache and three buffers of 64 MB, for each partition
    "write_buffer_size": 8 * 1024 * 1024,
    "max_write_buffer_number": 2,
    "target_file_size_base": 64 * 1024 * 1024,
    # users who come often are in a buffer anyway; a larger cache only fills with blocks of deleted files
    "block_cache_size": 1024 * 1024,
    "max_open_files": 256,
}
"""RocksDB options of one partition of the users table."""


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic's name and configuration."""

    name: str
    """The full name, with the prefix."""
    key: str
    """What the key of its records is."""
    holds: str
    """What its records are."""
    partitions: int
    config: dict[str, str]
    urgent: bool = False
    """Whether its records are sent at once, outside of transactions; others gather for a group commit."""


def topics(settings: Settings) -> dict[str, Topic]:
    """Every topic by its short name; `Topic.name` has the prefix."""

    def retention(hours: float) -> dict[str, str]:
        return {"cleanup.policy": "delete", "retention.ms": str(int(hours * HOUR_MS))}

    by_user = settings.partitions
    table = (
        Topic(
            "events", "user id", "what users did", by_user, retention(settings.events_retention_h),
            urgent=True,
        ),
        Topic("catalog", "item id", "the shop's items: titles, stock, prices", 1, COMPACTED),
        Topic(
            "recommendations", "user id", "the current one of each user", by_user, COMPACTED, urgent=True
        ),
        Topic(
            "examples", "user id", "what the learner learns from", by_user,
            STAMPED | retention(settings.examples_retention_h),
        ),
        Topic(
            "dead-letter", "as it came", "records that could not be used", by_user,
            STAMPED
            | retention(settings.dead_letter_retention_h)
            | {"max.message.bytes": str(12 * 1024 * 1024)},
        ),
        Topic(
            "metrics", "process/span/slot", "what every process counted, for the pages", 1,
            COMPACTED | {"cleanup.policy": "compact,delete", "retention.ms": str(8 * 24 * HOUR_MS)},
        ),
        Topic("settings", "setting", "settings changed while workers run", 1, COMPACTED),
        Topic("model", "component/row", "the model's rows and checkpoints", 1, COMPACTED),
        Topic(USERS_CHANGELOG, "user id", "the users table, to restore it from", by_user, COMPACTED),
    )  # fmt: skip
    return {topic.name: replace(topic, name=settings.topic(topic.name)) for topic in table}
