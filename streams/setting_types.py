"""Types of settings that pydantic does not have."""

import math
import re
from typing import Annotated, Any

from pydantic import AfterValidator

from models.rerank.rules import make_rule


def _host_name(host: str) -> str:
    if not host or "/" in host or " " in host:
        raise ValueError("is not a host name or address")
    return host


def _brokers(text: str) -> str:
    servers = [server.strip() for server in text.split(",")]
    for server in servers:
        if "://" in server:
            raise ValueError(
                f"{server} names a protocol: expected host:port, and the protocol in security_protocol"
            )
        if not server or server.startswith(":"):
            raise ValueError("has an empty host: expected host:port[,host:port]")
    return ",".join(servers)


def _root_path(path: str) -> str:
    if not re.fullmatch(r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._~-]+)*/?", path):
        raise ValueError("is not a path such as /freshet")
    return path.removesuffix("/")


def _finite(value: Any) -> Any:
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _finite(part)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is not a finite number")
    return value


def _rules(settings: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
    for setting in settings:
        make_rule(setting)
    return settings


Brokers = Annotated[str, AfterValidator(_brokers)]
"""Kafka's bootstrap servers as both clients take them: without a protocol and blanks."""
HostName = Annotated[str, AfterValidator(_host_name)]
"""A host name or an address."""
RootPath = Annotated[str, AfterValidator(_root_path)]
"""A path of a URL, from the first slash, without a slash at the end; or empty."""
Parameters = Annotated[dict[str, dict[str, Any]], AfterValidator(_finite)]
"""Parameters by name, by what they are for; no number is NaN or infinite."""
RuleSettings = Annotated[tuple[dict[str, Any], ...], AfterValidator(_rules)]
"""Rules in their order, each with its name as `rule` and its parameters."""
