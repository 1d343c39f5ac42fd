"""Commands about what a cluster consists of: topics, settings, schema."""

import json
from typing import Any

import click

from streams.cli.connection import connect
from streams.cli.options import brokers, examples
from streams.errors import FAILURE


@click.command(epilog=examples("freshet topics", "freshet topics --check --brokers kafka:9092"))
@brokers
@click.option("--check", is_flag=True, help="Create nothing, only print the differences.")
def topics(brokers: str | None, check: bool) -> int:
    """Create missing topics and check all.

    Prints what differs from the settings; the exit code is 1 if anything does.
    """
    from streams.kafka.admin import create, differences

    settings = connect(brokers)
    for name in [] if check else create(settings):
        click.echo(f"created {name}")
    lines = differences(settings)
    for line in lines or ["all topics are as they should be"]:
        click.echo(line)
    return FAILURE if lines else 0


@click.command(epilog=examples("freshet settings", "FRESHET_PARTITIONS=24 freshet settings --json"))
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with the description of each setting.")
def settings(as_json: bool) -> None:
    """Print every setting and its origin.

    A line has the name, the origin and the value; of a secret only whether it is set.
    """
    from streams.setting_origins import origins
    from streams.settings import PREFIX, Settings, load

    current = load()
    origin, fields = origins(current), Settings.model_fields
    values = {name: _printable(getattr(current, name)) for name in fields}
    if as_json:
        described = {
            name: {"value": value, "origin": origin[name], "about": fields[name].description}
            for name, value in values.items()
        }
        click.echo(json.dumps(described, indent=2))
        return
    for name, value in values.items():
        text = value if isinstance(value, str) else json.dumps(value)
        click.echo(f"{PREFIX + name.upper():32} {origin[name]:12} {text}")


def _printable(value: Any) -> Any:
    if hasattr(value, "get_secret_value"):
        return "********"
    if isinstance(value, frozenset):
        return sorted(value)
    return value if value is None or isinstance(value, str | int | float | dict) else str(value)


@click.command(epilog=examples("freshet schema", "freshet schema events > events.schema.json"))
@click.argument("name", required=False)
def schema(name: str | None) -> None:
    """Print the JSON Schema of a topic's records.

    NAME is a topic; without it, the topics are listed.
    """
    from streams.schemas import RECORDS
    from streams.schemas import schema as schema_of

    if name is None:
        for topic, record in RECORDS.items():
            click.echo(f"{topic:16} {record.__doc__.splitlines()[0]}")
    elif name not in RECORDS:
        raise click.UsageError(f"unknown topic {name!r}: expected one of {', '.join(RECORDS)}")
    else:
        click.echo(json.dumps(schema_of(name), indent=2))
