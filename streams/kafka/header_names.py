"""Read records whose header names are not UTF-8.

Kafka's protocol calls a header's name a string, and no broker checks that it is one.  aiokafka refuses such a
record and with it all that come after: the partition would stand still.  confluent-kafka returns such headers
with a null pointer as name, and raises later or ends the process.
"""

from collections.abc import Iterator
from operator import methodcaller
from struct import Struct
from typing import Any

from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatch, _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords
from confluent_kafka import Message

from streams.kafka.oversized_batches import OversizedBatch, is_oversized

_LENGTH = Struct(">8xi")
"""Offset and length, with which each batch of a fetch begins."""
_HEADER_BYTES = _DefaultRecordBatchPy.HEADER_STRUCT.size


class TolerantRecords:
    """The batches that a fetch returned of a partition, as aiokafka's `MemoryRecords`."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0
        self._records = MemoryRecords(data)
        self.has_next, self.size_in_bytes = self._records.has_next, self._records.size_in_bytes

    def next_batch(self) -> Any:
        """The next batch; None: there is no other, or only a part of one."""
        batch = self._records.next_batch()
        if batch is None:
            return None
        start = self._at
        self._at += _LENGTH.size + _LENGTH.unpack_from(self._data, start)[0]
        if not isinstance(batch, DefaultRecordBatch):
            return batch  # of an older format, without headers
        data = memoryview(self._data)[start : self._at]
        if is_oversized(batch.compression_type, data[_HEADER_BYTES:]):
            return OversizedBatch(batch)
        return _TolerantBatch(batch, data)


class _TolerantBatch:
    """A batch that is read by aiokafka's compiled reader and, where that fails, by its reader in Python."""

    def __init__(self, batch: DefaultRecordBatch, data: memoryview) -> None:
        self._batch, self._data = batch, data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        return next(self._batch)

    def __iter__(self) -> Iterator[Any]:
        try:
            yield from self._batch
        except (CorruptRecordException, UnicodeDecodeError):
            # from the batch's first record: the fetcher skips those that it had
            yield from _batch_with_any_names(self._data)


class _Text(bytearray):
    r"""Bytes that are decoded with `\xff` for what is not UTF-8: text that can be written to Kafka again."""

    def decode(self, *_: Any, **__: Any) -> str:
        return super().decode("utf-8", "backslashreplace")


class _Buffer(bytearray):
    """The bytes of records, whose slices are `_Text`: the only slices that aiokafka decodes are names."""

    def __getitem__(self, at: Any) -> Any:
        part = super().__getitem__(at)
        return _Text(part) if isinstance(part, bytearray) else part


def _batch_with_any_names(data: memoryview) -> Iterator[Any]:
    batch = _DefaultRecordBatchPy(data)
    records: Iterator[Any] = iter(batch)  # uncompresses them
    batch._buffer = _Buffer(batch._buffer)
    return records


def accept_any_header_names() -> None:
    """Have the consumers of this process read records with header names of any bytes."""
    fetcher.MemoryRecords = TolerantRecords


_checked_headers = methodcaller("headers")
"""Calls `headers()` so that an exception is raised by this call: where a line of Python calls a compiled
function often, Python 3.11 does not look whether one is set beside the result."""


def headers(message: Message) -> list[tuple[str, bytes | None]] | None:
    """The headers of a record that confluent-kafka read; None where a name is not UTF-8."""
    try:
        return list(_checked_headers(message) or [])
    except SystemError:
        message.set_headers([])  # else the null pointer stays
        return None
