"""Record batches that client libraries refuse to make: header names of any bytes, any record time."""

import gzip
import socket
import struct
from collections.abc import Sequence

from aiokafka.codec import lz4_encode, snappy_encode, zstd_encode
from aiokafka.record.util import calc_crc32c, encode_varint

CODECS = {
    "none": bytes,
    "gzip": gzip.compress,
    "snappy": snappy_encode,
    "lz4": lz4_encode,
    "zstd": zstd_encode,
}
"""Compression by name, in the order of Kafka's numbers."""

RawRecord = tuple[bytes | None, bytes | None, Sequence[tuple[bytes, bytes | None]]]
"""Key, value, headers with names of any bytes."""


def batch(records: Sequence[RawRecord], time_ms: int, codec: str = "none", base_offset: int = 0) -> bytes:
    """A batch of format 2 whose records all have the time `time_ms`."""
    plain = b"".join(_record(offset, record) for offset, record in enumerate(records))
    count, attributes = len(records), list(CODECS).index(codec)
    fields = struct.pack(">hiqqqhii", attributes, count - 1, time_ms, time_ms, -1, -1, -1, count)
    body = fields + CODECS[codec](plain)
    inner = struct.pack(">ibI", -1, 2, calc_crc32c(body)) + body
    return struct.pack(">qi", base_offset, len(inner)) + inner


def produce(
    brokers: str, topic: str, partition: int, records: Sequence[RawRecord], time_ms: int, codec: str = "none"
) -> int:
    """Send a batch, by version 7 of the request, and return the offset of its first record."""
    data, name = batch(records, time_ms, codec), topic.encode()
    request = struct.pack(">hhih4shhi", 0, 7, 1, 4, b"test", -1, -1, 10_000)
    request += struct.pack(">ih", 1, len(name)) + name + struct.pack(">iii", 1, partition, len(data)) + data
    host, port = brokers.split(":")
    with socket.create_connection((host, int(port)), 10) as connection:
        connection.sendall(struct.pack(">i", len(request)) + request)
        (size,) = struct.unpack(">i", connection.recv(4, socket.MSG_WAITALL))
        answer = connection.recv(size, socket.MSG_WAITALL)
    _, error, offset = struct.unpack_from(">ihq", answer, 4 + 4 + 2 + len(name) + 4)
    assert error == 0, f"Kafka refused the batch: error {error}"
    return int(offset)


def _record(offset: int, record: RawRecord) -> bytes:
    key, value, headers = record
    body = b"\0" + _varint(0) + _varint(offset) + _bytes(key) + _bytes(value) + _varint(len(headers))
    body += b"".join(_bytes(name) + _bytes(header) for name, header in headers)
    return _varint(len(body)) + body


def _bytes(data: bytes | None) -> bytes:
    return _varint(-1) if data is None else _varint(len(data)) + data


def _varint(number: int) -> bytes:
    data = bytearray()
    encode_varint(number, data.append)
    return bytes(data)
