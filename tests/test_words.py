"""Every docstring of `models` and `streams` stands alone, and no module is longer than 300 lines."""

import ast
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = sorted(path for room in ("models", "streams") for path in (ROOT / room).rglob("*.py"))
MAX_LINES = 300
MIN_WORDS = 3

CONTINUES_A_NAME = re.compile(r"(And|As|Because|But|By|Of|Or|Than|That|To|Whose|With)\b")
"""Beginnings of a docstring that says nothing without the name above it: "Of the whole.", "By reason."."""
PHRASE = re.compile(
    r"(Above|After|At|Before|Below|Beside|Between|During|For|From|In|On|Over|Since|Under|Until|While|Within|"
    r"Without)\b"
)
"""The same, unless a clause follows after a comma: "After a crash, the chunk is replayed"."""
CLAUSE_FOLLOWS = re.compile(r"[^,]*, (?!and\b|or\b|but\b)|From [^,]* to [^,]*: ")
SHORT_AND_WHOLE = re.compile(r"See `|.*\b[a-z]+\d+\[|\w+\(.*\)\.$")
"""A reference to the protocol that a method implements; the type and shape of an array; a formula."""


def docstrings(source: str) -> Iterator[tuple[int, str]]:
    """Line and text of each docstring, those below an assignment included."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Module() | ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                for before, statement in pairwise([None, *node.body]):
                    match statement:
                        case ast.Expr(ast.Constant(str(text))) if isinstance(
                            before, None | ast.Assign | ast.AnnAssign
                        ):
                            yield statement.lineno, text


def fault(docstring: str) -> str | None:
    """What is wrong with a docstring; None if it stands alone."""
    if "▶" in docstring:
        return "say in words what ▶ means"
    paragraph = " ".join(docstring.strip().split("\n\n")[0].split())
    sentence = re.split(r"(?<=[.!?]) ", paragraph)[0]
    if len(sentence.split()) < MIN_WORDS and not SHORT_AND_WHOLE.match(sentence):
        return "fewer than three words"
    if CONTINUES_A_NAME.match(sentence) or (PHRASE.match(sentence) and not CLAUSE_FOLLOWS.match(sentence)):
        return "continues the name above it"
    return None


@pytest.mark.parametrize(
    "fragment",
    [
        "Of the whole.",
        "By reason.",
        "With a Kafka that does not answer.",
        "Between two words of a process.",
        "Before any is given up, and before suggestions are more than random.",
        "Since then.",
        "Nothing.",
        "Item ▶ events learnt.",
    ],
)
def test_a_fragment_is_found(fragment):
    assert fault(fragment)


@pytest.mark.parametrize(
    "whole",
    [
        "Fetch wait on the embedded broker, ms.",
        "After a tenth of a second without a record, a fetch returns with the first one.",
        "From ranks to figures: the means over all predictions.",
        "Whether the process answers.",
        "What a change of each setting does, and when.",
        "int32[n].",
        "w, float32[features].",
        "max(x, 0).",
        "See `Component`.",
    ],
)
def test_a_docstring_that_stands_alone_is_not(whole):
    assert fault(whole) is None


def test_docstrings_below_assignments_count():
    source = 'class A:\n    """The class."""\n\n    b = 1\n    """The attribute."""\n    "no docstring"\n'
    assert list(docstrings(source)) == [(2, "The class."), (5, "The attribute.")]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_docstring_stands_alone(path):
    faults = [(line, fault(text), text) for line, text in docstrings(path.read_text())]
    assert [each for each in faults if each[1]] == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_module_is_short(path):
    assert len(path.read_text().splitlines()) <= MAX_LINES
