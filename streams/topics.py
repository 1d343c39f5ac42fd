"""Every topic once: what it holds, its key, partitions, retention and compaction.

Faust does not create the topics that it reads, and a broker that does makes them with its own
partition count, against tables of ours: so they are made first, by `freshet topics`, and every
worker checks them at start.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from streams.kafka.client import confluent
from streams.settings import Settings

HOUR_MS = 3_600_000
SERVING_APP, LEARNING_APP = "freshet-serving", "freshet-learning"
USERS_CHANGELOG = f"{SERVING_APP}-users-changelog"
"""Faust names a table's changelog so."""

COMPACTED = {
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
    "block_cache_size": 16 * 1024 * 1024,
    "max_open_files": 256,
}
"""Of a partition of the users table."""


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as it should be."""

    name: str
    key: str
    holds: str
    partitions: int
    config: dict[str, str]


def topics(settings: Settings) -> dict[str, Topic]:
    """The topics by their short names; `Topic.name` has the prefix."""

    def kept(hours: float) -> dict[str, str]:
        return {"cleanup.policy": "delete", "retention.ms": str(int(hours * HOUR_MS))}

    by_user = settings.partitions
    found = (
        Topic("events", "user id", "what users did", by_user, kept(settings.events_retention_h)),
        Topic("recommendations", "user id", "the current one of each user", by_user, COMPACTED),
        Topic(
            "examples", "user id", "what the learner learns from", by_user,
            kept(settings.examples_retention_h),
        ),
        Topic(
            "dead-letter", "as it came", "records that could not be used", by_user,
            kept(settings.dead_letter_retention_h) | {"max.message.bytes": str(12 * 1024 * 1024)},
        ),
        Topic(
            "metrics", "process/span/slot", "what every process counted, for the pages", 1,
            COMPACTED | {"cleanup.policy": "compact,delete", "retention.ms": str(8 * 24 * HOUR_MS)},
        ),
        Topic("settings", "setting", "what was changed while workers run", 1, COMPACTED),
        Topic("model", "component/row", "the model's rows and checkpoints", 1, COMPACTED),
        Topic(USERS_CHANGELOG, "user id", "the users table, to restore it from", by_user, COMPACTED),
    )  # fmt: skip
    return {t.name: Topic(settings.topic(t.name), t.key, t.holds, t.partitions, t.config) for t in found}


START_ANEW = (
    "to start anew instead, delete all of Freshet's topics together and every worker's data folder, because"
    " users and model remember offsets, then run `freshet topics`"
)


class TopicsDiffer(Exception):
    """Topics that are not as they should be; the message has a line each and says how to mend it."""


def create(settings: Settings) -> list[str]:
    """Create the topics that are missing; returns their names.  `KafkaException` if a broker refuses."""
    admin = AdminClient(confluent(settings))
    there = admin.list_topics(timeout=15).topics
    missing = [t for t in topics(settings).values() if t.name not in there]
    if not missing:
        return []
    requests = [NewTopic(t.name, t.partitions, settings.replication, config=dict(t.config)) for t in missing]
    for future in admin.create_topics(requests, operation_timeout=30).values():
        try:
            future.result(60)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:  # another worker was faster
                raise
    names = [t.name for t in missing]
    for _ in range(100):  # until the broker that we ask has heard of them
        if set(names) <= set(admin.list_topics(timeout=15).topics):
            break
        time.sleep(0.1)
    return names


def differences(settings: Settings, only_partitions: bool = False) -> list[str]:
    """What is not as it should be, a line each, with how to mend it; empty when all is well."""
    admin = AdminClient(confluent(settings))
    there = admin.list_topics(timeout=15).topics
    wanted = topics(settings).values()
    lines = []
    for t in wanted:
        if t.name not in there:
            lines.append(f"{t.name}: is missing; `freshet topics` creates it")
            continue
        partitions = there[t.name].partitions
        if (count := len(partitions)) != t.partitions:
            mend = f"set FRESHET_PARTITIONS={count}; " if t.partitions == settings.partitions else ""
            lines.append(f"{t.name}: has {count} partitions, not {t.partitions}; {mend}{START_ANEW}")
        copies = min(len(partition.replicas) for partition in partitions.values())
        if copies < settings.replication and not only_partitions:
            lines.append(
                f"{t.name}: has {copies} replicas, not {settings.replication};"
                " mend it with kafka-reassign-partitions.sh"
            )
    if only_partitions:
        return lines
    return lines + list(_config_differences(admin, [t for t in wanted if t.name in there]))


def _config_differences(admin: AdminClient, wanted: list[Topic]) -> Iterable[str]:
    resources = {t.name: ConfigResource(ResourceType.TOPIC, t.name) for t in wanted}
    if not resources:
        return
    answers = admin.describe_configs(list(resources.values()))
    for t in wanted:
        found = answers[resources[t.name]].result(30)
        for name, value in t.config.items():
            if name in found and found[name].value != value:
                yield (
                    f"{t.name}: {name} is {found[name].value}, not {value}; mend it with"
                    f" kafka-configs.sh --alter --entity-type topics --entity-name {t.name}"
                    f" --add-config {name}={value}"
                )


def require(settings: Settings) -> None:
    """`TopicsDiffer` unless every topic is there with the right number of partitions."""
    if settings.embedded:  # topics appear by themselves there, with the partitions it was told
        return
    if lines := differences(settings, only_partitions=True):
        raise TopicsDiffer("\n".join(lines))
