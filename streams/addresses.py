"""Addresses in settings: `ValueError` says what is wrong with one, and what is expected."""


def host(text: str) -> str:
    """A host name or an address."""
    if not text or "/" in text or " " in text:
        raise ValueError("is not a host name or address")
    return text


def brokers(text: str) -> str:
    """Kafka's bootstrap servers, as both clients take them: without a protocol and blanks.

    >>> brokers("a:9092, b:9092")
    'a:9092,b:9092'
    """
    servers = [server.strip() for server in text.split(",")]
    for server in servers:
        if "://" in server:
            raise ValueError(
                f"{server} names a protocol: expected host:port, and the protocol in security_protocol"
            )
        if not server or server.startswith(":"):
            raise ValueError("has an empty host: expected host:port[,host:port]")
    return ",".join(servers)
