"""Configuration of both Kafka clients, confluent-kafka and Faust's, from the same settings."""

import ssl
from typing import Any

import faust
from confluent_kafka import KafkaError, KafkaException, Message

from streams.settings import Settings

METADATA_TIMEOUT_S = 30
"""Time that Kafka has to describe its topics."""
EMBEDDED_WAIT_MS = 50
"""Longest wait of a fetch from the embedded broker: what arrives meanwhile does not end it.  But each fetch
makes the broker walk through all batches that it holds of a partition, tens of thousands of them."""


def confluent(settings: Settings, **more: Any) -> dict[str, Any]:
    """Configuration of a confluent-kafka client; `more` is added to it.

    >>> confluent(Settings(brokers="kafka:9092"))["bootstrap.servers"]
    'kafka:9092'
    """
    config: dict[str, Any] = {
        "bootstrap.servers": settings.brokers,
        "security.protocol": settings.security_protocol,
        "ssl.ca.location": _text(settings.ssl_ca_file),
        "ssl.certificate.location": _text(settings.ssl_cert_file),
        "ssl.key.location": _text(settings.ssl_key_file),
    }
    if settings.security_protocol.startswith("SASL"):
        assert settings.sasl_password is not None  # Settings refuses otherwise
        config |= {
            "sasl.mechanism": settings.sasl_mechanism,
            "sasl.username": settings.sasl_username,
            "sasl.password": settings.sasl_password.get_secret_value(),
        }
    return {name: value for name, value in (config | more).items() if value is not None}


def producer_config(settings: Settings, **more: Any) -> dict[str, Any]:
    """Configuration of a producer: idempotent, and partitioned by key as Java's clients do."""
    safe = {} if settings.embedded else {"enable.idempotence": True}
    return confluent(settings, partitioner="murmur2_random", **safe, **more)


def consumer_config(settings: Settings, wait_ms: int = 100, **more: Any) -> dict[str, Any]:
    """Configuration of a consumer that is assigned its partitions and commits nothing.

    `wait_ms`: how long a fetch waits for records, at most.  Where there are none, the embedded broker always
    waits so long.
    """
    return confluent(
        settings,
        **{
            "group.id": settings.topic("freshet-reader"),  # asked for by librdkafka; never joined
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": min(wait_ms, EMBEDDED_WAIT_MS) if settings.embedded else wait_ms,
        }
        | more,
    )


PASSING = frozenset(
    {
        KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT, KafkaError._TIMED_OUT, KafkaError._RESOLVE,
        KafkaError.LEADER_NOT_AVAILABLE, KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.REQUEST_TIMED_OUT,
    }
)  # fmt: skip
"""Errors from which librdkafka recovers without help."""


def is_no_record(message: Message) -> bool:
    """Whether a message is not a record: the end of its partition, or an error that passes.

    `KafkaException` for an error that stays, such as a missing permission.
    """
    error = message.error()
    if error is None:
        return False
    if error.code() == KafkaError._PARTITION_EOF or error.code() in PASSING:
        return True
    raise KafkaException(error)


def is_end(message: Message) -> bool:
    """Whether a message says that the end of its partition is reached."""
    error = message.error()
    return error is not None and error.code() == KafkaError._PARTITION_EOF


def credentials(settings: Settings) -> Any:
    """Credentials for `faust.App(broker_credentials=...)`; None for plain text."""
    if settings.security_protocol == "PLAINTEXT":
        return None
    context = None
    if settings.security_protocol.endswith("SSL"):
        context = ssl.create_default_context(cafile=_text(settings.ssl_ca_file))
        if settings.ssl_cert_file:
            context.load_cert_chain(settings.ssl_cert_file, settings.ssl_key_file)
    if settings.security_protocol == "SSL":
        return faust.SSLCredentials(context=context)
    assert settings.sasl_password is not None
    return faust.SASLCredentials(
        ssl_context=context,
        mechanism=settings.sasl_mechanism,
        username=settings.sasl_username,
        password=settings.sasl_password.get_secret_value(),
    )


def faust_brokers(settings: Settings) -> list[str]:
    """The bootstrap servers as Faust's URLs."""
    return [f"kafka://{server}" for server in settings.brokers.split(",")]


def _text(path: Any) -> str | None:
    return None if path is None else str(path)
