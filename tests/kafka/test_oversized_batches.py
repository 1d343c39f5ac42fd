"""A batch that would fill the memory is one record that says so; batches around it are read as ever."""

import pytest

from streams.kafka.oversized_batches import is_oversized
from streams.step.dead_letters import MOST_BATCH_BYTES, UNREAD
from tests.kafka.test_header_names import read
from tests.raw_batch import CODECS, batch

GOOD = (b"k", b"v", [])
HUGE = (b"k", bytes(MOST_BATCH_BYTES), [])


@pytest.mark.parametrize("codec", ["gzip", "lz4", "zstd"])
def test_an_oversized_batch_stands_between_two_that_are_read(codec):
    data = batch([GOOD, GOOD], 7, codec) + batch([GOOD, HUGE, GOOD], 9, codec, base_offset=2)
    records, end = read(data + batch([GOOD], 7, codec, base_offset=5))
    assert records == [(0, b"v", ()), (1, b"v", ()), (4, UNREAD, ()), (5, b"v", ())]
    assert end == 6


@pytest.mark.parametrize("codec", CODECS)
def test_the_limit_is_of_what_is_uncompressed(codec):
    plain = bytes(100_000)
    compressed = memoryview(bytes(CODECS[codec](plain)))
    number = list(CODECS).index(codec)
    assert not is_oversized(number, compressed, 100_000)
    assert is_oversized(number, compressed, 99_999) == (codec in ("gzip", "lz4", "zstd"))


@pytest.mark.parametrize("number", range(8))
def test_what_is_damaged_is_not_oversized(number):
    assert not is_oversized(number, memoryview(b"damaged" * 100), 10)
