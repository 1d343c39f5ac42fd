"""Produce records that client libraries refuse to make: header names of any bytes.

It speaks Kafka's protocol over a socket: Produce, version 3, with one record batch of version 2.
"""

import socket
import struct
from collections.abc import Sequence

NULL = b"\1"
"""The length -1 as a varint."""


class Refused(Exception):
    """Kafka did not take the records."""


def produce(
    address: str,
    topic: str,
    partition: int,
    key: bytes,
    value: bytes,
    headers: Sequence[tuple[bytes, bytes | None]],
    time_ms: int,
) -> int:
    """Produce one record, and return its offset; `Refused` if Kafka answers with an error."""
    name, batch = topic.encode(), _batch(_record(key, value, headers), time_ms)
    header = struct.pack(">hhih", 0, 3, 1, 5) + b"chaos"
    body = struct.pack(">hhii", -1, -1, 10_000, 1) + struct.pack(">h", len(name)) + name
    body += struct.pack(">iii", 1, partition, len(batch)) + batch
    host, _, port = address.partition(":")
    with socket.create_connection((host, int(port)), 10) as connection:
        connection.sendall(struct.pack(">i", len(header + body)) + header + body)
        (size,) = struct.unpack(">i", connection.recv(4, socket.MSG_WAITALL))
        answer = connection.recv(size, socket.MSG_WAITALL)
    at = 4 + 4 + 2 + len(name) + 4
    _, error, offset = struct.unpack(">ihq", answer[at : at + 14])
    if error:
        raise Refused(f"Kafka's error {error}")
    return int(offset)


def _batch(record: bytes, time_ms: int) -> bytes:
    body = struct.pack(">hiqqqhii", 0, 0, time_ms, time_ms, -1, -1, -1, 1) + record
    inner = struct.pack(">ib", -1, 2) + struct.pack(">I", _crc32c(body)) + body
    return struct.pack(">qi", 0, len(inner)) + inner


def _record(key: bytes, value: bytes, headers: Sequence[tuple[bytes, bytes | None]]) -> bytes:
    body = b"\0" + _varint(0) + _varint(0) + _sized(key) + _sized(value) + _varint(len(headers))
    for name, content in headers:
        body += _sized(name) + (NULL if content is None else _sized(content))
    return _sized(body)


def _sized(content: bytes) -> bytes:
    return _varint(len(content)) + content


def _varint(number: int) -> bytes:
    zigzag, encoded = number << 1, bytearray()
    while zigzag > 127:
        encoded.append(zigzag & 127 | 128)
        zigzag >>= 7
    encoded.append(zigzag)
    return bytes(encoded)


def _crc32c(content: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0x82F63B78 if crc & 1 else crc >> 1
    return crc ^ 0xFFFFFFFF
