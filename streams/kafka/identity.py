"""What local state belongs to: a cluster, a prefix and the topics that offsets are kept of.

A topic that is deleted and created again has another id, and offsets of the former one mean nothing in it.
"""

from pathlib import Path

import msgspec
from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from streams.kafka.client import METADATA_TIMEOUT_S, confluent
from streams.settings import Settings
from streams.topics import USERS_CHANGELOG

LAYOUT = 1
"""Version of what a worker's folder holds."""
FILE = "identity.json"


class Identity(msgspec.Struct, frozen=True):
    """What the state in a folder belongs to; an id that the broker does not tell is empty, and fits any."""

    layout: int
    cluster: str
    prefix: str
    events: str = ""
    """Id of the topic whose offsets the users hold."""
    changelog: str = ""
    """Id of the changelog when this was written; what counts is the one that each store holds."""
    model: str = ""
    """Id of the topic whose offset the copy of the model holds."""


class Comparison(msgspec.Struct, frozen=True):
    """What of a folder is of no use; at most one of the three is set."""

    everything: str = ""
    """Why nothing of it can be used."""
    model: str = ""
    """Why the copy of the model cannot be used."""
    refusal: str = ""
    """Why a worker must not start: what is in Kafka does not fit together."""


def identify(settings: Settings) -> Identity:
    """The identity that Kafka gives; `KafkaException` if it does not answer.

    The embedded broker has no ids of topics, and a cluster id of its own each time.
    """
    admin = AdminClient(confluent(settings, log_level=4))
    cluster = admin.list_topics(timeout=METADATA_TIMEOUT_S).cluster_id or ""
    ids = {} if settings.embedded else topic_ids(admin, settings, "events", USERS_CHANGELOG, "model")
    return Identity(
        LAYOUT, cluster, settings.topic_prefix,
        ids.get("events", ""), ids.get(USERS_CHANGELOG, ""), ids.get("model", ""),
    )  # fmt: skip


def topic_ids(admin: AdminClient, settings: Settings, *names: str) -> dict[str, str]:
    """Id by short name, of the topics that exist."""
    full = {settings.topic(name): name for name in names}
    answers = admin.describe_topics(TopicCollection(list(full)), request_timeout=METADATA_TIMEOUT_S)
    ids = {}
    for topic, answer in answers.items():
        try:
            ids[full[topic]] = str(answer.result().topic_id)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise
    return ids


def folder_name(identity: Identity) -> str:
    """The folder of a deployment, below `data_dir`.

    >>> folder_name(Identity(1, "MkU3OEVBNTcwNTJENDM2Qg", "trial-"))
    'trial-@MkU3OEVBNTcwNTJENDM2Qg'
    """
    return f"{identity.prefix}@{identity.cluster}"


def compare(saved: Identity, current: Identity) -> Comparison:
    """What of the state of `saved` can be used now.

    The changelog alone may be another one: its users are merged with those of the stores.

    >>> now = Identity(1, "c", "", events="e", changelog="l", model="m")
    >>> compare(now, now) == Comparison()
    True
    >>> compare(Identity(0, "c", "", events="e"), now).everything
    'it has layout 0, not 1'
    >>> compare(Identity(1, "c", "", events="e", changelog="l", model="old"), now).model
    'the topic model was recreated'
    """
    for name in ("layout", "cluster", "prefix"):
        before, after = getattr(saved, name), getattr(current, name)
        if before != after:
            return Comparison(everything=f"it has {name} {before}, not {after}")
    differ = {
        name
        for name in ("events", "changelog", "model")
        if getattr(saved, name) and getattr(current, name) and getattr(saved, name) != getattr(current, name)
    }
    if {"events", "changelog"} <= differ:
        return Comparison(everything="the topics events and users changelog were recreated")
    if "events" in differ:
        return Comparison(refusal="was recreated, and the users changelog holds offsets of the former one")
    return Comparison(model="the topic model was recreated" if "model" in differ else "")


def read(folder: Path) -> Identity | None:
    """The identity that a folder has; None if it has none or an unreadable one."""
    try:
        return msgspec.json.decode((folder / FILE).read_bytes(), type=Identity)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None


def write(folder: Path, identity: Identity) -> None:
    """Give a folder its identity, whole or not at all."""
    new = folder / f"{FILE}.new"
    new.write_bytes(msgspec.json.encode(identity))
    new.replace(folder / FILE)
