"""Records with header names of any bytes are read, compressed or not, and those around them as ever."""

import struct

import pytest
from aiokafka.consumer.fetcher import READ_COMMITTED, PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.record.util import calc_crc32c
from aiokafka.structs import TopicPartition

from streams.kafka.header_names import TolerantRecords
from tests.raw_batch import CODECS, batch

GOOD = (b"k", b"v", [(b"replay", b"5"), ("tänt".encode(), None)])
ODD = (b"k", b"odd", [(b"replay", b"5"), (b"\xff\xfe", b"x"), (b"", b"")])
ABORT = (b"\0\0\0\0", b"\0\0\0\0\0\0", [])
"""The marker that ends an aborted transaction."""


def read(data, after=0, aborted=None):
    """What the fetcher makes of the data of a fetch, from an offset on."""
    records, tp = TolerantRecords(data), TopicPartition("events", 0)
    unpacked = PartitionRecords(tp, records, aborted, after, None, None, True, READ_COMMITTED)
    read = [(record.offset, record.value, record.headers) for record in unpacked]
    return read, unpacked.next_fetch_offset


@pytest.mark.parametrize("codec", CODECS)
def test_a_record_with_an_odd_header_name_is_read_with_those_around_it(codec):
    second = batch([GOOD, ODD, GOOD], 7, codec, base_offset=3) + batch([ODD], 7, codec, base_offset=6)
    records, end = read(batch([GOOD] * 3, 7, codec) + second)
    good = (("replay", b"5"), ("tänt", None))
    odd = (("replay", b"5"), ("\\xff\\xfe", b"x"), ("", b""))
    assert [offset for offset, _, _ in records] == list(range(7))
    assert [value for _, value, _ in records] == [b"v"] * 4 + [b"odd", b"v", b"odd"]
    assert [headers for _, _, headers in records] == [good] * 4 + [odd, good, odd]
    assert end == 7
    assert [offset for offset, _, _ in read(second, after=5)[0]] == [5, 6], "a fetch begins inside a batch"
    for _, _, headers in records:
        assert all(name.encode() is not None for name, _ in headers), "names can be written again"


def test_a_batch_that_is_cut_is_left_for_the_next_fetch():
    whole, cut = batch([ODD], 7), batch([ODD], 7, base_offset=1)[:-1]
    records = TolerantRecords(whole + cut)
    assert [record.offset for record in records.next_batch()] == [0]
    assert not records.has_next()
    assert records.next_batch() is None
    assert records.size_in_bytes() == len(whole + cut)


def test_batches_of_the_formats_before_headers_are_left_alone():
    old = LegacyRecordBatchBuilder(magic=1, compression_type=0, batch_size=1000)
    old.append(0, timestamp=5, key=b"k", value=b"old")
    assert read(bytes(old.build())) == ([(0, b"old", ())], 1)


def test_what_is_damaged_still_raises():
    data = bytearray(batch([GOOD, ODD], 7))
    data[-1] ^= 1
    with pytest.raises(CorruptRecordException, match="CRC"):
        read(bytes(data))


def test_an_aborted_transaction_is_left_out_odd_names_or_not():
    begun = transactional(batch([ODD, GOOD], 7), producer=9)
    marker = transactional(batch([ABORT], 7, base_offset=2), producer=9, control=True)
    data = begun + marker + batch([ODD], 7, base_offset=3)
    assert [offset for offset, _, _ in read(data, aborted=[(9, 0)])[0]] == [3]
    assert [offset for offset, _, _ in read(data)[0]] == [0, 1, 3], "not aborted: only the marker is left out"


def transactional(data: bytes, producer: int, control: bool = False) -> bytes:
    """The batch as one of a transaction."""
    changed = bytearray(data)
    changed[22] |= 0x10 | (0x20 if control else 0)
    changed[43:51] = struct.pack(">q", producer)
    changed[17:21] = struct.pack(">I", calc_crc32c(bytes(changed[21:])))
    return bytes(changed)
