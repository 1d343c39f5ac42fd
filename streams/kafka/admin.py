"""Create the topics, and check that they are as `streams.topics` declares them.

Faust does not create the topics that it reads, and a broker that creates them automatically gives them
its own partition count, which then differs from the tables'.  So `freshet topics` creates them first.
"""

import time
from collections.abc import Iterable

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its __init__ imports them without __all__
    AdminClient,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from streams.kafka.client import METADATA_TIMEOUT_S, confluent
from streams.settings import Settings
from streams.topics import Topic, topics

CREATE_TIMEOUT_S = 60

START_OVER = (
    "to start over instead, delete all of Freshet's topics together and every worker's data folder, because"
    " users and model remember offsets, then run `freshet topics`"
)


class TopicsDiffer(Exception):
    """Topics differ from what is expected; the message has a line for each, with how to fix it."""


def create(settings: Settings) -> list[str]:
    """Create the topics that are missing, and return their names.  `KafkaException` if a broker refuses."""
    admin = AdminClient(confluent(settings))
    existing = admin.list_topics(timeout=METADATA_TIMEOUT_S).topics
    missing = [t for t in topics(settings).values() if t.name not in existing]
    if not missing:
        return []
    requests = [NewTopic(t.name, t.partitions, settings.replication, config=dict(t.config)) for t in missing]
    for future in admin.create_topics(requests, operation_timeout=30).values():
        try:
            future.result(CREATE_TIMEOUT_S)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:  # another worker was faster
                raise
    names = [t.name for t in missing]
    for _ in range(100):  # until this broker's metadata lists them
        if set(names) <= set(admin.list_topics(timeout=METADATA_TIMEOUT_S).topics):
            break
        time.sleep(0.1)
    return names


def differences(settings: Settings, only_partitions: bool = False) -> list[str]:
    """Each difference from what is expected, with how to fix it, a line each; empty when there is none."""
    admin = AdminClient(confluent(settings))
    existing = admin.list_topics(timeout=METADATA_TIMEOUT_S).topics
    wanted = topics(settings).values()
    lines = []
    for t in wanted:
        if t.name not in existing:
            lines.append(f"{t.name}: is missing; `freshet topics` creates it")
            continue
        partitions = existing[t.name].partitions
        if (count := len(partitions)) != t.partitions:
            fix = f"set FRESHET_PARTITIONS={count}; " if t.partitions == settings.partitions else ""
            lines.append(f"{t.name}: has {count} partitions, not {t.partitions}; {fix}{START_OVER}")
        copies = min(len(partition.replicas) for partition in partitions.values())
        if copies < settings.replication and not only_partitions:
            lines.append(
                f"{t.name}: has {copies} replicas, not {settings.replication};"
                " fix it with kafka-reassign-partitions.sh"
            )
    if only_partitions:
        return lines
    return lines + list(_config_differences(admin, [t for t in wanted if t.name in existing]))


def _config_differences(admin: AdminClient, wanted: list[Topic]) -> Iterable[str]:
    resources = {t.name: ConfigResource(ResourceType.TOPIC, t.name) for t in wanted}
    if not resources:
        return
    answers = admin.describe_configs(list(resources.values()))
    for t in wanted:
        current = answers[resources[t.name]].result(30)
        for name, value in t.config.items():
            if name in current and current[name].value != value:
                yield (
                    f"{t.name}: {name} is {current[name].value}, not {value}; fix it with"
                    f" kafka-configs.sh --alter --entity-type topics --entity-name {t.name}"
                    f" --add-config {name}={value}"
                )


def require(settings: Settings) -> None:
    """`TopicsDiffer` unless every topic is there with the right number of partitions."""
    if settings.embedded:  # that broker creates topics on first use, all with the same partitions
        return
    if lines := differences(settings, only_partitions=True):
        raise TopicsDiffer("\n".join(lines))
