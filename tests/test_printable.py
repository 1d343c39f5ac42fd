"""No character that a terminal obeys is printed as it is, and nothing else changes."""

import json

from streams.printable import printable, printable_json, printable_lines


def test_what_a_terminal_obeys_is_escaped():
    text = "\x1b[2J\x07\x7f\x9b31m\u202eab\u2028\ud800\r\n"
    assert printable(text) == r"\x1b[2J\x07\x7f\x9b31m\u202eab\u2028\ud800\x0d\x0a"
    assert printable_lines("a\tb\n\x1b") == "a\tb\n\\x1b"


def test_other_text_stays():
    for text in ("ann", "Ångström 🏕 نص", "👩‍👧 \xa0x", r"a\x1b"):
        assert printable(text) == text == printable_lines(text)


def test_json_stays_the_same_value():
    value = {"item": "\x1b[2J\x7f\x9b31m\u202e🏕\xe9"}
    line = printable_json(json.dumps(value, ensure_ascii=False).encode())
    assert json.loads(line) == value
    assert printable(line.decode()) == line.decode()
