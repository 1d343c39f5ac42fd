r"""Text from outside, made safe to print: an id may hold escape sequences and line breaks.

>>> printable("\x1b[31mred\nline")
'\\x1b[31mred\\x0aline'
"""

import re

_BIDIRECTIONAL = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
"""Characters that change the order in which a terminal shows those after them."""
_LINE_SEPARATORS = (0x2028, 0x2029)
_SURROGATES = range(0xD800, 0xE000)
"""Bytes that were not UTF-8, and halves of characters: they cannot be written at all."""
_CONTROL = (*range(0x20), *range(0x7F, 0xA0))
_ESCAPES = {code: f"\\x{code:02x}" for code in _CONTROL} | {
    code: f"\\u{code:04x}" for code in (*_BIDIRECTIONAL, *_LINE_SEPARATORS, *_SURROGATES)
}
_ESCAPES_IN_LINES = {code: escape for code, escape in _ESCAPES.items() if chr(code) not in "\n\t"}
_RAW_IN_JSON = re.compile(rb"\x7f|\xc2[\x80-\x9f]|\xe2(?:\x80[\xa8-\xae]|\x81[\xa6-\xa9])")
"""The same characters in UTF-8, of those that JSON does not escape by itself."""


def printable(text: str) -> str:
    """The text on one line, with control characters written as escapes."""
    return text if text.isprintable() else text.translate(_ESCAPES)


def printable_lines(text: str) -> str:
    """The same, but line breaks and tabs stay: for a text of our own that quotes others."""
    return text if text.isprintable() else text.translate(_ESCAPES_IN_LINES)


def printable_json(json: bytes) -> bytes:
    r"""The same JSON, with control characters as JSON's own escapes.

    >>> printable_json(b'{"item":"\xc2\x9b31m"}')
    b'{"item":"\\u009b31m"}'
    """
    return _RAW_IN_JSON.sub(lambda match: b"\\u%04x" % ord(match[0].decode()), json)
