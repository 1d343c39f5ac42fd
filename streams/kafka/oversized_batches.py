"""Compressed batches that are too large to be read: their records would fill the memory.

No broker limits what a batch takes uncompressed: a megabyte of zstd can be 30 GB.  A worker that reads it
ends, and the next one, too.
"""

from collections.abc import Iterator
from typing import Any

import cramjam
import numpy as np
from aiokafka.record.default_records import DefaultRecordBatch, _DefaultRecordPy

from streams.step.dead_letters import MOST_BATCH_BYTES, UNREAD

_CODECS: dict[int, tuple[Any, int]] = {
    DefaultRecordBatch.CODEC_GZIP: (cramjam.gzip, 1032),
    DefaultRecordBatch.CODEC_LZ4: (cramjam.lz4, 255),
    DefaultRecordBatch.CODEC_ZSTD: (cramjam.zstd, 1 << 15),
}
"""Module and about the highest ratio of each codec; snappy's is 21, so Kafka's limit of a batch is enough."""


def is_oversized(compression_type: int, records: memoryview, most_bytes: int = MOST_BATCH_BYTES) -> bool:
    """Whether the records of a batch take more than `most_bytes` uncompressed.

    >>> records = memoryview(bytes(cramjam.gzip.compress(bytes(1000))))
    >>> is_oversized(1, records, 999), is_oversized(1, records, 1000), is_oversized(0, records, 1)
    (True, False, False)
    """
    if compression_type not in _CODECS:
        return False
    codec, ratio = _CODECS[compression_type]
    if len(records) * ratio <= most_bytes:
        return False
    room = np.empty(most_bytes, np.uint8)  # the system provides the pages that are written
    try:
        codec.decompress_into(records, room)
    except cramjam.DecompressionError as error:  # others say that it is damaged: its reader will, too
        return "whole buffer" in str(error)
    return False


class OversizedBatch:
    """One record that stands for all of a batch, with the last offset of it and the value `UNREAD`."""

    def __init__(self, batch: DefaultRecordBatch) -> None:
        self._batch = batch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __iter__(self) -> Iterator[Any]:
        batch = self._batch
        yield _DefaultRecordPy(
            batch.next_offset - 1, batch.max_timestamp, batch.timestamp_type, None, UNREAD, []
        )
