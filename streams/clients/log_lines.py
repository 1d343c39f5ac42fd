"""The lines of a file of rows: plain or gzip, from a path or from stdin."""

import gzip
import io
import os
import re
import sys
import zlib
from collections.abc import Iterable
from typing import Any, BinaryIO, NamedTuple

from streams.clients.log_errors import BadLog


class Lines(NamedTuple):
    """A file that was opened."""

    first: str
    """The first line."""
    rest: Iterable[str]
    file: BinaryIO


def open_lines(source: str | BinaryIO) -> Lines:
    """Open a path, `-` for stdin, or a binary file; `BadLog` where it has no lines of rows.

    What is not UTF-8 is decoded with `surrogateescape`.
    """
    file = _open(source)
    lines = io.TextIOWrapper(_unzipped(file), encoding="utf-8-sig", errors="surrogateescape", newline="")
    try:
        first = lines.readline()
    except (OSError, EOFError, zlib.error) as error:
        raise BadLog(f"cannot be read: {error}") from None
    if not first.strip():
        raise BadLog("is empty")
    if "\0" in first:
        raise BadLog("is not text: expected CSV or JSON lines, plain or gzip")
    if _ARRAY.match(first):
        raise BadLog("is one JSON array: expected one object a line, as `jq -c '.[]' FILE` writes them")
    return Lines(first, lines, file)


def fraction(file: BinaryIO) -> float | None:
    """How much of a file is read, 0 to 1; None where its size is not known."""
    if not isinstance(file, io.BufferedReader):
        return None
    if file.closed:
        return 1.0
    size = os.fstat(file.fileno()).st_size
    return min(1.0, file.tell() / size) if size else None


_ARRAY = re.compile(r"\s*\[\s*(\{|$)")


def _open(source: str | BinaryIO) -> BinaryIO:
    if not isinstance(source, str):
        return source
    try:
        return sys.stdin.buffer if source == "-" else open(source, "rb")
    except OSError as error:
        raise BadLog(f"cannot be opened: {error.strerror}") from None


def _unzipped(file: BinaryIO) -> Any:
    peekable: Any = file
    if not hasattr(file, "peek"):
        peekable = io.BufferedReader(peekable)
    return gzip.GzipFile(fileobj=peekable) if peekable.peek(2)[:2] == b"\x1f\x8b" else peekable
