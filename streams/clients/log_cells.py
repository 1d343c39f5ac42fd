"""The cells of a text table: delimiter, quotes, and rows that are not like the first.

Quotes around a cell are not part of it, with two exceptions: where the delimiter has several characters, and
where it is a tab, unless all cells of the first line are in quotes.
"""

import csv
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from itertools import chain

from streams.clients.log_errors import BadLog, BadRow

DELIMITERS = (",", "\t", ";", "|", "::")
"""Delimiters that are recognised, the first line's most frequent one."""

Row = tuple[int, int, list[str]]
"""The numbers of the first and the last line of a row, and its cells."""


def find_delimiter(first: str) -> str:
    """The delimiter of a table, from its first line.

    >>> find_delimiter("user|item|time"), find_delimiter("7::31::3::881250949")
    ('|', '::')
    """
    return max(DELIMITERS, key=first.count)


def read_cells(
    first: str, lines: Iterable[str], delimiter: str, on_bad: Callable[[BadRow], None]
) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of each row that has as many cells as the first.

    `BadLog` where the first line is not a row, and where the file breaks off.
    """
    split = _split_rows if len(delimiter) > 1 else _csv_rows
    width = line = 0

    def report(bad: BadRow) -> None:
        if not width:
            raise BadLog(f"has no valid first line: {bad.reason}")
        on_bad(bad)

    try:
        for start, line, row in split(chain([first], lines), delimiter, first, report):
            expected = width or len(row)
            if line > start and (len(row) != expected or _has_rows(row, delimiter)):
                report(_unclosed(start, line))
            elif len(row) != expected:
                if row:  # else an empty line, which is not a row
                    report(BadRow(line, f"has {len(row)} cells, expected {expected}"))
            elif not (text := "".join(row)).isascii() and not _is_utf8(text):
                report(BadRow(line, "is not UTF-8"))
            else:
                width = expected
                yield line, row
    except (OSError, EOFError, zlib.error) as error:
        raise BadLog(f"breaks off after line {line}: {error}") from None


def _csv_rows(
    lines: Iterable[str], delimiter: str, first: str, on_bad: Callable[[BadRow], None]
) -> Iterator[Row]:
    without_quotes = delimiter == "\t" and not all(map(_QUOTED.fullmatch, first.rstrip("\r\n").split("\t")))
    reader = csv.reader(
        lines,
        delimiter=delimiter,
        quoting=csv.QUOTE_NONE if without_quotes else csv.QUOTE_MINIMAL,
        skipinitialspace=delimiter != " ",
        strict=True,
    )
    before = 0
    while True:
        try:
            for row in reader:
                yield before + 1, reader.line_num, row
                before = reader.line_num
            return
        except csv.Error as error:  # the reader continues with the next line
            start, before = before + 1, reader.line_num
            on_bad(_unclosed(start, before) if before > start else BadRow(start, str(error)))


def _split_rows(
    lines: Iterable[str], delimiter: str, first: str, on_bad: Callable[[BadRow], None]
) -> Iterator[Row]:
    for number, line in enumerate(lines, 1):
        text = line.rstrip("\r\n")
        yield number, number, text.split(delimiter) if text else []


_QUOTED = re.compile(r'"[^"]*"')
_LINE_BREAK = re.compile(r"\r\n|\r|\n")


def _unclosed(start: int, end: int) -> BadRow:
    reason = f"a quote is not closed: lines {start} to {end} would be one row; write a quote in a cell twice"
    return BadRow(start, reason, end - start + 1)


def _has_rows(row: list[str], delimiter: str) -> bool:
    """Whether a cell of several lines has a line with as many delimiters as a row has.

    It is then the rest of a table after a quote that is not closed, not a text in quotes.
    """
    between = len(row) - 1
    for n, cell in enumerate(row):
        parts = _LINE_BREAK.split(cell)[1:]
        if any(part.count(delimiter) == between for part in parts[:-1]):
            return True
        if parts and parts[-1].count(delimiter) == n:  # beside the cells after it
            return True
    return False


def _is_utf8(text: str) -> bool:
    """Whether it was UTF-8 before it was decoded with `surrogateescape`."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
