"""Dead letters: a record as it came, unless it is too large, and the headers that it had before."""

from collections.abc import Sequence

from streams.messages import DeadLetter
from streams.step.writes import Headers

WHOLE_BYTES = 1_000_000
"""Size up to which every record is kept whole: just below Kafka's default limit of a record batch."""
CUT_BYTES = 65_536
"""What remains of the key, of the value and of the headers of a larger record, at most, each."""
HEADER_BYTES = 16
"""Size of a header beside its name and value, at most."""
DETAIL_LENGTH = 1000
"""Characters of a dead letter's detail."""

MOST_BATCH_BYTES = 128 * 1024 * 1024
"""Records of a compressed batch that is read, uncompressed; a producer's default is a megabyte compressed."""
UNREAD = b"a compressed batch of records that is too large to be read"
"""Value of the one record that stands for a larger one."""

Parts = tuple[bytes | None, bytes | None, Headers]
"""Key, value, headers."""


def fitted(key: bytes | None, value: bytes | None, headers: Headers, most: int) -> tuple[Parts, str]:
    """A record that fits into the topic `dead-letter`, and the names of the parts that were cut.

    A record of at most `most` bytes, or at most `WHOLE_BYTES`, is left as it is: it can be sent again.  Of a
    larger one the first `CUT_BYTES` of each part remain: the topic has a limit that a record on `events`
    may exceed, also because Kafka applies it to the compressed size.

    >>> fitted(b"ann", b"x" * 2_000_000, [], 65_536)[1]
    'value'
    """
    size = len(key or b"") + len(value or b"") + sum(map(_size, headers))
    if size <= max(most, WHOLE_BYTES):
        return (key, value, headers), ""
    kept, room = [], CUT_BYTES
    for header in headers:
        room -= _size(header)
        if room < 0:
            break
        kept.append(header)
    parts = (key and key[:CUT_BYTES], value and value[:CUT_BYTES], kept)
    named = zip(("key", "value", "headers"), (key, value, headers), parts, strict=True)
    return parts, ", ".join(name for name, before, after in named if before != after)


def own_headers(headers: Sequence[tuple[str, bytes | None]]) -> Headers:
    """The headers that a dead letter's record had: all but the last of each name that Freshet adds.

    >>> own_headers([("reason", b"sale"), ("replay", b"5"), ("reason", b"empty")])
    [('reason', b'sale'), ('replay', b'5')]
    """
    added, own = set(DeadLetter.__struct_fields__), []
    for name, value in reversed(headers):
        if name in added:
            added.remove(name)
        else:
            own.append((name, value))
    return own[::-1]


def _size(header: tuple[str, bytes | None]) -> int:
    name, value = header
    return len(name.encode()) + len(value or b"") + HEADER_BYTES
