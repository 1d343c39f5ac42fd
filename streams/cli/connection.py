"""Connect to Kafka, or say why it cannot be used."""

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from streams.settings import Settings

ANSWER_TIMEOUT_S = 10.0
"""How long Kafka has to answer before it counts as not running."""


def connect(brokers: str | None, *topics: str) -> "Settings":
    """The settings, once Kafka answers and has these topics (short names).

    `click.ClickException` says what to do where it does not answer or lacks one.
    """
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    from streams.kafka.client import confluent
    from streams.settings import load

    overrides: dict[str, Any] = {} if brokers is None else {"brokers": brokers}
    settings = load(**overrides)
    client = AdminClient(confluent(settings, log_level=0, error_cb=lambda error: None))
    try:
        existing = client.list_topics(timeout=ANSWER_TIMEOUT_S).topics
    except KafkaException as error:
        raise click.ClickException(
            f"Kafka does not answer at {settings.brokers} ({error.args[0].str()}): is it running?"
            " Set FRESHET_BROKERS or --brokers"
        ) from None
    missing = [settings.topic(name) for name in topics if settings.topic(name) not in existing]
    if missing and not settings.embedded:
        raise click.ClickException(f"topic {missing[0]} does not exist: `freshet topics` creates it")
    return settings
